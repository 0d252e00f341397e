"""AudioMarathon's settings: what each layer keeps, that it is what a loop over the layers by hand gives, and names."""

import pytest
import torch
from lhotse.testing.dummies import dummy_cut
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache

from experiments.random_models import listener, llm_folder, speech
from speech_xl.data.items import Item
from speech_xl.data.tasks import Turn
from speech_xl.evaluation.comparison import Comparison
from speech_xl.evaluation.compressors import Uncompressed
from speech_xl.evaluation.compressors.audiomarathon import FORM, SHARES, setting
from speech_xl.evaluation.compressors.audiomarathon_eviction import PROMPT_PRESSES, PromptEviction, PromptMemory
from speech_xl.evaluation.compressors.audiomarathon_pruning import (
    AttentionPruning,
    FramePruning,
    RandomPruning,
    kept_frames,
    last_attention,
    pruned_from,
)
from speech_xl.evaluation.compressors.one_chunk import OneChunk
from speech_xl.evaluation.compressors.registry import find
from speech_xl.evaluation.evaluator import Evaluator
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.positions import Kind
from speech_xl.model.sst import attention_modules

INTERVALS = [12, 12, 7]
FRAMES = sum(INTERVALS)
LAYERS = 3
PRUNINGS = [FramePruning, RandomPruning, AttentionPruning]
ASKED = ["who was it?", "how many men are there?"]
CLOSE = {"atol": 1e-10, "rtol": 1e-10}


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def model(request, tmp_path_factory):
    folder = llm_folder(tmp_path_factory.mktemp("llm"), request.param, num_hidden_layers=LAYERS)
    made = listener(folder, projections=None).eval()
    made.encoder = None  # frames come from the tests
    return made


def prefix(model):
    return len(model.llm.prompt.prefix)


def layers(memory):
    return [(layer.keys, layer.values) for layer in memory.cache.layers]


def by_hand(model, chunk, layer, stays):
    """Hidden states and cache of a loop over the layers that goes on from `layer` with the tokens that stay."""
    decoder, cache = model.llm.decoder, DynamicCache()
    hidden, place = chunk.embeds, chunk.place
    for number, one in enumerate(decoder.layers):
        if number == layer:
            hidden, place = hidden[:, stays], place[:, stays]
        length = hidden.shape[1]
        mask = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
        angles = decoder.rotary_emb(hidden, place)
        out = one(
            hidden,
            attention_mask=mask,
            position_ids=place,
            position_embeddings=angles,
            use_cache=True,
            **{model.llm.cache_argument: cache},
        )
        hidden = out if isinstance(out, torch.Tensor) else out[0]
    return decoder.norm(hidden), cache


def read(model, memory, compressor, instruction):
    """Hidden states of a question's tokens, read behind what was kept."""
    ids = torch.tensor([model.llm.prompt.question(instruction)])
    kind = torch.full_like(ids, Kind.SUFFIX)
    place = memory.position[:, None] + torch.arange(ids.shape[1])
    with compressor.generating(model, memory):
        return model.decode(model.llm.embedding(ids), kind, place, memory.step_mask(kind), memory.select([0]))


@pytest.mark.parametrize("make", PRUNINGS)
@torch.no_grad()
def test_nothing_removed_is_full_kv(model, make):
    whole, compressor = Uncompressed().prefill(model, speech(INTERVALS), 1), make(0.0, 1)
    memory = compressor.prefill(model, speech(INTERVALS), 1, ASKED[0])
    assert memory.position.tolist() == whole.position.tolist() and memory.valid.equal(whole.valid)
    for mine, full in zip(layers(memory), layers(whole), strict=True):
        torch.testing.assert_close(mine, full, **CLOSE)
    answers = compressor.generate(model, memory, ASKED, [2, 4])
    assert answers == Uncompressed().generate(model, whole, ASKED, [2, 4])


@pytest.mark.parametrize(("make", "layer"), [(FramePruning, 1), (RandomPruning, 2), (AttentionPruning, 2)])
@torch.no_grad()
def test_layers_below_keep_all_frames_and_the_others_the_share(model, make, layer):
    for share, kept in zip(SHARES, (27, 24, 18, 15, 12, 6), strict=True):  # int(31 (1 - share))
        memory = make(share, layer).prefill(model, speech(INTERVALS), 1, ASKED[0])
        wanted = [prefix(model) + (FRAMES if number < layer else kept) for number in range(LAYERS)]
        assert [keys.shape[2] for keys, _ in layers(memory)] == wanted
        a_token = memory.token_bytes // LAYERS
        assert memory.audio_bytes(prefix(model)) == [a_token * (layer * FRAMES + (LAYERS - layer) * kept)]
        assert memory.position.tolist() == [prefix(model) + FRAMES]


