"""Compressors: each keeps exactly what SSTs would keep, of what it says it keeps, and answers from it."""

import pytest
import torch

from experiments.random_models import listener, llm_folder, speech
from speech_xl.evaluation.compressors import (
    PRESSES,
    Eviction,
    MeanPooled,
    RandomFrames,
    SimilarFrames,
    Summarization,
    Truncation,
    Uncompressed,
    UniformStride,
)
from speech_xl.evaluation.compressors.compressor import budget
from speech_xl.evaluation.compressors.eviction import narrower_layers
from speech_xl.model import FrameCode
from speech_xl.model.pooling import even_sizes, group_means
from speech_xl.model.positions import Kind

INTERVALS = [12, 12, 7]
GONE = 25  # tokens a layer lacks
FRAMES = [Truncation(), UniformStride(), RandomFrames(), MeanPooled(), SimilarFrames(), Summarization()]


@pytest.fixture(scope="module", params=["qwen2", "smollm3"])
def model(request, tmp_path_factory):
    return listener(llm_folder(tmp_path_factory.mktemp("llm"), request.param)).eval()


def presses():
    """Every eviction that is installed here."""
    pytest.importorskip("kvpress")
    return [Eviction(press) for press in PRESSES] + [Eviction("SnapKV", query_aware=True)]


def layers(memory):
    return [(layer.keys, layer.values) for layer in memory.cache.layers]


def kept(memory):
    return [keys.shape[2] for keys, _ in layers(memory)]


@pytest.mark.parametrize("ratio", [1, 2, 5, 16])
@pytest.mark.parametrize("compressor", FRAMES, ids=lambda one: one.name)
@torch.no_grad()
def test_as_much_is_kept_as_ssts_would_keep(model, compressor, ratio):
    memory = compressor.prefill(model, speech(INTERVALS), ratio)
    prefix = len(model.llm.prompt.prefix)
    assert kept(memory) == [prefix + budget(INTERVALS, ratio)] * 2
    assert memory.valid.all() and memory.kept.tolist() == [kept(memory)[0]]


@pytest.mark.parametrize("ratio", [2, 5, 16])
@torch.no_grad()
def test_evictions_keep_as_much_and_a_pyramid_on_average(model, ratio):
    wanted = len(model.llm.prompt.prefix) + budget(INTERVALS, ratio)
    for compressor in presses():
        memory = compressor.prefill(model, speech(INTERVALS), ratio, "who was it?")
        if compressor.name == "PyramidKV":  # which rounds in every layer
            assert abs(sum(kept(memory)) - 2 * wanted) <= 1
        else:
            assert kept(memory) == [wanted] * 2, compressor.name
        assert memory.peak >= len(model.llm.prompt.prefix) + sum(INTERVALS)


@torch.no_grad()
def test_at_ratio_one_nothing_is_lost(model):
    whole = layers(Uncompressed().prefill(model, speech(INTERVALS), 1))
    for compressor in FRAMES[:-1]:
        for mine, all_of_it in zip(layers(compressor.prefill(model, speech(INTERVALS), 1)), whole, strict=True):
            torch.testing.assert_close(mine[0], all_of_it[0], atol=1e-12, rtol=1e-12)


@torch.no_grad()
def test_an_eviction_of_nothing_is_the_full_cache(model):
    """All at once and interval by interval are one function where nothing is dropped."""
    whole = Uncompressed().prefill(model, speech(INTERVALS), 1)
    for compressor in presses():
        memory = compressor.prefill(model, speech(INTERVALS), 1, "who?")
        assert memory.position.tolist() == whole.position.tolist()
        for mine, all_of_it in zip(layers(memory), layers(whole), strict=True):
            torch.testing.assert_close(mine, all_of_it, atol=1e-10, rtol=1e-10)


def test_uniform_stride_takes_the_middle_and_random_keeps_the_order():
    frames = torch.arange(10.0)[:, None]
    assert UniformStride().change(frames, 4).squeeze(1).tolist() == [2.0, 6.0, 9.0]
    assert UniformStride().change(frames, 1).equal(frames)
    drawn = RandomFrames(seed=1).change(frames, 3).squeeze(1).tolist()
    assert drawn == sorted(drawn) and len(set(drawn)) == 4
    assert drawn == RandomFrames(seed=1).change(frames, 3).squeeze(1).tolist()
    assert len({tuple(RandomFrames(seed=s).change(frames, 3).squeeze(1).tolist()) for s in range(5)}) > 1


def test_means_are_of_groups_and_of_the_rest():
    frames = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 4.0]])
    assert group_means(frames, even_sizes(3, 2), FrameCode()).tolist() == [[2.0, 1.0], [5.0, 4.0]]


def test_the_most_alike_neighbours_are_merged_first_and_weigh_as_many_as_they_are():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    frames = torch.stack([a, a, 1.1 * a, b, b, -a, b])
    assert (sizes := SimilarFrames().sizes(frames, 2)) == [3, 2, 1, 1]
    merged = group_means(frames, sizes, FrameCode())
    torch.testing.assert_close(merged, torch.stack([(3.1 / 3) * a, b, -a, b]))  # three alike weigh three


