"""Evaluator: validate, test and comparisons ask by one loop, alone or together, and measure the same."""

from dataclasses import asdict, replace

import pytest
import torch
from lhotse import SupervisionSegment
from lhotse.testing.dummies import dummy_cut
from transformers import LogitsProcessor

from experiments.random_models import listener, llm_folder, speech
from speech_xl.data.batch import SpeechBatch
from speech_xl.data.dataset import EvaluationTurns
from speech_xl.data.items import Item
from speech_xl.data.tasks import Turn
from speech_xl.data.transcript import Transcript
from speech_xl.data.windows import Windows
from speech_xl.evaluation.compressors import MeanPooled, Summarization, Truncation, Uncompressed
from speech_xl.evaluation.evaluator import QUESTIONS_AT_ONCE, Evaluator
from speech_xl.evaluation.prediction_file import PredictionWriter, read_predictions
from speech_xl.model.decoding_rules import DecodingRules
from speech_xl.model.speech import Speech
from speech_xl.phases.evaluation_loops import Evaluation, EvaluationLoops

LENGTHS = [[6, 5], [4], [7, 2, 4]]


def stacked(rows):
    frames = torch.nn.utils.rnn.pad_sequence([row.frames[0] for row in rows], batch_first=True)
    return Speech(frames, torch.cat([row.lengths for row in rows]), [row.intervals[0] for row in rows])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = listener(llm_folder(tmp_path_factory.mktemp("llm"))).eval()
    made.encoder = None  # frames come from the tests
    made.decoding = DecodingRules(4.0)
    return made


@pytest.fixture
def sessions():
    """Three of unlike lengths, one with a question too: cuts, turns, speech of each."""
    cuts = [dummy_cut(number, duration=1.0 + number) for number in range(3)]
    turns = [[Turn("asr", "transcribe", "ada")] for _ in cuts]
    turns[1].append(Turn("qa", "who?", "bob", "first"))
    return cuts, turns, [speech(lengths) for lengths in LENGTHS]


def each_alone(evaluator, cuts, turns, rows):
    return [one for cut, some, row in zip(cuts, turns, rows, strict=True) for one in evaluator([cut], [some], row)]


@torch.no_grad()
def test_validation_reports_the_bytes_of_the_tensors_as_a_session_alone_does(model, sessions):
    cuts, turns, rows = sessions
    phase = EvaluationLoops()
    phase.backbone, phase.eval_ratios = model, [1]
    phase.evaluate_by(Evaluation(Summarization(), [2]))
    phase.speech = lambda batch: stacked(rows)
    validated = phase.predict(SpeechBatch([cut.id for cut in cuts], cuts, [None] * 3, [None] * 3, [[]] * 3, turns))
    alone = each_alone(Evaluator(model, Summarization(), [2]), cuts, turns, rows)
    kept = [
        [(one.id, one.compressor, one.kept_kv_bytes, one.kept_kv_tokens, one.total_kv_tokens) for one in some]
        for some in (validated, alone)
    ]
    assert kept[0] == kept[1] and len(kept[0]) == 4
    prefix = len(model.llm.prompt.prefix)
    by_cut = {one.cut_id: one for one in alone}
    for cut, row in zip(cuts, rows, strict=True):
        memory = model.prefill(row, row.throughout(2))
        tensors = [v for name, v in memory.tensors().items() if name.startswith("layers.")]
        one = by_cut[cut.id]
        assert one.kept_kv_bytes == sum(v[:, :, prefix:].numel() * v.element_size() for v in tensors)
        assert one.peak_kv_bytes >= one.kept_kv_bytes and one.prefill_seconds > 0 and one.decode_seconds > 0
    assert all(one.peak_kv_bytes is one.prefill_seconds is one.decode_seconds is None for one in validated)
    narrow = model.prefill(rows[0], rows[0].throughout(2))
    for layer in narrow.cache.layers:  # as under autocast, whatever the weights are
        layer.keys, layer.values = layer.keys.bfloat16(), layer.values.bfloat16()
    assert 4 * narrow.audio_bytes(prefix)[0] == by_cut[cuts[0].id].kept_kv_bytes


