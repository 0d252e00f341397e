"""Metrics: the normaliser, micro WER, cut WER, accuracy and their bootstrap intervals."""

import math

import pytest
import torchmetrics

from speech_xl.evaluation.metrics import (
    accuracy,
    accuracy_difference,
    cut_error_difference,
    cut_error_rate,
    cut_hypothesis,
    error_rate,
    error_rate_by_time,
    is_correct,
    summarise,
    wer_counts,
)
from speech_xl.evaluation.normaliser import normalize
from speech_xl.evaluation.prediction import Prediction
from tests.predictions import make_prediction


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,  World!\n", "hello world"),
        ("don't \u2019tis the boys\u2019 'quote'", "don't tis the boys quote"),
        ("well-known \u2014 3.5 %", "well known 3 5"),
        ("\u00c9t\u00e9 na\u00efve", "\u00e9t\u00e9 na\u00efve"),
        ("\uff21\uff22\uff23", "abc"),
        ("... !", ""),
        ("[0] one two[3] three [14]four [5 six", "one two three four 5 six"),
    ],
)
def test_normalize(text, expected):
    assert normalize(text) == expected
    assert normalize(expected) == expected  # idempotent


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("one two three", "One, two three.", (0, 3)),
        ("one two three", "one too three", (1, 3)),
        ("one two three", "one three", (1, 3)),
        ("one two three", "zero one two three", (1, 3)),
        ("one two three", "", (3, 3)),
        ("", "one two", (2, 0)),
        ("", "", (0, 0)),
    ],
)
def test_wer_counts(reference, hypothesis, counts):
    assert wer_counts(reference, hypothesis) == counts


def test_error_rate_is_micro_and_equals_torchmetrics(make_record):
    pairs = [("one two three four", "one two tree four"), ("five", "six seven"), ("a b c d e f", "a b c d e f")]
    records = [make_record(f"s{i}", reference=ref, hypothesis=hyp) for i, (ref, hyp) in enumerate(pairs)]
    rate = error_rate(records)
    assert (rate.errors, rate.words, rate.items) == (3, 11, 3)
    torchmetrics_wer = torchmetrics.text.WordErrorRate()([hyp for _, hyp in pairs], [ref for ref, _ in pairs])
    assert rate.value == pytest.approx(float(torchmetrics_wer))
    assert rate.low < rate.value < rate.high


def test_cut_wer_charges_a_runaway_for_a_fifth_at_most(make_record):
    reference = "one two three four five"
    runaway = make_record(reference=reference, hypothesis=reference + " five" * 500)
    assert error_rate([runaway]).value == pytest.approx(100)
    assert cut_error_rate([runaway]).value == pytest.approx(0.2)
    assert len(cut_hypothesis(" ".join("abcdefghij"), "x " * 99).split()) == 12  # exactly 1.2 x 10, not one more
    assert len(cut_hypothesis("a b c", "x " * 99).split()) == 4  # ceil(3.6)


def test_accuracy_is_exact_match_after_normalisation(make_question):
    assert is_correct("Two.", " two") and not is_correct("two", "two three")
    rate = accuracy([make_question(f"s{i}", right=i < 30) for i in range(40)])
    assert (rate.value, rate.errors, rate.items) == (0.75, 10, 40)
    assert 0.55 < rate.low < 0.75 < rate.high < 0.95


def test_interval_is_seeded_and_shrinks_with_more_sessions(make_question):
    few, many = ([make_question(f"s{i}", right=i % 4 > 0) for i in range(n)] for n in (40, 400))
    assert accuracy(few) == accuracy(few)
    width = accuracy(few).high - accuracy(few).low
    assert accuracy(many).high - accuracy(many).low < width / 2
    # The textbook's interval of a share of 3/4 over 400 answers.
    assert accuracy(many).high - accuracy(many).low == pytest.approx(2 * 1.96 * math.sqrt(0.75 * 0.25 / 400), rel=0.15)


