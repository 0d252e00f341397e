"""Time marks: the step a moment lies in, written alike everywhere, and out of the words again."""

import pytest

from speech_xl.extensions.timestamps.marks import decimals, has_time_marks, time_mark, timed_parts, without_time_marks


@pytest.mark.parametrize(
    ("seconds", "step", "mark"),
    [
        (12.7, 1.0, "[12]"),
        (-0.1, 1.0, "[0]"),
        (12.7, 0.2, "[12.6]"),
        (12.0, 0.2, "[12.0]"),
        (0.6, 0.2, "[0.6]"),  # 0.6 / 0.2 is 2.9999999999999996
        (3.74, 0.25, "[3.50]"),
        (7.9, 2.0, "[6]"),
    ],
)
def test_a_mark_is_the_step_that_a_moment_lies_in(seconds, step, mark):
    assert time_mark(seconds, step) == mark


def test_every_step_has_a_mark_of_its_own():
    for step in (0.08, 0.1, 0.2, 0.25, 0.5, 1.0, 5.0):
        assert len({time_mark(n * step, step) for n in range(1000)}) == 1000
    assert [decimals(step) for step in (2.0, 1.0, 0.5, 0.25, 0.2, 0.08)] == [0, 0, 1, 2, 1, 2]


def test_words_are_what_is_left():
    assert without_time_marks("[0.0] one [0.4] two[1] three [x] [12.5]") == "one two three [x]"


def test_words_are_told_by_the_mark_before_them():
    assert timed_parts("[0.0] one [0.4] two[12] three [x]") == [(0.0, "one"), (0.4, "two"), (12.0, "three [x]")]
    assert timed_parts("one two [3] three") == [(0.0, "one two"), (3.0, "three")]
    assert timed_parts("one two") == [(0.0, "one two")] and timed_parts("") == []
    assert has_time_marks("one[3]") and not has_time_marks("one [x]")