@pytest.mark.parametrize("compressor", [MeanPooled(), Summarization(), Truncation()], ids=lambda one: one.name)
def test_sessions_asked_together_answer_and_keep_what_each_does_alone(model, sessions, compressor):
    cuts, turns, rows = sessions
    evaluator = Evaluator(model, compressor, [2, 4], split="dev")
    together = list(evaluator(cuts, turns, stacked(rows)))
    shown = [
        [(one.id, one.hypothesis, one.kept_kv_bytes, one.split) for one in sorted(some, key=lambda one: one.id)]
        for some in (together, each_alone(evaluator, cuts, turns, rows))
    ]
    assert shown[0] == shown[1] and len(shown[0]) == 8
    assert len({one.hypothesis for one in together}) > 1, "answers say nothing if all are alike"
    if compressor.takes_rows:  # ratio by ratio, and in the order of rows and turns
        order = [(row.id, turn.task) for row, some in zip(cuts, turns, strict=True) for turn in some]
        assert [(one.ratio, one.cut_id, one.task) for one in together] == [(n, *one) for n in (2, 4) for one in order]
    else:
        assert all(one.prefill_seconds for one in together), "each was alone"


class AsksFirst(Summarization):
    """Needs the question, and notes what it was told."""

    needs_question, takes_rows = True, False

    def prefill(self, model, speech, ratio, instruction=""):
        self.told = [*getattr(self, "told", []), (ratio, len(speech), instruction)]
        return super().prefill(model, speech, ratio)


def test_a_compressor_that_needs_the_question_hears_a_session_again_for_each(model, sessions):
    cuts, turns, rows = sessions
    asks = AsksFirst()
    found = list(Evaluator(model, asks, [2])(cuts, turns, stacked(rows)))
    assert asks.told == [(2, 1, "transcribe"), (2, 1, "transcribe"), (2, 1, "who?"), (2, 1, "transcribe")]
    plain = each_alone(Evaluator(model, Summarization(), [2]), cuts, turns, rows)
    assert [one.hypothesis for one in found] == [one.hypothesis for one in plain]


def test_more_questions_than_fit_at_once_are_all_answered_in_order(model):
    cut = dummy_cut(0, duration=1.0)
    turns = [Turn("qa", "who?", "bob", occurrence=n + 1) for n in range(QUESTIONS_AT_ONCE + 1)]
    found = list(Evaluator(model, Summarization(), [2])([cut], [turns], speech([6, 5])))
    assert [one.occurrence for one in found] == list(range(1, QUESTIONS_AT_ONCE + 2))


def test_only_the_tasks_named_are_asked(model, sessions):
    cuts, turns, rows = sessions
    found = list(Evaluator(model, Summarization(), [2], tasks=["qa"])(cuts, turns, stacked(rows)))
    assert [(one.cut_id, one.task) for one in found] == [(cuts[1].id, "qa")]


def test_other_decoding_rules_than_the_models_hold(model, sessions):
    cuts, turns, rows = sessions
    own, short = (
        each_alone(Evaluator(model, Summarization(), [2], decoding=rules), cuts[:1], turns[:1], rows[:1])[0]
        for rules in (None, DecodingRules(1e-3))
    )
    assert own.hypothesis != short.hypothesis and own.hypothesis.startswith(short.hypothesis) and not short.finished


def test_what_is_in_the_file_is_not_asked_again(model, sessions, tmp_path):
    cuts, turns, rows = sessions
    evaluator, calls = Evaluator(model, Summarization(), [2, 4]), []

    def heard():
        calls.append(1)
        return stacked(rows)

    whole = list(evaluator(cuts, turns, stacked(rows)))
    with PredictionWriter(tmp_path / "p.jsonl") as writer:
        for one in whole[:5]:  # all of the first ratio, and one of the second
            writer.write(one)
        assert len(list(evaluator(cuts, turns, stacked(rows), writer.done))) == 4, "the first ratio isn't heard again"
        evaluator.write(writer, cuts, turns, heard)
        evaluator.write(writer, cuts, turns, heard)
    assert calls == [1], "a batch that is done needs no speech"
    told = [
        [{k: v for k, v in asdict(one).items() if "seconds" not in k} for one in some]
        for some in (whole, read_predictions(tmp_path / "p.jsonl"))
    ]
    assert told[0] == told[1]


def test_ratios_that_a_compressor_does_not_have_are_refused(model):
    with pytest.raises(ValueError, match=r"eval_ratios: got \[4\], and full KV doesn't compress; give \[1\]"):
        Evaluator(model, Uncompressed(), [4])
    with pytest.raises(ValueError, match="eval_ratios"):
        Evaluator(model, Summarization(), [0])