def test_answers_about_one_session_are_drawn_together(make_question):
    apart = [make_question(f"s{i}", right=i % 20 < 10) for i in range(80)]
    together = [make_question(f"s{i // 10}", right=i % 20 < 10) for i in range(80)]  # sessions all right or all wrong
    assert accuracy(apart).value == accuracy(together).value == 0.5
    assert accuracy(together).high - accuracy(together).low > 2 * (accuracy(apart).high - accuracy(apart).low)


def test_too_little_for_an_interval_or_a_rate(make_record):
    one = error_rate([make_record()])
    assert one.value == 0.25 and math.isnan(one.low) and math.isnan(one.high)
    assert math.isnan(error_rate([]).value) and error_rate([]).items == 0
    assert math.isnan(accuracy([]).value)
    assert math.isnan(error_rate([make_record("a", reference=""), make_record("b", reference="")]).value)


def test_summary_by_ratio_task_and_kind(make_record, make_question):
    records = [
        make_record(ratio=8),
        make_record(ratio=2),
        make_question(ratio=2, kind="count"),
        make_question(ratio=2, kind="who", right=False),
        make_record(ratio=2, task="caption"),
    ]
    summary = summarise(records)
    assert list(summary) == [2, 8]
    assert set(summary[8]) == {"wer", "wer_cut", "cer"}
    assert set(summary[2]) == {"wer", "wer_cut", "cer", "qa", "qa/count", "qa/who"}
    assert (summary[2]["qa"].value, summary[2]["qa/count"].value, summary[2]["qa/who"].value) == (0.5, 1.0, 0.0)


def answers(*said: str, reference: str = "one two three") -> list[Prediction]:
    return [make_prediction(f"s{n}", 2, reference=reference, hypothesis=text) for n, text in enumerate(said)]


def test_a_paired_difference_is_sure_of_what_holds_in_every_session():
    better, worse = answers(*["one two three", "six six three"] * 3), answers(*["one two six", "six six six"] * 3)
    assert cut_error_rate(worse).low < cut_error_rate(better).high
    assert cut_error_difference(worse, better) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_seeds_of_a_session_are_drawn_together():
    mine, theirs = answers("one two three", "six six six"), answers("one six three", "one six three")
    assert cut_error_difference(mine * 2, theirs * 2) == cut_error_difference(mine, theirs)


def test_a_paired_difference_is_that_of_the_two_rates():
    mine, theirs = (
        answers("one two three", "six six six", "one two six"),
        answers("one", "one two three", "six two six"),
    )
    difference, low, high = cut_error_difference(mine, theirs)
    assert difference == pytest.approx(cut_error_rate(mine).value - cut_error_rate(theirs).value)
    assert low < difference < high


def test_a_paired_difference_of_answers_counts_those_right():
    mine = answers("one", "two", "one", "three", reference="one")
    theirs = answers("one", "two", "one", "one", reference="one")
    more, low, high = accuracy_difference(theirs, mine)
    assert more == accuracy(theirs).value - accuracy(mine).value == 0.25
    assert low == 0.0 and high > 0.25
    assert accuracy_difference(mine, mine) == (0.0, 0.0, 0.0)


def test_a_paired_difference_needs_the_same_sessions():
    with pytest.raises(ValueError, match="same sessions"):
        cut_error_difference(answers("one", "two"), answers("one"))


def test_errors_are_told_by_where_in_the_session_they_are():
    said = "[0] one two [58] three [61.5] four [130] five"
    heard = {
        "a": "[0] one two [61] three four [130] five",  # a window too late: missing in one, too many in the next
        "b": "one six [58.5] three [61.5] four [70] ten",
    }
    records = [make_prediction(cut, 4, reference=said, hypothesis=text) for cut, text in heard.items()]
    records.append(make_prediction("c", 4, reference="no marks", hypothesis="[7] none"))
    rates = error_rate_by_time(records)
    assert {window: (rate.errors, rate.words, rate.items) for window, rate in rates.items()} == {
        0: (2, 6, 2),
        1: (2, 2, 2),
        2: (1, 2, 2),
    }
    assert list(error_rate_by_time(records, seconds=200.0)) == [0]
    assert error_rate_by_time(records, seconds=200.0)[0].errors == sum(
        wer_counts(said, text)[0] for text in heard.values()
    )
    assert error_rate_by_time(records[2:]) == {}
