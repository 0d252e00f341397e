"""Tasks: which turns a session offers and how a sample's turns are drawn."""

import random
from collections import Counter

import pytest
from lhotse.testing.dummies import dummy_cut, dummy_supervision

from speech_xl.data.tasks import TaskMixture, Turn, asr_turn, caption_turn, qa_turns
from speech_xl.data.transcript import PLAIN
from speech_xl.extensions.timestamps.marks import without_time_marks
from speech_xl.extensions.timestamps.transcript import Timestamps


def cut_with(texts=("hello there", "bye"), **custom):
    supervisions = [dummy_supervision(i, start=0.4 * i, duration=0.4, text=text) for i, text in enumerate(texts)]
    cut = dummy_cut(0, supervisions=supervisions)
    cut.custom = custom or None
    return cut


def questions(count):
    return [{"task": "qa", "question": f"q{i}", "answer": f"a{i}", "kind": "number"} for i in range(count)]


def test_asr_joins_texts_in_time_order():
    cut = cut_with()
    cut.supervisions.reverse()
    assert asr_turn(cut) == Turn("asr", "transcribe the speech", "hello there bye", "asr")


def test_a_second_is_marked_once_however_many_utterances_begin_in_it():
    cut = cut_with(["one", "two", "three"])
    cut.supervisions[2].start = 1.2
    assert asr_turn(cut, transcript=Timestamps(1.0)).answer == "[0] one two [1] three"


def test_time_marks_say_the_second_an_utterance_begins_at():
    cut = cut_with(["hello there", "bye", "well"])
    cut.supervisions[0].start, cut.supervisions[1].start, cut.supervisions[2].start = -0.2, 3.999, 12.0
    timed = "[0] hello there [3] bye [12] well"
    marks = Timestamps(1.0)
    assert asr_turn(cut, marks) == Turn("asr", "transcribe the speech with times", timed, "asr")
    assert TaskMixture({"asr": 1}, transcript=marks).draw(cut, random.Random(0)) == [asr_turn(cut, marks)]
    assert without_time_marks(timed) == asr_turn(cut).answer


def test_asr_without_truth_is_an_error_naming_the_cut():
    with pytest.raises(ValueError, match="dummy-mono-cut-0000.*no ASR truth, supervision .* has no text"):
        asr_turn(cut_with(("hello", None)))


@pytest.mark.parametrize("marks", [PLAIN, Timestamps(1.0)])
def test_a_cut_without_supervisions_has_no_speech(marks):
    assert asr_turn(cut_with(()), marks).answer == ""


def test_one_question_asked_again_is_another_turn():
    entries = [{"question": "who?", "answer": answer} for answer in ("ada", "bob", "ada")]
    turns = qa_turns(cut_with(questions=[entries[0], *questions(1), *entries[1:]]))
    assert [(turn.instruction, turn.occurrence) for turn in turns] == [("who?", 1), ("q0", 1), ("who?", 2), ("who?", 3)]


def test_caption_and_questions_come_from_custom():
    cut = cut_with(caption="one speaker", questions=questions(2))
    assert caption_turn(cut) == Turn("caption", "describe the speech", "one speaker", "caption")
    assert qa_turns(cut) == [Turn("qa", "q0", "a0", "number"), Turn("qa", "q1", "a1", "number")]
    assert caption_turn(cut_with()) is None
    assert qa_turns(cut_with()) == []


def test_a_padded_session_keeps_its_truth():
    cut = cut_with(caption="one speaker", questions=questions(2)).pad(duration=3.0)
    assert caption_turn(cut).answer == "one speaker"
    assert len(qa_turns(cut)) == 2


@pytest.mark.parametrize(
    "entry", [{"question": "q", "answer": ""}, {"question": "q"}, {"task": "other", "question": "q", "answer": "a"}]
)
def test_a_bad_question_is_an_error(entry):
    with pytest.raises(ValueError, match="dummy-mono-cut-0000: bad entry"):
        qa_turns(cut_with(questions=[entry]))


def test_draws_follow_the_weights():
    mixture = TaskMixture({"asr": 3, "caption": 1, "qa": 1})
    cut = cut_with(caption="one speaker", questions=questions(5))
    rng = random.Random(0)
    drawn = Counter(mixture.draw(cut, rng)[0].task for _ in range(2000))
    assert drawn["asr"] == pytest.approx(1200, abs=100)
    assert drawn["caption"] == pytest.approx(400, abs=80)
    assert drawn["qa"] == pytest.approx(400, abs=80)


def test_questions_are_different_and_in_random_order():
    mixture = TaskMixture({"qa": 1}, turns=3)
    cut = cut_with(questions=questions(5))
    draws = [mixture.draw(cut, random.Random(seed)) for seed in range(50)]
    assert all(len({t.instruction for t in turns}) == 3 for turns in draws)
    assert len({tuple(t.instruction for t in turns) for turns in draws}) > 20
    assert draws[7] == mixture.draw(cut, random.Random(7))
    assert len(mixture.draw(cut_with(questions=questions(2)), random.Random(0))) == 2


def test_a_task_without_truth_is_not_drawn():
    mixture = TaskMixture({"asr": 0.001, "caption": 1, "qa": 1})
    assert all(mixture.draw(cut_with(), random.Random(seed))[0].task == "asr" for seed in range(20))
    untold = cut_with((), caption="one speaker")
    assert all(mixture.draw(untold, random.Random(seed))[0].task == "caption" for seed in range(20))


def test_a_cut_without_any_truth_is_an_error():
    with pytest.raises(ValueError, match="dummy-mono-cut-0000.*caption, qa"):
        TaskMixture({"caption": 1, "qa": 1}).draw(cut_with(), random.Random(0))


@pytest.mark.parametrize(
    ("weights", "turns", "message"),
    [
        ({"translate": 1}, 4, "translate"),
        ({"asr": -1}, 4, r"tasks\.asr: got -1"),
        ({"asr": float("nan")}, 4, r"tasks\.asr: got nan"),
        ({"asr": float("inf")}, 4, r"tasks\.asr: got inf"),
        ({"asr": 0}, 4, "no task"),
        ({}, 4, "no task"),
        ({"asr": 1}, 0, "turns"),
    ],
)
def test_bad_mixtures_are_refused(weights, turns, message):
    with pytest.raises(ValueError, match=message):
        TaskMixture(weights, turns)
