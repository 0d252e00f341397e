"""Windows: a transcript asked for stretch by stretch, all stretches side by side, in place of one long answer."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from lightning.pytorch.utilities import rank_zero_warn

from speech_xl import SHORTEST_SECONDS
from speech_xl.checks import number
from speech_xl.data.partition import FixedWindows, Partition

Span = tuple[float, float]
"""First second of a window, and the second at which it is over."""

TICK = 1e-6  # of a step: seconds that are its multiple but for rounding belong to it


@dataclass(frozen=True)
class Windows:
    """How transcripts are asked for in windows: "until [32] from [16]", one memory answering about all of them at once.

    A window's answer holds what begins to be spoken in it, so that every word is in one window. It sees what is kept of
    its own intervals and some behind them, and nothing else: it begins where what it sees begins, can't look elsewhere,
    and costs the same in an hour as in a minute. All windows are decoded as a batch.

    Args:
        seconds: length of a window in evaluation and in use.
        shortest: shortest length in training, where each sample draws its own. Null: `seconds`.
        longest: longest length in training. Null: `seconds`.
        share: of the training transcripts, how many are asked in windows; the others are one answer each.
        context: seconds of audio behind a window that its answer sees too, in whole intervals: what begins in the
            window is heard to its end. Null: it sees all of the memory.
        multiple_of: borders, and so all lengths, are multiples of so many seconds. Set it to the length of
            `data.partition`'s intervals, and windows begin where an interval does.
    """

    seconds: float = 16.0
    shortest: float | None = None
    longest: float | None = None
    share: float = 1.0
    context: float | None = 8.0
    multiple_of: float = 4.0

    def __post_init__(self) -> None:
        number("windows.seconds", self.seconds, above=0, unit="seconds")
        number("windows.shortest", self.bounds[0], above=0, unit="seconds")
        number("windows.longest (not below shortest)", self.bounds[1], least=self.bounds[0], unit="seconds")
        number("windows.share", self.share, least=0, most=1)
        if self.context is not None:
            number("windows.context", self.context, least=0, unit="seconds")
        number("windows.multiple_of", self.multiple_of, above=0, unit="seconds")
        for key, seconds in (("seconds", self.seconds), ("shortest", self.shortest), ("longest", self.longest)):
            if seconds is not None and not is_multiple(seconds, self.multiple_of):
                raise ValueError(
                    f"windows.{key}: got {seconds:g}, which is no multiple of windows.multiple_of "
                    f"({self.multiple_of:g} s); give a multiple"
                )

    @property
    def bounds(self) -> tuple[float, float]:
        """Shortest and longest window in training, in seconds."""
        return tuple(self.seconds if one is None else one for one in (self.shortest, self.longest))  # type: ignore[return-value]

    def view(self, span: Span, intervals: Sequence[int], rate: float) -> tuple[int, int] | None:
        """First and last interval that the answer about a span sees, of intervals of so many frames, `rate` a second;
        None: all.

        span: seconds from the begin of the audio.
        """
        if self.context is None:
            return None
        ends = list(accumulate(intervals))
        first, last = round(span[0] * rate), round((span[1] + self.context) * rate)  # as intervals are rounded
        # An interval is seen where a part of it lies between: its end behind the first frame, its begin before the last
        return min(bisect_right(ends, first), len(ends) - 1), min(bisect_left(ends, last), len(ends) - 1)

    def spans(self, start: float, end: float, step: float) -> list[Span]:
        """Windows of `seconds` over audio from second `start` to `end`, their borders multiples of `step`."""
        each = self._multiples(self.seconds)
        return spans(start, end, step, self.multiple_of, each, each)

    def drawn(self, start: float, end: float, step: float, rng: random.Random) -> list[Span]:
        """Windows for a training sample, their length and first border drawn; none where it is asked whole."""
        if rng.random() >= self.share:
            return []
        each = rng.randint(*(self._multiples(seconds) for seconds in self.bounds))
        return spans(start, end, step, self.multiple_of, rng.randint(1, each), each)

    def _multiples(self, seconds: float) -> int:
        return round(seconds / self.multiple_of)


def is_multiple(seconds: float, of: float) -> bool:
    """Whether one length is a whole number of times another, but for rounding."""
    return seconds >= of * (1 - TICK) and math.isclose(seconds, round(seconds / of) * of, rel_tol=TICK)


def check_borders(windows: Windows | None, partition: Partition, step: float) -> None:
    """Raises ValueError where windows would begin between timestamps, or amid intervals of equal length: what lies
    before them there would be seen. Warns of a partition whose intervals have no such length.

    step: seconds from timestamp to timestamp.
    """
    if windows is None:
        return
    if not is_multiple(windows.multiple_of, step):
        raise ValueError(
            f"windows.multiple_of: got {windows.multiple_of:g}, which is no multiple of the {step:g} s from one "
            "timestamp to the next; give a multiple"
        )
    if windows.context is None:
        return
    if not isinstance(partition, FixedWindows):
        rank_zero_warn(
            f"windows begin at multiples of {windows.multiple_of:g} s, and intervals of {type(partition).__name__} "
            "elsewhere: a window sees what its first interval has before it, and its answer may begin there"
        )
    elif not is_multiple(windows.multiple_of, partition.seconds):
        raise ValueError(
            f"windows.multiple_of: got {windows.multiple_of:g}, which is no multiple of the {partition.seconds:g} s of "
            "data.partition's intervals; give a multiple, so that windows begin where an interval does"
        )


def spans(start: float, end: float, step: float, unit: float, first: int, each: int) -> list[Span]:
    """Windows from `start` to `end`: the first is `first` units of so many seconds long, the others `each`, and the
    last what is left.

    Borders are rounded up to multiples of `step`, in which transcripts say times; the first lies at or before `start`,
    the last at or behind `end`. Every window holds one step at least, and no rest too short to be an interval.
    """
    begin, stop = math.floor(start / step + TICK), math.ceil(end / step - TICK)
    borders, units = [begin], first
    while (border := math.ceil((start + units * unit) / step - TICK)) < stop:
        if border > borders[-1] and end - border * step >= SHORTEST_SECONDS:
            borders.append(border)
        units += each
    borders.append(max(stop, begin + 1))
    return [(a * step, b * step) for a, b in zip(borders, borders[1:], strict=False)]