@pytest.mark.parametrize("layer", [0, 1, 2])
@torch.no_grad()
def test_frame_is_what_a_loop_over_the_layers_gives(model, layer):
    compressor, heard = FramePruning(0.6, layer), speech(INTERVALS)
    memory = compressor.prefill(model, heard, 1)
    frames = [0, 2, 5, 7, 10, 12, 15, 18, 20, 23, 25, 28]  # int(i 31 / 12)
    before, question = prefix(model), model.llm.prompt.question(ASKED[1])
    stays = [*range(before), *(before + one for one in frames)]
    _, cache = by_hand(model, OneChunk.of(model, heard), layer, stays)
    for (keys, values), wanted in zip(layers(memory), cache.layers, strict=True):
        torch.testing.assert_close((keys, values), (wanted.keys, wanted.values), **CLOSE)
    # A question behind it sees what it would see in one chunk with the audio, at the position it has there.
    whole = OneChunk.of(model, heard, question)
    hidden, _ = by_hand(model, whole, layer, [*stays, *range(before + FRAMES, len(whole))])
    torch.testing.assert_close(read(model, memory, compressor, ASKED[1]), hidden[:, -len(question) :], **CLOSE)


@torch.no_grad()
def test_pruned_frames_are_not_what_an_eviction_from_the_cache_leaves(model):
    """Later layers see what pruned frames had told the others below the layer, and nothing of them from it on."""
    memory = FramePruning(0.5, 1).prefill(model, speech(INTERVALS), 1)
    whole = layers(Uncompressed().prefill(model, speech(INTERVALS), 1))
    places = [*range(prefix(model)), *(prefix(model) + int(i * FRAMES / 15) for i in range(15))]
    keys = [keys for keys, _ in layers(memory)]
    torch.testing.assert_close(keys[0], whole[0][0], **CLOSE)
    torch.testing.assert_close(keys[1], whole[1][0][:, :, places], **CLOSE)  # its input was computed from all
    assert (keys[2] - whole[2][0][:, :, places]).abs().max() > 1e-3


@torch.no_grad()
def test_random_keeps_the_order_and_draws_by_its_seed(model):
    drawn = RandomPruning(0.5, 1, seed=4).choose(FRAMES, 15, None)
    assert drawn.equal(RandomPruning(0.5, 1, seed=4).choose(FRAMES, 15, None)) and len(set(drawn.tolist())) == 15
    assert not drawn.equal(RandomPruning(0.5, 1, seed=5).choose(FRAMES, 15, None))
    memory = RandomPruning(0.5, 2, seed=4).prefill(model, speech(INTERVALS), 1)
    stays = [*range(prefix(model)), *(prefix(model) + drawn.sort().values).tolist()]
    _, cache = by_hand(model, OneChunk.of(model, speech(INTERVALS)), 2, stays)
    for (keys, _), wanted in zip(layers(memory), cache.layers, strict=True):
        torch.testing.assert_close(keys, wanted.keys, **CLOSE)


@pytest.mark.parametrize("layer", [1, 2])
@torch.no_grad()
def test_fastv_keeps_what_the_last_token_attends_to_in_the_layer_below(model, layer):
    heard, compressor = speech(INTERVALS), AttentionPruning(0.6, layer)
    kept = []
    for instruction in ASKED:
        chunk = OneChunk.of(model, heard, model.llm.prompt.question(instruction))
        attention = attention_by_hand(model, chunk, layer - 1)[prefix(model) : prefix(model) + FRAMES]
        best = sorted(attention.topk(12).indices.tolist())
        stays = [*range(prefix(model)), *(prefix(model) + one for one in best)]
        memory = compressor.prefill(model, heard, 1, instruction)
        whole = [*stays, *range(prefix(model) + FRAMES, len(chunk))]
        hidden, cache = by_hand(model, chunk, layer, whole)
        for (keys, _), wanted in zip(layers(memory), cache.layers, strict=True):
            torch.testing.assert_close(keys, wanted.keys[:, :, : keys.shape[2]], **CLOSE)
        behind = len(model.llm.prompt.question(instruction))
        torch.testing.assert_close(read(model, memory, compressor, instruction), hidden[:, -behind:], **CLOSE)
        kept.append(best)
    assert kept[0] != kept[1]  # it depends on the question


