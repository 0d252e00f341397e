"""The central invariant: one pass with the layout's mask and interval-by-interval listening are the same function.

In value and in gradient, in float64, on random models of every admitted family. The negative controls at the end break
one thing each and must be noticed, so that agreement means something.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from experiments.measurements.two_paths import (
    CONTROLS,
    FAMILIES,
    INTERVALS,
    RATIOS,
    SCHEMES,
    TURNS,
    after,
    broken,
    gradients,
    sample,
    streamed,
)
from experiments.random_models import listener, llm_folder, row_of, speech, suffixes
from speech_xl.extensions.time_code import TimeCode
from speech_xl.model import Lora, SpeechLLM
from speech_xl.model import attention as attention_module
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.layout import NEVER, LayoutBatch, visible_intervals
from speech_xl.model.prompt import IGNORE, Suffix
from speech_xl.model.speech import Speech


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("llms")
    return {kind: llm_folder(root / kind, kind) for kind in FAMILIES}


def assert_same(left, right, tolerance=1e-9):
    """Equal losses and gradients; tensors compared by the largest difference beside the largest entry."""
    assert left[0] == pytest.approx(right[0], rel=1e-11)
    assert left[1].keys() == right[1].keys()
    for name, value in left[1].items():
        scale = max(1.0, value.abs().max().item())
        assert (value - right[1][name]).abs().max().item() <= tolerance * scale, name


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("projections", ["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_equals_streaming_in_value_and_gradient(folders, family, projections, scheme):
    model = listener(folders[family], projections, positions=scheme)
    asked = suffixes(model, *TURNS)
    one = gradients(model, sample(), lambda heard: model(heard, RATIOS, asked).loss_sum)
    stream = gradients(model, sample(), lambda heard: streamed(model, heard, RATIOS, asked))
    assert_same(one, stream)
    trained = {name for name, grad in one[1].items() if grad.abs().max() > 0}
    missing = {name for name, _ in model.named_parameters()} - trained
    assert not missing, "every parameter, those of the SSTs included, must get a gradient"
    assert all(one[1][f"frames {row}"].abs().min() > 0 for row in range(len(INTERVALS)))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_appended_ssts_are_exact_as_well(folders, scheme):
    model = listener(folders["qwen2"], positions=scheme, placement="appended")
    asked = suffixes(model, *TURNS)
    one = gradients(model, sample(), lambda heard: model(heard, RATIOS, asked).loss_sum)
    assert_same(one, gradients(model, sample(), lambda heard: streamed(model, heard, RATIOS, asked)))
    model.sst.placement = "interleaved"
    assert abs(model(sample(), RATIOS, asked).loss_sum.item() - one[0]) > 1e-3


@pytest.mark.parametrize("placement", ["interleaved", "appended"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_ssts_that_say_when_they_were_heard_are_exact_as_well(folders, scheme, placement):
    model = listener(folders["smollm3"], positions=scheme, placement=placement, frame_code=TimeCode())
    asked = suffixes(model, *TURNS)
    one = gradients(model, sample(), lambda heard: model(heard, RATIOS, asked).loss_sum)
    assert_same(one, gradients(model, sample(), lambda heard: streamed(model, heard, RATIOS, asked)))
    model.frame_code.ssts = False
    assert abs(model(sample(), RATIOS, asked).loss_sum.item() - one[0]) > 1e-3


@pytest.mark.parametrize("placement", ["interleaved", "appended"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_ssts_that_start_as_the_mean_of_their_frames_are_exact_as_well(folders, scheme, placement):
    model = listener(folders["smollm3"], positions=scheme, placement=placement, start="mean", frame_code=TimeCode())
    asked = suffixes(model, *TURNS)
    one = gradients(model, sample(), lambda heard: model(heard, RATIOS, asked).loss_sum)
    assert_same(one, gradients(model, sample(), lambda heard: streamed(model, heard, RATIOS, asked)))
    model.sst.start = "embedding"
    assert abs(model(sample(), RATIOS, asked).loss_sum.item() - one[0]) > 1e-3


@pytest.mark.parametrize("placement", ["interleaved", "appended"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("family", ["qwen2", "smollm3", "gemma3"])
def test_suffixes_side_by_side_are_exactly_each_asked_on_its_own(folders, family, scheme, placement):
    """Windows of a transcript are trained in one pass, and asked of forks of one memory."""
    model = listener(folders[family], positions=scheme, placement=placement)
    first, second = suffixes(model, *TURNS), suffixes(model, *reversed(TURNS))
    both = [[one, other, one] if row else [other] for row, (one, other) in enumerate(zip(first, second, strict=True))]

    def asked_alone(heard):
        memory, total = model.prefill(heard, RATIOS), 0.0
        for row, some in enumerate(both):
            for suffix in some:
                total = total + after(model, memory.select([row]), [suffix])
        return total

    one = gradients(model, sample(), lambda heard: model(heard, RATIOS, both).loss_sum)
    assert_same(one, gradients(model, sample(), asked_alone))
    in_a_row = [Suffix.joined(some) for some in both]
    assert abs(model(sample(), RATIOS, in_a_row).loss_sum.item() - one[0]) > 1e-3, "a dialogue sees its own past"


@pytest.mark.parametrize("carried", [1, 3, 20])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_frames_that_are_carried_on_are_exact_as_well(folders, scheme, carried):
    """One frame, some, and whole intervals; appended, because the interleaved ones are in the next tests."""
    model = listener(folders["llama3"], positions=scheme, placement="appended", carried_frames=carried)
    asked = suffixes(model, *TURNS)
    one = gradients(model, sample(), lambda heard: model(heard, RATIOS, asked).loss_sum)
    assert_same(one, gradients(model, sample(), lambda heard: streamed(model, heard, RATIOS, asked)))
    model.sst.carried_frames -= 1
    assert abs(model(sample(), RATIOS, asked).loss_sum.item() - one[0]) > 1e-3 or carried == 20


@pytest.mark.parametrize("scheme", SCHEMES)
def test_with_carried_frames_a_batch_equals_its_rows_alone_and_flex_equals_sdpa(folders, scheme):
    model = listener(folders["qwen2"], positions=scheme, carried_frames=3)
    asked = suffixes(model, *TURNS)
    batch = gradients(model, sample(), lambda heard: model(heard, RATIOS, asked).loss_sum)
    assert_same(batch, gradients(model, sample(), lambda heard: streamed(model, heard, RATIOS, asked)))
    with torch.no_grad():
        alone = [(row_of(sample(), row), [RATIOS[row]], [asked[row]]) for row in range(len(INTERVALS))]
        assert batch[0] == pytest.approx(sum(model(*one).loss_sum.item() for one in alone), rel=1e-11)
        assert batch[0] == pytest.approx(sum(streamed(model, *one).item() for one in alone), rel=1e-11)
        flex = listener(folders["qwen2"], positions=scheme, carried_frames=3, attention="flex")
        assert batch[0] == pytest.approx(flex(sample(), RATIOS, asked).loss_sum.item(), rel=1e-11)


@pytest.mark.parametrize("scheme", SCHEMES)
@torch.no_grad()
def test_questions_never_see_carried_frames(folders, scheme):
    model = listener(folders["smollm3"], positions=scheme, carried_frames=4).eval()
    memory = model.prefill(sample(), RATIOS)
    assert memory.carried_valid.any(1).tolist() == [True, True, True, True]
    rows, limits, instructions = [2, 0, 3, 1], [9, 7, 5, 4], ["why?", LONG[:50], "x", "how many?"]
    answers = model.generate(memory, rows, instructions, limits)
    for row, instruction, limit, answer in zip(rows, instructions, limits, answers, strict=True):
        wanted = greedy(model, row_of(sample(), row), [RATIOS[row]], instruction, limit)
        assert answer.text == model.llm.prompt.text(wanted)
    plain = listener(folders["smollm3"], positions=scheme).eval().prefill(sample(), RATIOS)
    prefix = len(model.llm.prompt.prefix)
    assert memory.kept.tolist() == plain.kept.tolist() and memory.position.equal(plain.position)
    assert memory.audio_bytes(prefix) == plain.audio_bytes(prefix) and memory.bytes > plain.bytes
    # Row 0 ends with 5 frames and an SST behind 3 SSTs and 6 frames; row 2's third interval ends nothing earlier.
    assert memory.peak >= plain.peak
    asked = suffixes(model, *TURNS)
    assert model(sample(), RATIOS, asked).kept_kv_tokens == sum(plain.kept.tolist()) - 4 * prefix


def test_lora_in_the_llm_changes_nothing_about_it(folders):
    model = listener(folders["qwen2"], lora=Lora(r=2, alpha=4))
    asked = suffixes(model, *TURNS)
    one = gradients(model, sample(), lambda heard: model(heard, RATIOS, asked).loss_sum)
    stream = gradients(model, sample(), lambda heard: streamed(model, heard, RATIOS, asked))
    assert any("lora_A" in name for name in one[1])
    assert_same(one, stream)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_ssts_and_compression_it_is_the_plain_model(folders, family):
    model = listener(folders[family], projections=None)
    asked = suffixes(model, *TURNS)
    nothing = [[None] * len(row) for row in INTERVALS]
    one = gradients(model, sample(), lambda heard: model(heard, nothing, asked).loss_sum)
    stream = gradients(model, sample(), lambda heard: streamed(model, heard, nothing, asked))
    assert_same(one, stream)
    # And the plain model is what Hugging Face computes without any of our masks, one row at a time.
    total = 0.0
    for row, suffix in enumerate(asked):
        lone = row_of(sample(), row)
        embed = model.llm.embedding
        before, ids = torch.tensor([model.llm.prompt.prefix]), torch.tensor([suffix.ids])
        embeds = torch.cat([embed(before), lone.frames, embed(ids)], dim=1)
        logits = model.llm.model(inputs_embeds=embeds).logits[0, -len(suffix.ids) - 1 : -1]
        total += cross_entropy(logits, torch.tensor(suffix.labels), ignore_index=IGNORE, reduction="sum").item()
    assert one[0] == pytest.approx(total, rel=1e-11)


def test_a_ratio_without_ssts_is_refused(folders):
    model = listener(folders["qwen2"], projections=None)
    with pytest.raises(ValueError, match="no SSTs: train stage 3 first"):
        model(speech([4]), [[2]], suffixes(model, [("a", "b")]))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("family", ["qwen2", "smollm3", "gemma3"])
def test_a_batch_equals_its_rows_alone(folders, family, scheme):
    model = listener(folders[family], positions=scheme)
    asked = suffixes(model, *TURNS)
    batch = gradients(model, sample(), lambda heard: model(heard, RATIOS, asked).loss_sum)
    total, sums = 0.0, {}
    for row in range(len(INTERVALS)):
        lone = row_of(sample(), row)
        loss, grads = gradients(model, lone, lambda heard, r=row: model(heard, [RATIOS[r]], [asked[r]]).loss_sum)
        assert loss == pytest.approx(streamed(model, lone, [RATIOS[row]], [asked[row]]).item(), rel=1e-11)
        grads[f"frames {row}"] = grads.pop("frames 0")
        total += loss
        for name, grad in grads.items():
            sums[name] = sums.get(name, 0) + grad
    assert_same(batch, (total, sums))


def test_how_the_loss_and_the_tokens_are_counted(folders):
    model = listener(folders["qwen2"])
    asked = suffixes(model, *TURNS)
    out = model(sample(), RATIOS, asked)
    assert out.label_tokens == sum(label != IGNORE for suffix in asked for label in suffix.labels)
    assert out.kept_kv_tokens == (3 + 6 + 1) + (4 + 1) + (3 + 1 + 4 + 1) + 3
    # All frames, an SST each where compressed, prefix and suffix; padding isn't counted.
    ssts = (3 + 1) + (4 + 1) + (3 + 1 + 1) + 3
    text = sum(len(suffix.ids) for suffix in asked) + len(asked) * len(model.llm.prompt.prefix)
    assert out.tokens == sum(map(sum, INTERVALS)) + ssts + text


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("projections", ["full", "lora"])
@pytest.mark.parametrize("family", ["qwen3", "smollm3"])
def test_gradient_checkpointing_gives_equal_gradients(folders, family, projections, scheme):
    results = []
    for checkpointing in (False, True):
        model = listener(folders[family], projections, checkpointing=checkpointing, positions=scheme).train()
        asked, runs = suffixes(model, *TURNS), []
        model.llm.decoder.layers[0].mlp.register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        results.append(gradients(model, sample(), lambda heard, m=model, a=asked: m(heard, RATIOS, a).loss_sum))
        assert len(runs) == (2 if checkpointing else 1), "checkpointing runs a layer again for its gradients"
    assert_same(*results, tolerance=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_flex_attention_gives_equal_losses(folders, family, scheme):
    losses = []
    for attention in ("sdpa", "flex"):
        model = listener(folders[family], positions=scheme, attention=attention).eval()
        losses.append(model(sample(), RATIOS, suffixes(model, *TURNS)).loss_sum.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-11)


def greedy(model, heard, ratios, instruction, limit):
    """Greedy ids by growing the one pass a token at a time: no cache, no pruning, no padding."""
    prompt = model.llm.prompt
    ids, new = prompt.question(instruction), []
    while len(new) < limit and (not new or new[-1] != prompt.end_id):
        layout = LayoutBatch.collate(model.layouts(heard, ratios, [len(ids)]))
        embeds = model.embed(layout, heard, torch.tensor([ids]))
        mask, memory_keys = model.view(layout)
        hidden = model.decode(embeds, layout.kind, layout.position, mask, None, memory_keys)
        new.append(int(model.llm.logits(hidden[:, -1]).argmax()))
        ids = [*ids, new[-1]]
    return new


LONG = "tell me everything that was said, by whom, and when, word for word, and leave nothing out of it, please"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_greedy_answers_equal_the_growing_one_pass(folders, family, scheme):
    model = listener(folders[family], positions=scheme).eval()
    heard = sample()
    memory = model.prefill(heard, RATIOS)
    rows, limits = [2, 0, 3, 0, 1], [12, 7, 9, 12, 4]
    # Shorter and longer than every row's memory, side by side in one left-padded batch.
    instructions = ["why?", LONG, "x", "how many?", LONG[:50]]
    assert len(LONG) > int(memory.kept.max()) > len("why?")
    answers = model.generate(memory, rows, instructions, limits)
    for row, instruction, limit, answer in zip(rows, instructions, limits, answers, strict=True):
        wanted = greedy(model, row_of(heard, row), [RATIOS[row]], instruction, limit)
        assert answer.text == model.llm.prompt.text(wanted)
        assert answer.finished == (model.llm.prompt.end_id in wanted)
    assert len({answer.text for answer in answers}) > 1, "the model must tell the questions apart"


@torch.no_grad()
def test_an_answer_ends_at_the_end_token_or_at_its_limit(folders):
    model = listener(folders["qwen2"]).eval()
    prompt, heard = model.llm.prompt, speech([5, 4])
    memory = model.prefill(heard, [[2, 2]])
    prompt.end_id = -1  # no token at all, so that the model talks on
    free = greedy(model, heard, [[2, 2]], "why?", 8)
    prompt.end_id = next(token for token in reversed(free) if token != free[0])  # what it says anyway becomes the end
    first = free.index(prompt.end_id)
    (ended,) = model.generate(memory, [0], ["why?"], [8])
    assert ended.finished and ended.text == prompt.tokenizer.decode(free[:first], skip_special_tokens=True).strip()
    # The limit holds for each question on its own, though the batch runs on for the longest.
    cut, whole = model.generate(memory, [0, 0], ["why?", "why?"], [first, 8])
    assert not cut.finished and cut.text == ended.text and whole == ended


# Negative controls: each breaks one thing, and the comparison above must notice


@pytest.mark.parametrize("case", ["nothing", *CONTROLS])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_negative_controls_are_noticed(folders, family, scheme, case):
    model = listener(folders[family], positions=scheme)
    asked = suffixes(model, *TURNS)
    with torch.no_grad(), broken(model, case):
        difference = (model(sample(), RATIOS, asked).loss_sum - streamed(model, sample(), RATIOS, asked)).abs().item()
    if case == "nothing":
        assert difference < 1e-9
    else:
        assert difference > 1e-3


def forgotten(memory):
    """Streaming that carries nothing on."""
    valid = memory.valid
    for layer, held in zip(memory.cache.layers, memory.carried, strict=False):
        layer.update(*held)
    return torch.cat([valid, torch.zeros_like(memory.carried_valid)], dim=1)


def for_good(layout, kept):
    """A one-pass mask in which what is carried on is seen ever after."""
    first, last = visible_intervals(layout, kept)
    last[:, layout.kind.shape[1] :] = NEVER - 1
    return first, last


BREAKS = {
    "forgotten": (KVMemory, "recall", forgotten),
    "for good": (attention_module, "visible_intervals", for_good),
    "not turned": (SpeechLLM, "_key_shift", lambda *_: None),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", BREAKS)
@torch.no_grad()
def test_broken_carrying_is_noticed(folders, scheme, case, monkeypatch):
    model = listener(folders["llama3"], positions=scheme, carried_frames=2)
    asked = suffixes(model, *TURNS)
    monkeypatch.setattr(*BREAKS[case])
    difference = (model(sample(), RATIOS, asked).loss_sum - streamed(model, sample(), RATIOS, asked)).abs().item()
    if case == "not turned" and scheme != "compact":  # where nothing is turned
        assert difference < 1e-9
    else:
        assert difference > 1e-3


def test_trained_sst_projections_are_noticed(folders):
    """The same layout and embedding give another loss once the SSTs' projections differ from the LLM's."""
    losses = []
    for projections in ("full", "lora"):
        for train_sst in (False, True):
            model = listener(folders["qwen2"], projections, train_sst=train_sst)
            asked = suffixes(model, *TURNS)
            with torch.no_grad():
                model.sst.embedding.fill_(0.1)
                losses.append(model(sample(), RATIOS, asked).loss_sum.item())
    assert losses[0] == pytest.approx(losses[2], rel=1e-11), "untrained, full and lora are the same model"
    assert abs(losses[0] - losses[1]) > 1e-3 and abs(losses[2] - losses[3]) > 1e-3


@pytest.mark.parametrize("placement", ["interleaved", "appended"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_suffixes_with_a_view_are_exactly_what_a_memory_answers_that_keeps_it_alone(folders, scheme, placement):
    """As if the audio had ended with the view, and what was heard before it had not been kept."""
    model = listener(folders["smollm3"], positions=scheme, placement=placement, carried_frames=2)
    asked = suffixes(model, *TURNS)
    views = [[None, (0, 0), (1, 1), (len(row) - 1, len(row) + 3), (0, len(row) - 1)] for row in INTERVALS]
    views = [[view for view in row if view is None or view[0] < len(INTERVALS[n])] for n, row in enumerate(views)]
    rows = [[replace(asked[n], view=view) for view in some] for n, some in enumerate(views)]

    def asked_alone(heard):
        memory, total = model.prefill(heard, RATIOS), 0.0
        for row, some in enumerate(rows):
            for suffix in some:
                total = total + after(model, memory.viewed([row], [suffix.view]), [suffix])
        return total

    one = gradients(model, sample(), lambda heard: model(heard, RATIOS, rows).loss_sum)
    assert_same(one, gradients(model, sample(), asked_alone))
    blind = [[replace(suffix, view=None) for suffix in some] for some in rows]
    assert abs(model(sample(), RATIOS, blind).loss_sum.item() - one[0]) > 1e-3
    # A view of the first interval is the memory of who heard no more than it.
    for row in range(len(INTERVALS)):
        first = row_of(sample(), row)
        first = Speech(first.frames[:, : INTERVALS[row][0]], torch.tensor([INTERVALS[row][0]]), [INTERVALS[row][:1]])
        seen = model(row_of(sample(), row), [RATIOS[row]], [[replace(asked[row], view=(0, 0))]]).loss_sum
        alone = model(first, [RATIOS[row][:1]], [asked[row]]).loss_sum
        assert seen.item() == pytest.approx(alone.item(), rel=1e-11)
