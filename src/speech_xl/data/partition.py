"""Partitions: where a session's audio is cut into the intervals that are compressed one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from lhotse import CutSet
from lhotse.cut import Cut, PaddingCut

from speech_xl import SHORTEST_SECONDS
from speech_xl.checks import number


class Partition(ABC):
    """Says where the intervals of a cut end. Any boundaries will do: subclass it and name the class in the config."""

    @abstractmethod
    def __call__(self, cut: Cut) -> list[float]:
        """Interval end times in seconds from the cut's start, increasing; the last one is `cut.duration`."""

    def keep_in(self, cache_dir: str) -> None:  # noqa: B027  (most have nothing to keep)
        """Keep below this folder what it takes long to find; by default there is nothing to keep."""


class FixedWindows(Partition):
    """Intervals of equal length, from lhotse's windows; the last one is what is left.

    Args:
        seconds: length of an interval; longer than the audio makes one interval of all of it.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = float(number("partition.seconds", seconds, least=SHORTEST_SECONDS))

    def __call__(self, cut: Cut) -> list[float]:
        return window_ends(0.0, cut.duration, self.seconds, cut.sampling_rate)


class PauseWindows(Partition):
    """Intervals that end where an utterance ends, each packed with as many utterances as fit.

    An utterance longer than `max_seconds` is split by fixed windows, the last of which may be packed on.

    Args:
        max_seconds: the longest interval.
    """

    def __init__(self, max_seconds: float) -> None:
        self.max_seconds = float(number("partition.max_seconds", max_seconds, least=SHORTEST_SECONDS))

    def __call__(self, cut: Cut) -> list[float]:
        return packed_ends((s.end for s in cut.supervisions), cut, self.max_seconds)


def packed_ends(
    pauses: Iterable[float], cut: Cut, max_seconds: float, min_seconds: float = SHORTEST_SECONDS
) -> list[float]:
    """Ends of intervals in seconds from the cut's start, each at the last pause that `max_seconds` reach.

    Where a pause comes only later, or within `min_seconds`, fixed windows take its place. The last interval is what is
    left. pauses: seconds from the cut's start, in any order; those outside it don't count.
    """
    inside = {pause for pause in pauses if 0 < pause <= cut.duration - SHORTEST_SECONDS}
    ordered = sorted(inside) + [cut.duration]
    ends: list[float] = []
    start = 0.0
    for position, pause in enumerate(ordered):
        if pause - start > max_seconds:  # reaches over the limit even when it begins right at `start`
            ends += window_ends(start, pause, max_seconds, cut.sampling_rate)[:-1]
            start = ends[-1] if ends else start
        following = ordered[position + 1] if position + 1 < len(ordered) else None
        if following is None or (following - start > max_seconds and pause - start >= min_seconds):
            ends.append(pause)
            start = pause
    return ends


def window_ends(start: float, end: float, seconds: float, sampling_rate: int) -> list[float]:
    """Ends of lhotse's windows of `seconds` over the stretch from `start` to `end`, in seconds; the last is `end`.

    Windows depend on durations only, so they are taken over a silent stand-in: cutting a session of many tracks or
    supervisions itself would copy those for nothing.
    """
    duration = end - start
    samples = round(duration * sampling_rate)
    silence = PaddingCut("silence", duration=duration, sampling_rate=sampling_rate, feat_value=0.0, num_samples=samples)
    windows = list(CutSet.from_cuts([silence]).cut_into_windows(seconds))
    ends = [start + seconds * (index + 1) for index in range(len(windows) - 1)]
    if ends and end - ends[-1] < SHORTEST_SECONDS - 1e-6:  # a whole window of that length may fall short by rounding
        ends.pop()
    return ends + [end]
