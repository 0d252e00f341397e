"""AudioMarathon's figures: hand-computed, as published and strictly, with what is dropped and what is unparsed."""

import math
import random

import numpy as np
import pytest

from speech_xl.evaluation.benchmarks.audiomarathon.closed_sets import strict_closed
from speech_xl.evaluation.benchmarks.audiomarathon.f1 import f1_score, sklearn_f1, weighted_f1
from speech_xl.evaluation.benchmarks.audiomarathon.scenes import is_mislabelled
from speech_xl.evaluation.benchmarks.registry import find_benchmark
from tests.evaluation.benchmarks.audiomarathon_answers import CHOICES, answer, answers

BENCHMARK = find_benchmark("audiomarathon")
YOUNG, EARLY, MID, SENIOR, ELDERLY = CHOICES["SAR"]
MIXED = [("A", "A"), ("B", "B"), ("C", "B"), ("A", "hmm")]  # right, right, wrong, no choice


def scores(profile, task, predictions):
    return BENCHMARK.profile(profile).tasks[task].score(predictions, {})


def figures(profile, task, predictions):
    """The main figure, the accuracy, how many are left out of the main figure, how many are unparsed."""
    main, accuracy = scores(profile, task, predictions)
    assert main.main and not accuracy.main and accuracy.metric == "accuracy, %"
    return pytest.approx(main.value), pytest.approx(accuracy.value), main.left_out, main.unparsed


HALF_DROPPED = [("A", "A"), ("B", "B"), ("C", "D")]  # D is no truth here
AGES = [(YOUNG, "a"), (SENIOR, "c")]
GENDERS = [("Male", "a"), ("Male", "a"), ("Male", "b"), ("Female", "b")]
CASES = [  # task, (truth, reply) pairs, official (F1, accuracy, left out, unparsed), strict the same
    # A: F1 1; B: 2/3; C: 0; D is nowhere. Strictly the unparsed answer is a miss of A: 2/3.
    ("SCR", MIXED, ((1 + 2 / 3) / 4, 2 / 4, 1, 1), ((2 / 3 + 2 / 3) / 4, 2 / 4, 0, 1)),
    ("MC", MIXED, ((1 + 2 / 3) / 4, 2 / 4, 1, 1), ((2 / 3 + 2 / 3) / 4, 2 / 4, 0, 1)),
    ("SER", MIXED, ((1 + 2 / 3) / 3, 2 / 4, 1, 1), ((2 / 3 + 2 / 3) / 4, 2 / 4, 0, 1)),
    ("SED", MIXED, ((1 + 2 / 3) / 3, 2 / 4, 1, 1), ((2 / 3 + 2 / 3) / 4, 2 / 4, 0, 1)),
    ("ASC", MIXED, ((1 + 2 / 3) / 3, 2 / 4, 1, 1), ((2 / 3 + 2 / 3) / 4, 2 / 4, 0, 1)),
    ("ER", MIXED, ((1 + 2 / 3) / 3, 2 / 4, 1, 1), ((2 / 3 + 2 / 3) / 4, 2 / 4, 0, 1)),
    # ASC and ER keep letters that are a truth somewhere: D is dropped though it was parsed.
    ("ASC", HALF_DROPPED, (1.0, 2 / 3, 1, 0), (2 / 4, 2 / 3, 0, 0)),
    ("ER", HALF_DROPPED, (1.0, 2 / 3, 1, 0), (2 / 4, 2 / 3, 0, 0)),
    ("SED", HALF_DROPPED, (2 / 4, 2 / 3, 0, 0), (2 / 4, 2 / 3, 0, 0)),
    # One constant answer on a balanced set: 33.3, as many rows of the leaderboard have it.
    ("SD", [("real", "a"), ("real", "a"), ("fake", "a"), ("fake", "a")], (1 / 3, 1 / 2, 0, 0), (1 / 3, 1 / 2, 0, 0)),
    ("SD", [("real", "a"), ("fake", "This is a fake")], (1 / 3, 1 / 2, 0, 0), (1.0, 1.0, 0, 0)),
    ("SD", [("real", "real"), ("fake", "hm")], (1.0, 1 / 2, 1, 1), (1 / 2, 1 / 2, 0, 1)),
    # SAR averages over the ages that are a truth: c is none, and dropped. Strictly over all five.
    ("SAR", AGES, (1 / 2, 1 / 2, 1, 0), (1 / 5, 1 / 2, 0, 0)),
    ("SAR", [(SENIOR, "It is a senior"), (YOUNG, YOUNG)], ((2 / 3 + 0) / 2, 1 / 2, 0, 0), (2 / 5, 1.0, 0, 0)),
    ("SAR", [(EARLY, "Early Career"), (ELDERLY, "e")], ((0 + 1) / 2, 1 / 2, 1, 1), (2 / 5, 1.0, 0, 0)),
    # SGR is weighted: male 4/5 for three, female 2/3 for one. Strictly their mean.
    ("SGR", GENDERS, (3 / 4 * 4 / 5 + 1 / 4 * 2 / 3, 3 / 4, 0, 0), ((4 / 5 + 2 / 3) / 2, 3 / 4, 0, 0)),
    ("SGR", [("Male", "a"), ("Female", "The answer is b")], (1.0, 1 / 2, 1, 1), (1.0, 1.0, 0, 0)),
    # A model that rarely answers: dropped, or A missed nine times of ten: 2/11.
    ("SER", [("A", "A"), *[("A", "hmm")] * 9], (1.0, 1 / 10, 9, 9), (2 / 11 / 4, 1 / 10, 0, 9)),
    ("SCR", [("A", "A"), *[("A", "hmm")] * 9], (1 / 4, 1 / 10, 9, 9), (2 / 11 / 4, 1 / 10, 0, 9)),
    ("SED", [("A", "hmm"), ("B", "hmm")], (0.0, 0.0, 2, 2), (0.0, 0.0, 0, 2)),
    ("SER", [("A", ""), ("B", "B")], (1.0, 1.0, 0, 0), (1 / 4, 1 / 2, 0, 1)),  # "" is A to the script
    # To the script A and D, over A, B and D; strictly B both times, over all four.
    ("SED", [("A", "I hear a dog"), ("B", "dog")], (1 / 3, 1 / 2, 0, 0), (2 / 3 / 4, 1 / 2, 0, 0)),
    ("SCR", [("B", "The answer is B"), ("C", "Based on it, C")], (0.0, 0.0, 0, 0), (2 / 4, 1.0, 0, 0)),
    ("MC", [("B", "Rock"), ("A", "Jazz")], (1 / 4, 1 / 2, 0, 0), (2 / 4, 1.0, 0, 0)),
    ("ER", [("C", "Angry"), ("D", "The answer is D")], (0.0, 0.0, 2, 2), (2 / 4, 1.0, 0, 0)),
    ("ASC", [("B", "The answer is B"), ("C", "park")], (0.0, 0.0, 2, 2), (2 / 4, 1.0, 0, 0)),
]