@torch.no_grad()
def test_truncation_hears_the_beginning_alone(model):
    heard = speech(INTERVALS)
    changed = speech(INTERVALS)
    changed.frames[:, budget(INTERVALS, 4) :] += 1.0
    one, other = (Truncation().prefill(model, it, 4) for it in (heard, changed))
    assert all(mine[0].equal(theirs[0]) for mine, theirs in zip(layers(one), layers(other), strict=True))
    changed.frames[:, : budget(INTERVALS, 4)] += 1.0
    assert not layers(Truncation().prefill(model, changed, 4))[0][0].equal(layers(one)[0][0])


@torch.no_grad()
def test_only_a_query_aware_eviction_knows_the_question(model):
    for compressor in presses():
        memories = [compressor.prefill(model, speech(INTERVALS), 4, asked) for asked in ("how many men?", "b")]
        same = all(a[0].equal(b[0]) for a, b in zip(*map(layers, memories), strict=True))
        assert same != compressor.needs_question, compressor.name


@torch.no_grad()
def test_streaming_llm_keeps_the_first_and_the_last(model):
    pytest.importorskip("kvpress")
    whole = layers(Uncompressed().prefill(model, speech(INTERVALS), 1))
    mine = layers(Eviction("StreamingLLM").prefill(model, speech(INTERVALS), 4))
    last = kept(Eviction("StreamingLLM").prefill(model, speech(INTERVALS), 4))[0] - 4
    for (keys, _), (all_of_them, _) in zip(mine, whole, strict=True):
        torch.testing.assert_close(keys[:, :, :4], all_of_them[:, :, :4], atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(keys[:, :, 4:], all_of_them[:, :, -last:], atol=1e-10, rtol=1e-10)


@torch.no_grad()
def test_after_an_eviction_the_model_is_as_it_was(model):
    presses_before = Uncompressed().prefill(model, speech(INTERVALS), 1)
    for compressor in presses():
        compressor.prefill(model, speech(INTERVALS), 4, "who?")
    after = Uncompressed().prefill(model, speech(INTERVALS), 1)
    assert all(a[0].equal(b[0]) for a, b in zip(layers(presses_before), layers(after), strict=True))
    assert not any("rotary_emb" in vars(m) for m in model.modules() if m is not model.llm.decoder)


@torch.no_grad()
def test_a_narrower_layer_answers_as_if_what_it_lacks_were_hidden(model):
    """Its first tokens left out of the cache, or left in and masked in that layer alone: each token of a question."""
    memory = Uncompressed().prefill(model, speech(INTERVALS), 1)
    module = model.llm.decoder.layers[1].self_attn
    ids = torch.tensor([model.llm.prompt.question("what was said, and by whom, and how often?")])
    kind = torch.full_like(ids, Kind.SUFFIX)

    def read(memory):
        places = memory.position[:, None] + torch.arange(ids.shape[1])
        mask = memory.step_mask(kind)
        return model.decode(model.llm.embedding(ids), kind, places, mask, memory.select([0]))

    def hide(_module, args, told):
        mask = told["attention_mask"].clone()
        mask[..., :GONE] = False
        return args, told | {"attention_mask": mask}

    whole = read(memory)
    hook = module.register_forward_pre_hook(hide, with_kwargs=True)
    wanted = read(memory)
    hook.remove()
    layer = memory.cache.layers[1]
    layer.keys, layer.values = layer.keys[:, :, GONE:], layer.values[:, :, GONE:]
    with narrower_layers(model, memory):
        torch.testing.assert_close(read(memory), wanted, atol=1e-10, rtol=1e-10)
    assert (wanted - whole).abs().max() > 1e-3


@torch.no_grad()
def test_every_compressor_answers(model):
    for compressor in [Uncompressed(), *FRAMES]:
        memory = compressor.prefill(model, speech(INTERVALS), 4)
        answers = compressor.generate(model, memory, ["who?", "what was said?"], [3, 5])
        assert len(answers) == 2
        assert answers == compressor.generate(model, memory, ["who?", "what was said?"], [3, 5])


def test_an_unknown_press_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="press='H2O': choose one of StreamingLLM"):
        Eviction("H2O")


@torch.no_grad()
def test_bytes_are_those_of_the_formula(tmp_path):
    model = listener(llm_folder(tmp_path)).eval()
    memory = MeanPooled().prefill(model, speech([10, 7]), 4)
    # 2 (keys, values) x 2 layers x 2 heads x 8 numbers x 8 bytes a token
    assert memory.bytes == (len(model.llm.prompt.prefix) + 3 + 2) * 2 * 2 * 2 * 8 * 8
    assert memory.audio_bytes(len(model.llm.prompt.prefix)) == [(3 + 2) * 2 * 2 * 2 * 8 * 8]
