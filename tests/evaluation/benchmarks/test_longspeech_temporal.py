"""LongSpeech's temporal questions: a judge's labels, and the diagnostics that need none."""

import pytest

from speech_xl.evaluation.benchmarks.free_answers import EXACT, RELAXED, STRICT, TOKEN_F1
from speech_xl.evaluation.benchmarks.profile import Judgement
from tests.evaluation.benchmarks.longspeech_answers import LONGSPEECH, answer, answers, same, scores

TASK = "Temporal_Relative_QA"


def labelled(predictions, *labels: str):
    """Judgements by one judge; "-" for a reply without a label, "" for none."""
    pairs = zip(predictions, labels, strict=True)
    return {
        one.id: Judgement(None if label == "-" else label, "a judge", "three-labels-1", f"reply {label}")
        for one, label in pairs
        if label
    }


# labels; Strict and Relaxed of h1 and h2 (invalid ones left out), of strict and paper-words (invalid ones are NO)
LABELS = [
    (["YES", "YES"], (100, 100), (100, 100)),
    (["YES", "NO"], (50, 50), (50, 50)),
    (["PARTIALLY", "NO"], (0, 50), (0, 50)),
    (["YES", "PARTIALLY"], (50, 100), (50, 100)),
    (["NO", "NO"], (0, 0), (0, 0)),
    (["YES", "-"], (100, 100), (50, 50)),
    (["PARTIALLY", "-"], (0, 100), (0, 50)),
    (["YES", ""], (100, 100), (50, 50)),
    (["YES", "PARTIALLY", "NO", "-"], (100 / 3, 200 / 3), (25, 50)),
    (["YES", "-", "-", ""], (100, 100), (25, 25)),
    (["-", "-"], None, (0, 0)),
]


@pytest.mark.parametrize("labels, h1, strict", LABELS)
def test_strict_and_relaxed(labels, h1, strict):
    rows = answers(TASK, *(("the bridge", "the bridge"),) * len(labels))
    judgements = labelled(rows, *labels)
    for profile, expected in (("h1", h1), ("h2", h1), ("strict", strict), ("paper-words", strict)):
        found = scores(profile, rows, judgements)
        for name, value in zip((STRICT, RELAXED), expected or (None, None), strict=True):
            assert same(found[name].value, value), (profile, found[name])
        assert found[STRICT].main and "a judge with prompt three-labels-1" in found[STRICT].note
        invalid = sum(label in ("-", "") for label in labels)
        assert found[STRICT].unparsed == invalid
        assert found[STRICT].left_out == (invalid if profile in ("h1", "h2") else 0)


# reference, answer; exact match, token F1
DIAGNOSTICS = [
    ("The second bridge.", "the second bridge", 100, 100),
    ("The second bridge.", "the bridge", 0, 80),  # 2 shared of 3 and 2
    ("The second bridge.", "a harbour", 0, 0),
    ("The second bridge.", "", 0, 0),
    ("a b", "a a b", 0, 80),
    ("a b", "b a", 0, 100),
    ("2", "2", 100, 100),  # a number in the file
    ("a b", "a b " * 20, 0, 200 * 2 / 42),  # a runaway
    ("今天开会", "今天下雨", 0, 50),  # letters of scripts without spaces
    ("der Hafen", "le port", 0, 0),
]


@pytest.mark.parametrize("reference, hypothesis, exact, f1", DIAGNOSTICS)
def test_without_judgements_there_are_diagnostics_alone(reference, hypothesis, exact, f1):
    for profile in ("h1", "h2", "strict", "paper-words"):
        found = scores(profile, answers(TASK, (reference, hypothesis)))
        assert set(found) == {EXACT, TOKEN_F1} and not any(one.main for one in found.values())
        assert found[EXACT].value == pytest.approx(exact) and found[TOKEN_F1].value == pytest.approx(f1)
        assert "need a judge's labels" in found[EXACT].note


def test_failed_answers():
    rows = [*answers(TASK, ("a", "a")), answer(TASK, "b", "", number=1, failed="out of memory")]
    judgements = labelled(rows, "YES", "")
    h1, h2, strict = (scores(profile, rows, judgements) for profile in ("h1", "h2", "strict"))
    assert (h1[STRICT].value, h1[STRICT].items, h1[STRICT].left_out) == (100, 1, 1)
    assert (h2[STRICT].value, h2[STRICT].items, h2[STRICT].left_out) == (100, 1, 1)
    assert (strict[STRICT].value, strict[STRICT].items, strict[STRICT].left_out) == (50, 2, 0)
    assert (h1[EXACT].value, strict[EXACT].value) == (100, 50)


def test_only_this_task_needs_judgements():
    for profile in LONGSPEECH.profiles:
        assert {task for task, scorer in profile.tasks.items() if scorer.judged} <= {TASK}