@pytest.mark.parametrize(("task", "pairs", "official", "strict"), CASES)
def test_figures_of_closed_sets(task, pairs, official, strict):
    for profile, (f1, accuracy, left_out, unparsed) in (("official", official), ("strict", strict)):
        found = figures(profile, task, answers(task, *pairs))
        assert found == (100 * f1, 100 * accuracy, left_out, unparsed), profile


def test_turned_choices_of_sgr_are_read_by_the_row_and_strictly_by_the_prompt():
    turned = [answer("SGR", 0, "Female", "b", choices=("Female", "Male"))]  # the prompt says that b is female
    assert figures("official", "SGR", turned)[1] == 0.0
    assert figures("strict", "SGR", turned)[1] == 100.0


def test_failed_answers_leave_the_accuracy_of_scr_and_count_as_wrong_elsewhere():
    for task, accuracy in (("SCR", 100.0), ("SED", 50.0)):
        some = [answer(task, 0, "A", "A"), answer(task, 1, "A", "", failed="no memory")]
        main, share = scores("official", task, some)
        assert (main.items, main.left_out, main.unparsed) == (1, 1, 0)
        assert share.value == accuracy and share.items == round(100 / accuracy)
        main, share = scores("strict", task, some)
        assert (main.items, main.left_out, main.unparsed) == (2, 0, 0) and share.value == 50.0
        assert "failed answers (1)" in main.note
        assert main.value == pytest.approx(100 * (2 / 3) / 4)


@pytest.mark.parametrize("profile", ["official", "strict"])
@pytest.mark.parametrize("task", BENCHMARK.tasks)
def test_without_answers_there_is_no_figure(profile, task):
    main, other = scores(profile, task, [])
    assert main.main and math.isnan(main.value) and math.isnan(other.value) and main.items == 0


def test_time_marks_are_no_part_of_a_reply():
    some = [answer("SED", 0, "B", "[3] B", timestamps=1.0), answer("SED", 1, "C", "dog", timestamps=1.0)]
    assert figures("official", "SED", some)[1] == 50.0
    assert figures("strict", "SED", [answer("SED", 0, "B", "[0] Dog [4]", timestamps=0.2)])[1] == 100.0


def test_a_wrong_row_is_named():
    with pytest.raises(ValueError, match="item SED/0: its answer 'E' is none of its choices"):
        scores("strict", "SED", answers("SED", ("E", "A")))
    bare = answer("SED", 7, "A", "A")
    bare.item["choices"] = {}
    with pytest.raises(ValueError, match="item SED/7: has no choices"):
        scores("strict", "SED", [bare])


