"""Windows: a transcript asked for stretch by stretch, all stretches side by side, in place of one long answer."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from speech_xl.checks import number

Span = tuple[float, float]
"""First second of a window, and the second at which it is over."""

TICK = 1e-6  # of a step: seconds that are its multiple but for rounding belong to it


@dataclass(frozen=True)
class Windows:
    """How transcripts are asked for in windows: "until [32] from [16]", one memory answering about all of them at once.

    A window's answer holds what begins to be spoken in it, so that every word is in one window. Answers stay short
    however long the audio is: a decoder can't lose its place for longer than a window, and all are decoded as a batch.

    Args:
        seconds: length of a window in evaluation and in use.
        shortest: shortest length in training, where each sample draws its own. Null: `seconds`.
        longest: longest length in training. Null: `seconds`.
        share: of the training transcripts, how many are asked in windows; the others are one answer each.
        context: seconds of audio before and after a window that its answer sees too, in whole intervals: an utterance
            may begin before the window, or end behind it. It sees what is kept of these intervals alone: it can't look
            elsewhere, and costs the same in an hour as in a minute. Null: it sees all of the memory.
    """

    seconds: float = 16.0
    shortest: float | None = None
    longest: float | None = None
    share: float = 1.0
    context: float | None = 8.0

    def __post_init__(self) -> None:
        number("windows.seconds", self.seconds, above=0, unit="seconds")
        number("windows.shortest", self.bounds[0], above=0, unit="seconds")
        number("windows.longest (not below shortest)", self.bounds[1], least=self.bounds[0], unit="seconds")
        number("windows.share", self.share, least=0, most=1)
        if self.context is not None:
            number("windows.context", self.context, least=0, unit="seconds")

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
        first, last = (span[0] - self.context) * rate + TICK, (span[1] + self.context) * rate - TICK
        # An interval is seen where a part of it lies between: its end behind the first frame, its begin before the last
        return min(bisect_right(ends, first), len(ends) - 1), min(bisect_left(ends, last), len(ends) - 1)

    def spans(self, start: float, end: float, step: float) -> list[Span]:
        """Windows of `seconds` over audio from second `start` to `end`, at multiples of `step`."""
        return spans(start, end, self.seconds, step)

    def drawn(self, start: float, end: float, step: float, rng: random.Random) -> list[Span]:
        """Windows for a training sample, their length and first border drawn; none where it is asked whole."""
        if rng.random() >= self.share:
            return []
        length = rng.uniform(*self.bounds)
        return spans(start, end, length, step, first=length * (1.0 - rng.random()))


def spans(start: float, end: float, seconds: float, step: float, first: float | None = None) -> list[Span]:
    """Windows from `start` to `end`: the first is `first` long, the others `seconds`, the last what is left.

    All borders are multiples of `step`, in which transcripts say times; the first lies at or before `start`, the last
    at or behind `end`. Every window holds one step at least.
    """

    def steps(time: float) -> int:
        return max(1, round(time / step))

    begin, stop = math.floor(start / step + TICK), math.ceil(end / step - TICK)
    borders = [begin]
    reach = begin + steps(seconds if first is None else first)
    while reach < stop:
        borders.append(reach)
        reach += steps(seconds)
    borders.append(max(stop, begin + 1))
    return [(a * step, b * step) for a, b in zip(borders, borders[1:], strict=False)]
