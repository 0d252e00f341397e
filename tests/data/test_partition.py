"""Partitions: intervals cover a session exactly, whatever its length and pauses."""

import pytest
from lhotse.cut import MixedCut
from lhotse.testing.dummies import dummy_cut, dummy_supervision

from speech_xl import SHORTEST_SECONDS
from speech_xl.data.partition import FixedWindows, PauseWindows


def cut_of(seconds, *utterances):
    """A cut with supervisions given as (start, end)."""
    supervisions = [dummy_supervision(i, start=a, duration=b - a) for i, (a, b) in enumerate(utterances)]
    return dummy_cut(0, duration=seconds, supervisions=supervisions)


@pytest.mark.parametrize(
    ("seconds", "window", "ends"),
    [
        (10.0, 4.0, [4.0, 8.0, 10.0]),
        (8.0, 4.0, [4.0, 8.0]),
        (3.0, 4.0, [3.0]),  # an interval longer than the audio
        (4.0, 4.0, [4.0]),
        (8.05, 4.0, [4.0, 8.05]),  # what is left is too short to be an interval
        (0.05, 4.0, [0.05]),
        (1.0, 0.1, [pytest.approx(0.1 * i) for i in range(1, 11)]),
    ],
)
def test_fixed_windows(seconds, window, ends):
    assert FixedWindows(window)(cut_of(seconds)) == ends


def test_fixed_windows_are_lhotses():
    cut = cut_of(10.0, (0.5, 3.0), (4.0, 9.0))
    theirs = [window.end for window in cut.cut_into_windows(3.0)]
    assert FixedWindows(3.0)(cut) == pytest.approx(theirs)


def test_fixed_windows_count_from_the_start_of_the_cut():
    cut = cut_of(10.0).truncate(offset=5.0, duration=5.0)
    assert FixedWindows(4.0)(cut) == [4.0, 5.0]


def test_fixed_windows_of_a_mixed_cut():
    mixed = cut_of(3.0).append(cut_of(4.0))
    assert isinstance(mixed, MixedCut)
    assert FixedWindows(4.0)(mixed) == [4.0, 7.0]


def test_pause_windows_pack_utterances():
    cut = cut_of(10.0, (0.5, 2.0), (2.5, 3.8), (4.5, 6.0), (6.5, 9.5))
    # 3.8 is the last end within 4 s; from there 6.0 is (9.5 is not); from there 9.5 is and 10.0 with it
    assert PauseWindows(4.0)(cut) == [3.8, 6.0, 10.0]


def test_pause_windows_split_an_utterance_that_is_too_long():
    cut = cut_of(12.0, (0.0, 2.0), (2.5, 11.0))
    # 2.0, then windows of 4 s over the long one: 6.0, 10.0; its rest is packed with the silence after it
    assert PauseWindows(4.0)(cut) == [2.0, 6.0, 10.0, 12.0]


def test_pause_windows_without_supervisions_are_fixed_windows():
    assert PauseWindows(4.0)(cut_of(10.0)) == [4.0, 8.0, 10.0]


def test_pause_windows_longer_than_the_audio():
    assert PauseWindows(60.0)(cut_of(10.0, (0.0, 5.0), (5.0, 10.0))) == [10.0]


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.7, 7.0])
@pytest.mark.parametrize("partition", [FixedWindows, PauseWindows])
def test_intervals_cover_the_cut(partition, seconds):
    cut = cut_of(20.0, *[(i * 0.7, i * 0.7 + 0.5) for i in range(20)], (14.5, 19.97))
    ends = partition(seconds)(cut)
    lengths = [b - a for a, b in zip([0.0, *ends], ends, strict=False)]
    assert ends[-1] == cut.duration
    assert min(lengths) >= SHORTEST_SECONDS - 1e-9
    assert max(lengths) <= seconds + SHORTEST_SECONDS


@pytest.mark.parametrize("seconds", [0, -1.0, 0.01, float("nan"), float("inf"), "4", None, True])
def test_refuses_windows_of_no_length(seconds):
    with pytest.raises(ValueError, match=r"partition\.seconds: got .*; give a number from 0\.1 upwards"):
        FixedWindows(seconds)
    with pytest.raises(ValueError, match=r"partition\.max_seconds: got .*; give a number from 0\.1 upwards"):
        PauseWindows(seconds)