def attention_by_hand(model, chunk, number):
    """Of the last token in a layer, on average over heads, float [T]: from what the module gives the attention."""
    asked = {}

    def hook(name):
        return lambda _module, _args, output: asked.__setitem__(name, output)

    module = attention_modules(model.llm.decoder)[number]
    hooks = [getattr(module, name).register_forward_hook(hook(name)) for name in ("q_proj", "k_proj")]
    by_hand(model, chunk, LAYERS, None)
    for one in hooks:
        one.remove()
    query, key = (asked[name].unflatten(2, (-1, module.head_dim)).transpose(1, 2) for name in ("q_proj", "k_proj"))
    if getattr(module, "use_rope", True):
        cos, sin = model.llm.decoder.rotary_emb(query, chunk.place)
        query, key = (x * cos + torch.cat([-x[..., 4:], x[..., :4]], -1) * sin for x in (query, key))
    # Attention weights are what attention gives for values that are an identity.
    values = torch.eye(len(chunk), dtype=query.dtype)[None, None].expand(1, key.shape[1], -1, -1)
    weights = scaled_dot_product_attention(query[:, :, -1:], key, values, scale=module.scaling, enable_gqa=True)
    return weights[0, :, 0].mean(0)


@torch.no_grad()
def test_afterwards_model_and_memory_are_as_they_were(model):
    before = layers(Uncompressed().prefill(model, speech(INTERVALS), 1))
    for make in PRUNINGS:
        compressor = make(0.5, 2)
        memory = compressor.prefill(model, speech(INTERVALS), 1, ASKED[0])
        held = {name: tensor.clone() for name, tensor in memory.tensors().items()}
        both = compressor.generate(model, memory, ASKED, [2, 4])
        assert len(both) == 2 and all(tensor.equal(held[name]) for name, tensor in memory.tensors().items())
        assert both == [compressor.generate(model, memory, [ASKED[n]], [2 + 2 * n])[0] for n in range(2)]
    after = layers(Uncompressed().prefill(model, speech(INTERVALS), 1))
    assert all(one[0].equal(other[0]) for one, other in zip(before, after, strict=True))


@torch.no_grad()
def test_two_questions_of_a_session_go_through_the_evaluator(model):
    items = [Item(benchmark="audiomarathon", id=one, task="SCR", prompt=one, answer="?", max_tokens=3) for one in ASKED]
    turns = [Turn("qa", one.id, "?", item=one) for one in items]
    for make in PRUNINGS:
        compressor = make(0.5, 1)
        found = list(Evaluator(model, compressor, [1])([dummy_cut(0)], [turns], speech(INTERVALS)))
        assert [one.instruction for one in found] == ASKED
        for one in found:
            memory = compressor.prefill(model, speech(INTERVALS), 1, one.instruction)
            assert one.hypothesis == compressor.generate(model, memory, [one.instruction], [3])[0].text
            assert one.compressor == compressor.name and one.total_kv_tokens == FRAMES
            assert one.kept_kv_tokens == round((FRAMES + 2 * 15) / 3)
    with pytest.raises(ValueError, match="AudioMarathon Frame 0.5 at layer 1 doesn't compress"):
        Evaluator(model, FramePruning(0.5, 1), [4])


def test_what_it_cannot_run_on_is_refused(model):
    with pytest.raises(ValueError, match="at layer 3: the LLM has 3 layers; name one from 0 to 2"):
        FramePruning(0.5, LAYERS).prefill(model, speech(INTERVALS), 1)
    for wrong in (-0.1, 1.0, True):
        with pytest.raises(ValueError, match="share"):
            FramePruning(wrong, 1)
    with pytest.raises(ValueError, match="layer"):
        AttentionPruning(0.5, 0)
    block = torch.nn.Identity()
    block.forward = lambda hidden, **_: hidden
    with pruned_from([block], 5, lambda: torch.tensor([0, 4])):
        assert block(torch.zeros(1, 5, 2), position_ids=torch.arange(5)[None]).shape == (1, 2, 2)
        with pytest.raises(ValueError, match="is given memory of shape .1, 5, 3.; how to leave tokens out isn't known"):
            block(torch.zeros(1, 5, 2), memory=torch.zeros(1, 5, 3))
        with pytest.raises(ValueError, match="is given position_ids of shape .1, 6. for 5 tokens"):
            block(torch.zeros(1, 5, 2), position_ids=torch.arange(6)[None])
    assert block(torch.zeros(1, 5, 2)).shape == (1, 5, 2)


