"""The profile of a user's own items against hand-computed cases: choices, free answers, transcripts, tasks by name."""

import math

import pytest

from speech_xl.evaluation.benchmarks.free_answers import token_f1
from speech_xl.evaluation.benchmarks.own import choice_of
from speech_xl.evaluation.benchmarks.registry import find_benchmark
from speech_xl.evaluation.benchmarks.rows import rows_of
from tests.evaluation.benchmarks.item_answers import answer

PLAIN = find_benchmark("own").profile("plain")
CHOICES = {"A": "fog", "B": "a storm", "C": "a heavy storm", "D": "no idea"}


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("B", "B"),
        (" b\n", "B"),
        ("(B)", "B"),
        ("**B.**", "B"),
        ("B. A storm", "B"),
        ("b) fog", "B"),  # the letter, whatever follows it
        ("[C] because of the wind", "C"),
        ("The answer is B", "B"),
        ("Answer: (C)", "C"),
        ("I would say option D.", "D"),
        ("The answer is a storm", "B"),  # a is no letter here
        ("Fog.", "A"),
        ("There was fog at sea", "A"),
        ("It was a heavy storm", "C"),  # a storm is not in it by itself
        ("A heavy storm", "C"),
        ("a", "A"),
        ("I hear a dog", None),
        ("Based on it, sun", None),
        ("fog and a storm", None),  # two
        ("answer A, no: answer B", None),
        ("foggy", None),
        ("E", None),
        ("", None),
    ],
)
def test_a_reply_names_one_choice_or_none(reply, label):
    assert choice_of(reply, CHOICES) == label


def test_choices_with_other_labels_and_scripts():
    assert choice_of("2", {"1": "2", "2": "1"}) == "1"  # a whole text wins over a label
    assert choice_of("2. yes", {"1": "no", "2": "yes"}) == "2"
    assert choice_of("答えは雨です", {"A": "霧", "B": "雨"}) == "B"
    assert choice_of("AB", {"A": "x", "AB": "y"}) == "AB"


def choices(*replies: tuple[str, str], **changes):
    return [
        answer("own", "choice", label, reply, number, prompt="Which?", choices=CHOICES, **changes)
        for number, (label, reply) in enumerate(replies)
    ]


def test_accuracy_counts_what_is_unparsed_as_wrong():
    predictions = choices(("B", "B"), ("A", "It is fog"), ("A", "sun"), ("C", "B"), ("D", ""))
    (score,) = PLAIN.tasks["choice"].score(predictions, {})
    assert (score.metric, score.value, score.items, score.unparsed) == ("accuracy, %", 40.0, 5, 2)
    assert score.main and score.better == "higher" and score.low < 40.0 < score.high and "unparsed" in score.note
    failed = choices(("B", ""), failed="audio can't be read")
    (score,) = PLAIN.tasks["choice"].score(predictions + failed, {})  # the same id: the one that did not fail counts
    assert score.value == 40.0 and score.left_out == 1


def test_constant_answers_stand_beside_choices():
    predictions = choices(("B", "B"), ("B", "B"), ("A", "A"))
    (row,) = rows_of(predictions, find_benchmark("own"), PLAIN, {})
    assert row.majority.reply == "B" and row.majority.value == pytest.approx(200 / 3)
    assert row.best_constant.reply == "B" and row.main.value == 100.0


def test_free_answers_match_or_share_tokens():
    pairs = [("Two o'clock.", "two o'clock"), ("a red bus", "the red bus"), ("seven", ""), ("雨が降る", "雨")]
    predictions = [answer("own", "answer", *pair, n, prompt="What?") for n, pair in enumerate(pairs)]
    exact, f1 = PLAIN.tasks["answer"].score(predictions, {})
    assert (exact.metric, exact.value, exact.main) == ("exact match, %", 25.0, True)
    assert f1.metric == "token F1, %" and f1.value == pytest.approx(100 * (1 + 2 / 3 + 0 + 2 / 5) / 4) and not f1.main


@pytest.mark.parametrize(
    ("reference", "hypothesis", "value"),
    [
        ("a b", "a b", 1.0),
        ("a b", "b a", 1.0),
        ("a b c d", "a b", 2 * 2 / 6),
        ("a a b", "a c", 2 * 1 / 5),
        ("a a", "a a a", 2 * 2 / 5),
        ("a", "b", 0.0),
        ("a", "", 0.0),
        ("", "a", 0.0),
        ("", "", 1.0),
        ("a b c", "a b c d e f", 2 * 3 / 9),
    ],
)
def test_token_f1(reference, hypothesis, value):
    assert token_f1(reference.split(), hypothesis.split()) == pytest.approx(value)


def test_transcripts_have_a_word_error_rate_and_failures_count_as_empty():
    predictions = [
        answer("own", "transcript", "One, two three four", "one two tree four", 0),
        answer("own", "transcript", "five six", "", 1, failed="no audio"),
        answer("own", "transcript", "霧が出る", "霧が出た", 2, language="ja"),
    ]
    (score,) = PLAIN.tasks["transcript"].score(predictions, {})
    assert score.metric == "WER, %" and score.value == pytest.approx(100 * (1 + 2 + 1) / (4 + 2 + 4))
    assert score.better == "lower" and "empty" in score.note


def test_each_task_that_the_user_named_has_figures_of_its_own():
    named = choices(("B", "B"), about={"task": "sea"}) + [
        answer("own", "choice", "A", "B", 7, prompt="Which?", choices=CHOICES, about={"task": "land"}),
        answer("own", "choice", "A", "A", 8, prompt="Which?", choices=CHOICES),
    ]
    scores = {one.metric: one for one in PLAIN.tasks["choice"].score(named, {})}
    assert {metric: one.value for metric, one in scores.items()} == {
        "accuracy, %": pytest.approx(200 / 3),
        "accuracy, %, of land": 0.0,
        "accuracy, %, of sea": 100.0,
    }
    assert [metric for metric, one in scores.items() if one.main] == ["accuracy, %"]
    assert len(PLAIN.tasks["choice"].score(named[:1], {})) == 1  # all of one task: said once


def test_no_answers_have_no_score():
    for task in ("choice", "answer", "transcript"):
        assert all(math.isnan(one.value) for one in PLAIN.tasks[task].score([], {}))