def item_turn(name: str, **changes) -> Turn:
    given = {"benchmark": "own", "id": name, "task": "MC", "prompt": "who?", "answer": "bob", "max_tokens": 3}
    item = Item(**(given | changes))
    return Turn("qa", "who?", "bob", "MC", item=item)


def test_an_item_has_its_own_limit_and_a_transcription_the_models(model, sessions):
    cuts, _, rows = sessions
    own = replace(item_turn("asr", prompt=None), task="asr", instruction="transcribe")
    turns = [[item_turn("short"), item_turn("long", max_tokens=9), own]]
    turns[0][1] = replace(turns[0][1], occurrence=2)
    evaluator = Evaluator(model, Uncompressed(), [1])
    lengths = {}
    generate = Uncompressed.generate

    def counted(self, model, memory, instructions, limits, *rest):
        for instruction, limit in zip(instructions, limits, strict=True):
            lengths.setdefault(instruction, []).append(limit)
        return generate(self, model, memory, instructions, limits, *rest)

    Uncompressed.generate = counted
    try:
        answers = list(evaluator(cuts[:1], turns, rows[0]))
    finally:
        Uncompressed.generate = generate
    assert lengths == {"who?": [3, 9], "transcribe": [model.decoding.limit("asr", cuts[0].duration)]}
    assert [one.item["id"] for one in answers] == ["short", "long", "asr"]


def test_a_failure_is_written_with_its_reason_and_tried_again(model, sessions, tmp_path):
    cuts, _, rows = sessions
    turns = [[item_turn("a")]]
    evaluator = Evaluator(model, Uncompressed(), [1], split="test")
    path = tmp_path / "answers.jsonl"
    with PredictionWriter(path) as writer:
        evaluator.write_failure(writer, cuts[0], turns[0], "no such file")
    (failed,) = read_predictions(path)
    assert failed.failed == "no such file" and failed.hypothesis == "" and failed.item["id"] == "a"
    with PredictionWriter(path) as writer:
        evaluator.write(writer, cuts[:1], turns, lambda: rows[0])
    (answered,) = read_predictions(path)
    assert answered.failed is None and answered.id == failed.id
    with PredictionWriter(path) as writer:
        evaluator.write_failure(writer, cuts[0], turns[0], "again")
    assert read_predictions(path) == [answered], "an answer stays one"


class Phase(EvaluationLoops):
    """A phase that can't hear one of its sessions."""

    def __init__(self, model, rows, too_long):
        self.backbone, self.eval_ratios, self.rows, self.too_long = model, [1], rows, too_long

    def speech(self, batch):
        if self.too_long in batch.ids:
            raise ValueError(f"session {self.too_long} is longer than the LLM's context")
        return stacked([self.rows[int(name.removeprefix("dummy-mono-cut-"))] for name in batch.ids])


@pytest.mark.parametrize("benchmark", [True, False])
def test_a_session_that_cannot_be_answered_ends_no_benchmark(model, sessions, tmp_path, benchmark):
    cuts, turns, rows = sessions
    turns = [[item_turn(cut.id)] for cut in cuts] if benchmark else turns
    phase = Phase(model, rows, cuts[1].id)
    names = [cut.id for cut in cuts]
    batch = SpeechBatch(names, cuts, [None] * 3, [None] * 3, [[]] * 3, turns, failed=[])
    if not benchmark:
        with PredictionWriter(tmp_path / "a.jsonl") as writer, pytest.raises(ValueError, match="context"):
            phase.evaluate_by(Evaluation(writer=writer))
            phase.predict_step(batch, 0)
        return
    batch.failed = [(dummy_cut(9), [item_turn("lost")], "can't be read")]
    with PredictionWriter(tmp_path / "a.jsonl") as writer:
        phase.evaluate_by(Evaluation(writer=writer))
        phase.predict_step(batch, 0)
    found = {one.cut_id: one.failed for one in read_predictions(tmp_path / "a.jsonl")}
    assert found == {
        names[0]: None,
        names[1]: f"session {names[1]} is longer than the LLM's context",
        names[2]: None,
        dummy_cut(9).id: "can't be read",
    }


