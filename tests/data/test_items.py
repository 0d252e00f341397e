"""Benchmark items: asked alone and as published; in training as questions; bad audio ends no benchmark."""

import random
from dataclasses import replace

import pytest
from lhotse import CutSet

from speech_xl.data.dataset import EvaluationTurns, SpeechDataset
from speech_xl.data.items import KEY, Item, items_of
from speech_xl.data.partition import FixedWindows
from speech_xl.data.tasks import TaskMixture, item_turns
from speech_xl.extensions.timestamps.transcript import Timestamps


def item(**changes) -> Item:
    given = {"benchmark": "own", "id": "q1", "task": "MC", "prompt": "Which?\nA. ja\nB. nein", "answer": "B"}
    return Item(**(given | {"max_tokens": 5, "choices": {"A": "ja", "B": "nein"}, "language": "de"} | changes))


def with_items(cut, *items):
    return replace(cut, custom=(cut.custom or {}) | {KEY: [one.to_json() for one in items]})


@pytest.fixture
def asked(session):
    again, own = item(id="q2"), item(id="asr", task="ASR", prompt=None, answer="was gesagt wird", choices={})
    return with_items(session, item(), again, own)


def test_items_survive_the_cut(asked):
    transcription = item(id="asr", task="ASR", prompt=None, answer="was gesagt wird", choices={})
    assert items_of(asked) == [item(), item(id="q2"), transcription]
    assert items_of(replace(asked, custom=None)) == []


def test_a_benchmarks_session_is_asked_its_items_alone(asked):
    turns = EvaluationTurns(["asr", "qa"], questions=1)(asked)
    assert [(turn.task, turn.instruction, turn.answer, turn.kind, turn.occurrence) for turn in turns] == [
        ("qa", item().prompt, "B", "MC", 1),
        ("qa", item().prompt, "B", "MC", 2),
        ("asr", "transcribe the speech", "was gesagt wird", "ASR", 1),
    ], "the corpus's own questions and transcript are not asked; the limit of questions is not for items"
    assert [turn.task for turn in EvaluationTurns(["asr"])(asked)] == ["asr"]


def test_a_transcription_item_is_asked_as_the_model_learned_it(asked):
    transcript = Timestamps(step_seconds=0.4)
    own = EvaluationTurns(["asr"], transcript=transcript)(asked)[0]
    assert own.instruction == transcript.instruction and own.timestamps == 0.4
    assert own.answer == "was gesagt wird", "the truth stays as it is published"


def test_items_with_a_prompt_are_trained_on_as_questions(asked):
    drawn = TaskMixture({"qa": 1.0}, turns=99).draw(asked, random.Random(0))
    assert {turn.item for turn in drawn if turn.item} == {item(), item(id="q2")}
    assert any(turn.item is None for turn in drawn), "beside the corpus's own questions"
    bare = replace(asked, supervisions=[], custom={KEY: asked.custom[KEY]})
    assert {turn.kind for turn in TaskMixture({"qa": 1.0}, turns=99).draw(bare, random.Random(0))} == {"MC"}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"id": ""}, "id"),
        ({"prompt": ""}, "q1: prompt"),
        ({"answer": 3}, "q1: answer: got 3"),
        ({"max_tokens": 0}, "q1: max_tokens"),
        ({"choice": {}}, "unknown key 'choice'"),
    ],
)
def test_a_bad_item_names_the_cut_the_item_and_the_key(session, change, message):
    bad = replace(session, custom={KEY: [item().to_json() | change]})
    with pytest.raises(ValueError, match=f"cut {session.id}: .*{message}"):
        item_turns(bad)


def test_audio_that_cannot_be_read_is_a_failure_of_a_benchmark_and_an_error_elsewhere(asked, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF....")
    bad = replace(asked, id="bad")
    bad.recording = replace(bad.recording, sources=[replace(bad.recording.sources[0], source=str(broken))])
    dataset = SpeechDataset(EvaluationTurns(["qa"]), FixedWindows(4.0))
    batch = dataset[CutSet.from_cuts([bad, asked])]
    assert batch.ids == [asked.id] and len(batch.turns) == 1
    (cut, turns, reason), *others = batch.failed
    assert cut.id == "bad" and len(turns) == 2 and str(broken) in reason and not others
    assert batch.row(0).ids == [asked.id]
    with pytest.raises(Exception, match="bad"):
        dataset[CutSet.from_cuts([replace(bad, custom={})])]