def test_an_llm_whose_attention_is_fused_is_refused(tmp_path):
    fused = listener(llm_folder(tmp_path, "phi3"), projections=None).eval()
    with pytest.raises(ValueError, match="Phi3Model: token pruning needs separate q_proj, k_proj and v_proj"):
        FramePruning(0.5, 1).prefill(fused, speech(INTERVALS), 1)


def test_a_comparison_runs_settings_that_are_named_and_no_others():
    methods = ["AudioMarathon_Frame_0_5_at_layer_2", "SSTs", "AudioMarathon FastV 0.8 at layer 1"]
    entry = {"base": "stage2", "sst": "stage3", "methods": methods}
    rows = [(one.row, one.stage) for one in Comparison.of("digits", entry, ["stage2", "stage3"]).answering]
    frame, fastv = "AudioMarathon Frame 0.5 at layer 2", "AudioMarathon FastV 0.8 at layer 1"
    assert rows == [("SSTs", "stage3"), (frame, "stage2"), (fastv, "stage2")]
    every = Comparison.of("digits", {"base": "stage2"}, ["stage2"]).answering
    assert not any(one.row.startswith("AudioMarathon") for one in every)


def test_kept_counts_are_those_of_the_repository():
    assert [kept_frames(10, share) for share in SHARES] == [9, 8, 6, 5, 4, 1]  # 10 (1 - 0.8) is 1.9999999999999996
    assert kept_frames(3, 0.8) == 1 and kept_frames(7, 0.0) == 7
    assert FramePruning(0.5, 1).choose(7, 3, None).tolist() == [0, 2, 4]
    assert FramePruning(0.0, 1).choose(49, 49, None).tolist() == list(range(49))


def test_names_carry_share_and_layer():
    for name, kind in [
        ("AudioMarathon Frame 0.5 at layer 2", FramePruning),
        ("audiomarathon_random_0_1_at_layer_1", RandomPruning),
        ("AudioMarathon_FastV_0_8_at_layer_2", AttentionPruning),
    ]:
        found = find(name, "--compressor")
        made = found.make()
        assert isinstance(made, kind) and made.name == found.name and found.weights == "base" and found.extra is None
        assert find(found.key, "").name == found.name == find(found.name, "").name
    assert (made.share, made.layer, made.name) == (0.8, 2, "AudioMarathon FastV 0.8 at layer 2")


@pytest.mark.parametrize(
    "name",
    [
        "AudioMarathon",
        "AudioMarathon Frame",
        "AudioMarathon Frame 0.5",
        "AudioMarathon Frame 0.3 at layer 2",
        "AudioMarathon Frame 0.5 at layer -1",
        "AudioMarathon Frame 50 at layer 2",
        "AudioMarathon DART 0.5 at layer 2",
        "AudioMarathon KV TOVA 0.5 at layer 2",
        "AudioMarathon KV Frame 0.5",
        "AudioMarathon TOVA 0.5",
    ],
)
def test_another_name_is_an_error_that_says_the_form(name):
    with pytest.raises(ValueError) as error:
        find(name, "--compressor")
    assert str(error.value) == f"--compressor: there is no compressor {name!r}; AudioMarathon's settings are {FORM}"
    assert "Frame|Random|FastV SHARE at layer LAYER" in FORM and "0.1, 0.2, 0.4, 0.5, 0.6, 0.8" in FORM


def test_fastv_has_no_layer_below_the_first():
    with pytest.raises(ValueError, match="looks at the layer below, so its layer is 1 or higher"):
        find("AudioMarathon FastV 0.5 at layer 0", "--compressor")