def test_a_session_that_is_heard_in_part_is_an_error(model, sessions):
    cuts, turns, rows = sessions
    rate = sum(LENGTHS[0]) / cuts[0].duration
    heard = Evaluator(model, Uncompressed(), [1])
    model.encoder, model.adapter = torch.nn.Module(), torch.nn.Module()
    model.encoder.frame_rate, model.adapter.stride = rate, 1
    try:
        (answer,) = heard(cuts[:1], turns[:1], rows[0])
        assert answer.audio_seconds_heard == cuts[0].duration and answer.beyond_context is False
        config = model.llm.model.config
        context, config.max_position_embeddings = config.max_position_embeddings, 21
        (answer,) = heard(cuts[:1], turns[:1], rows[0])
        config.max_position_embeddings = context
        assert answer.beyond_context is True
        short = speech([6])
        with pytest.raises(RuntimeError, match=r"lasts 1.00 s, and 0.55 s of it are heard"):
            list(heard(cuts[:1], turns[:1], short))
    finally:
        model.encoder = None
        del model.adapter


@torch.no_grad()
@pytest.mark.parametrize("context", [None, 0.0])
def test_windows_are_asked_side_by_side_and_joined(model, sessions, monkeypatch, context):
    """Also where they take several batches: as if each window were asked alone, of what it sees."""
    cuts, _, rows = sessions
    monkeypatch.setattr(type(model), "frame_rate", 5.0)
    transcript = Transcript(Windows(1.0, context=context, multiple_of=1.0))
    turns = [EvaluationTurns(["asr"], transcript=transcript)(said(cut)) for cut in cuts]
    assert [len(some[0].windows) for some in turns] == [1, 2, 3]
    evaluator = Evaluator(model, Summarization(), [2], decoding=DecodingRules(4.0, transcript))
    together = list(evaluator(cuts, turns, stacked(rows)))
    monkeypatch.setattr("speech_xl.evaluation.evaluator.QUESTIONS_AT_ONCE", 2)
    assert [one.hypothesis for one in evaluator(cuts, turns, stacked(rows))] == [one.hypothesis for one in together]
    for one, cut, (turn,), row in zip(together, cuts, turns, rows, strict=True):
        assert one.instruction == turn.instruction and one.reference == turn.answer
        memory, texts = model.prefill(row, row.throughout(2)), []
        for window in turn.windows:
            limit = min(model.decoding.window_limit(window.span), model.decoding.limit("asr", cut.duration))
            view = transcript.view(window.span, row.intervals[0], 5.0)
            assert (view is None) == (context is None)
            texts += model.generate(memory, [0], [window.instruction], [limit], views=[view])
        assert one.hypothesis == " ".join(answer.text for answer in texts if answer.text)


@torch.no_grad()
def test_windows_beyond_the_last_timestamp_are_not_asked(model, sessions, monkeypatch):
    """A tokenizer has times up to some second; what is said later can't be written down, and the answer says so."""
    cuts, _, rows = sessions
    monkeypatch.setattr(type(model), "frame_rate", 5.0)

    class Short(Transcript):
        def processors(self, prompt, instructions, seconds, tokens_per_second, device):
            return [Reaching([1.0 if one > 2 else None for one in seconds])]

    turns = [EvaluationTurns(["asr"], transcript=Short(Windows(1.0, multiple_of=1.0)))(said(cut)) for cut in cuts]
    asked, generate = [], Summarization.generate

    def spy(self, model, memory, instructions, *more):
        asked.extend(instructions)
        return generate(self, model, memory, instructions, *more)

    monkeypatch.setattr(Summarization, "generate", spy)
    evaluator = Evaluator(
        model, Summarization(), [2], decoding=DecodingRules(4.0, Short(Windows(1.0, multiple_of=1.0)))
    )
    found = list(evaluator(cuts, turns, stacked(rows)))
    assert [one.reached_seconds for one in found] == [None, None, 1.0]
    assert [one.finished for one in found][2] is False
    assert len(asked) == 1 + 2 + 2, "of the three windows of the last session two begin by the last second"
    asks = AsksFirst()
    anew = list(Evaluator(model, asks, [2], decoding=evaluator.decoding)(cuts, turns, stacked(rows)))
    assert [one.hypothesis for one in anew] == [one.hypothesis for one in found]
    beyond = turns[2][0].windows[2].instruction
    assert beyond not in [question for *_, question in asks.told]


class Reaching(LogitsProcessor):
    """Rules out nothing, and can write down no more than so much of each row."""

    def __init__(self, reached):
        self.reached = reached

    def __call__(self, input_ids, scores):
        return scores


def said(cut):
    cut.supervisions = [SupervisionSegment(f"{cut.id}-1", cut.recording_id, 0.2, 0.5, text="ada")]
    return cut
