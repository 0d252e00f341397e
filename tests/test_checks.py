"""Values out of range are refused with key, value and mend."""

import math

import pytest

from speech_xl.checks import number, whole


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0, -1.0, "1", None, True, [1]])
def test_a_number_above_0(value):
    with pytest.raises(ValueError, match=r"data\.seconds: got .*; give a number of seconds above 0"):
        number("data.seconds", value, above=0, unit="seconds")


@pytest.mark.parametrize("value", [-1, 1.0, "3", None, True, math.nan])
def test_a_whole_number(value):
    with pytest.raises(ValueError, match=r"steps: got .*; give a whole number from 0 upwards"):
        whole("steps", value)


def test_what_fits_is_returned():
    assert number("x", 0.5, least=0, below=1) == 0.5
    assert number("x", 3) == 3
    assert whole("x", 2, least=1, most=2) == 2


def test_both_bounds_are_said():
    with pytest.raises(ValueError, match="x: got 1; give a number from 0 to below 1"):
        number("x", 1, least=0, below=1)
    with pytest.raises(ValueError, match="x: got 3; give a whole number from 1 to 2"):
        whole("x", 3, least=1, most=2)