def test_eviction_without_kvpress_is_said_with_the_remedy(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("speech_xl.evaluation.compressors.audiomarathon_eviction.import_module", missing)
    title, make, extra = setting("AudioMarathon KV SnapKV 0.5", "")
    assert (title, extra) == ("AudioMarathon KV SnapKV 0.5", "baselines")
    with pytest.raises(ImportError, match=r"AudioMarathon KV SnapKV 0.5 comes from kvpress: pip install -e"):
        make()
    with pytest.raises(ValueError, match="press='H2O': choose one of Knorm, Random, TOVA, SnapKV"):
        PromptEviction("H2O", 0.5)


@torch.no_grad()
def test_the_attention_that_is_watched_is_the_modules_own(model):
    chunk, seen = OneChunk.of(model, speech(INTERVALS), model.llm.prompt.question(ASKED[0])), []
    with last_attention(attention_modules(model.llm.decoder)[2], seen):
        chunk.read(model, KVMemory(LAYERS, 1, model.device))
    torch.testing.assert_close(seen, [attention_by_hand(model, chunk, 2)], **CLOSE)
    Uncompressed().prefill(model, speech(INTERVALS), 1)
    assert len(seen) == 1  # and afterwards nothing more is seen


# With kvpress


@pytest.fixture
def kvpress():
    return pytest.importorskip("kvpress")


@pytest.mark.parametrize("press", PROMPT_PRESSES)
@torch.no_grad()
def test_an_eviction_of_nothing_answers_as_full_kv(model, kvpress, press):
    whole = Uncompressed().prefill(model, speech([60]), 1)
    for instruction, limit in zip(ASKED, (6, 12), strict=True):
        compressor = PromptEviction(press, 0.0)
        memory = compressor.prefill(model, speech([60]), 1, instruction)
        assert memory.audio_bytes(prefix(model)) == whole.audio_bytes(prefix(model))
        answer = compressor.generate(model, memory, [instruction], [limit])
        assert answer == Uncompressed().generate(model, whole, [instruction], [limit])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("press", PROMPT_PRESSES)
@torch.no_grad()
def test_an_eviction_keeps_a_share_of_the_whole_prompt(model, kvpress, press, share):
    compressor = PromptEviction(press, share)
    memory = compressor.prefill(model, speech([60]), 1, ASKED[0])
    tokens = prefix(model) + 60 + len(model.llm.prompt.question(ASKED[0]))
    kept = int(tokens * (1 - share))
    assert isinstance(memory, PromptMemory) and memory.position.tolist() == [tokens] and memory.peak == tokens
    assert [keys.shape[2] for keys, _ in layers(memory)] == [kept] * LAYERS
    audio = sum(int(((p >= prefix(model)) & (p < prefix(model) + 60)).sum()) for p in memory.stays.values())
    head = memory.token_bytes // (LAYERS * 2)  # bytes of one token's keys and values in one head of one layer
    assert memory.audio_bytes(prefix(model)) == [audio * head] and audio < LAYERS * 2 * 60
    held = {name: tensor.clone() for name, tensor in memory.tensors().items()}
    answers = [compressor.generate(model, memory, [ASKED[0]], [limit])[0] for limit in (1, 9, 9)]
    assert answers[1] == answers[2] and answers[1].text.startswith(answers[0].text)
    assert all(tensor.equal(held[name]) for name, tensor in memory.tensors().items())
    with pytest.raises(ValueError, match="answers the one question that its memory was made with"):
        compressor.generate(model, memory, [ASKED[1]], [9])


@torch.no_grad()
def test_knorm_keeps_the_smallest_keys_of_the_prompt(model, kvpress):
    memory = PromptEviction("Knorm", 0.5).prefill(model, speech([60]), 1, ASKED[0])
    chunk = OneChunk.of(model, speech([60]), model.llm.prompt.question(ASKED[0]))
    _, cache = by_hand(model, chunk, LAYERS, None)  # every layer reads all tokens
    for (keys, _), whole in zip(layers(memory), cache.layers, strict=True):
        best = whole.keys.norm(dim=-1).topk(keys.shape[2], largest=False).indices.sort().values
        torch.testing.assert_close(keys, whole.keys.gather(2, best[..., None].expand_as(keys)), **CLOSE)


@torch.no_grad()
def test_random_eviction_is_drawn_anew_in_each_layer_and_again_the_same(model, kvpress):
    one, again, other = (
        PromptEviction("Random", 0.5, seed).prefill(model, speech([60]), 1, ASKED[0]) for seed in (0, 0, 1)
    )
    assert all(one.stays[n].equal(again.stays[n]) for n in range(LAYERS))
    assert not one.stays[0].equal(other.stays[0]) and not one.stays[0].equal(one.stays[1])


@torch.no_grad()
def test_snapkv_refuses_a_prompt_within_its_window(model, kvpress):
    with pytest.raises(ValueError, match="looks from the last 64 tokens, and the prompt has"):
        PromptEviction("SnapKV", 0.5).prefill(model, speech([2]), 1, "w?")