def test_any_number_of_choices_is_scored_strictly():
    three = answer("SER", 0, "B", "two", choices=("one", "two", "three"))
    five = answer("SER", 1, "E", "five", choices=("one", "two", "three", "four", "five"))
    missed = answer("SER", 2, "E", "C", choices=("one", "two", "three", "four", "five"))
    main, accuracy = strict_closed("labels").score([three, five, missed], {})
    assert accuracy.value == pytest.approx(200 / 3)
    assert main.value == pytest.approx(100 * (1 + 2 / 3) / 5)  # B, E of five classes
    main, _ = strict_closed("texts").score([three, five, missed], {})
    assert main.value == pytest.approx(100 * (1 + 2 / 3) / 5) and "five, four, one, three, two" in main.note


@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize("classes", [None, ("A", "B", "C", "D"), ("A", "C")])
def test_confusion_counts_give_what_sklearn_gives_of_repeated_items(average, classes):
    rng = random.Random(5)
    truths = [rng.choice("ABC") for _ in range(30)]
    guesses = [rng.choice(["A", "B", "C", "D", ""]) for _ in range(30)]
    weights = np.array([[rng.choice([0, 0, 1, 2]) for _ in truths] for _ in range(20)], float)
    for draw, value in zip(weights, weighted_f1(weights, truths, guesses, average, classes), strict=True):
        again = [(t, g) for t, g, times in zip(truths, guesses, draw, strict=True) for _ in range(int(times))]
        wanted = sklearn_f1([t for t, _ in again], [g for _, g in again], average, classes)
        assert value == pytest.approx(wanted, abs=1e-12)
    assert weighted_f1(np.zeros((1, 30)), truths, guesses, average, None)[0] == 0.0


def test_an_interval_is_over_sessions():
    rng = random.Random(1)
    some = [answer("SED", number, "A", rng.choice("AB"), cut=f"s{number // 4}") for number in range(80)]
    truths, guesses = ["A"] * 80, [one.hypothesis for one in some]
    apart = [answer("SED", number, "A", guess) for number, guess in enumerate(guesses)]
    together, each = (f1_score("F1", group, truths, guesses, "macro", ("A", "B")) for group in (some, apart))
    assert together.low < together.value < together.high and together.value == each.value
    assert (together.low, together.high) != (each.low, each.high)
    assert math.isnan(f1_score("F1", some[:4], truths[:4], guesses[:4], "macro").low)  # one session


def test_constant_answers_of_closed_sets():
    for profile in ("official", "strict"):
        tasks = BENCHMARK.profile(profile).tasks
        assert tasks["SED"].constants(answers("SED", ("B", ""), ("B", ""), ("C", ""))) == ["B", "C", "A", "D"]
        assert tasks["SD"].constants(answers("SD", ("fake", ""))) == ["fake", "a", "b"]
        assert tasks["SAR"].constants(answers("SAR", (MID, "")))[0] == MID
        assert tasks["ASR"].constants is None
        for task in set(tasks) - {"ASR"}:
            some = answers(task, (TRUTHS[task], ""), (TRUTHS[task], ""))
            values = [
                figures(profile, task, answers(task, (TRUTHS[task], reply)))[1] for reply in tasks[task].constants(some)
            ]
            assert max(value.expected for value in values) == 100.0


TRUTHS = {"SD": "fake", "SAR": MID, "SGR": "Female"} | dict.fromkeys(("SER", "SCR", "SED", "MC", "ASC", "ER"), "D")


def test_rows_with_another_scene_than_their_file_are_counted():
    def row(number, label, path):
        return answer("ASC", number, "A", "a", about={"scene_label": label, "path": path})

    wrong = row(0, "metro", "metro/metro_station-oslo-3.wav")
    right = [row(1, "metro", "metro/metro_oslo-1.wav"), row(2, "metro_station", "metro_station-lyon-1.wav")]
    assert [is_mislabelled(one) for one in (wrong, *right, answer("ASC", 3, "A", "a"))] == [True, False, False, False]
    for profile in ("official", "strict"):
        assert "1 rows have another scene_label" in scores(profile, "ASC", [wrong, *right])[0].note
        assert "scene_label" not in scores(profile, "ASC", right)[0].note


def test_published_figures_stand_beside_with_their_source():
    published = {(one.source, one.system, one.task): one for one in BENCHMARK.published}
    readme, board = "AudioMarathon repository's README and results table", "third-party leaderboard"
    assert published[readme, "Qwen2.5-Omni-7B", "SER"].value == 26.3
    assert "mixes weighted F1, macro F1 and accuracy" in published[readme, "Qwen2.5-Omni-7B", "SER"].note
    assert published[readme, "Audio-Flamingo-3", "average"].value == 63.0
    assert published[board, "Audio-Flamingo-3", "average"].value == 60.6
    assert ("human", "Human", "ASR") not in published and published["human", "Human", "average"].value == 87.6
    systems = {one.system for one in BENCHMARK.published if one.source == readme}
    assert len(systems) == 16
    for system in systems:  # the average is the plain mean of the ten
        mean = sum(published[readme, system, task].value for task in BENCHMARK.tasks) / 10
        assert published[readme, system, "average"].value == pytest.approx(mean, abs=0.051), system
