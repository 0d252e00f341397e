"""Where a stream's intervals end and which ratio each has, in seconds of the audio, whenever its frames come.

A request (an end, a new ratio) belongs to a second of the audio, not to the moment at which the encoder gets that far:
whatever a stream holds back, its intervals are the same.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Any

from speech_xl import SHORTEST_SECONDS
from speech_xl.checks import number, whole
from speech_xl.model.ratios import check_ratios

TICK = 1e-6  # seconds: a last window as long as the shortest may fall short of it by rounding


@dataclass
class IntervalClock:
    """The intervals of one stream, one after the other.

    interval_seconds  length of a window
    origin            second from which windows count: 0, or where an interval was ended early
    windows           how many windows since then are over
    asked_ends        seconds at which intervals are to end early, rising; those that are over are gone
    ratios            (second, ratio), rising: an interval has the last ratio set before its end. One that is set at the
                      very second at which an interval ends is the next interval's
    """

    interval_seconds: float
    origin: float = 0.0
    windows: int = 0
    asked_ends: list[float] = field(default_factory=list)
    ratios: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        number("interval_seconds", self.interval_seconds, least=SHORTEST_SECONDS, unit="seconds")

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "IntervalClock":
        """The clock whose `state` this is, as JSON may have kept it. Raises TypeError where it has other fields, and
        ValueError where one is out of range."""
        made = cls(**state)
        number("origin", made.origin, least=0, unit="seconds")
        whole("windows", made.windows)
        made.asked_ends = [number("asked_ends", second, least=0, unit="seconds") for second in made.asked_ends]
        check_ratios([ratio for _, ratio in made.ratios], "ratios")
        made.ratios = [(number("ratios", second, least=0), ratio) for second, ratio in made.ratios]
        return made

    def state(self) -> dict[str, Any]:
        """All of it, as plain data of its own."""
        return vars(self) | {"asked_ends": list(self.asked_ends), "ratios": list(self.ratios)}

    def copy(self) -> "IntervalClock":
        return IntervalClock(**self.state())

    @property
    def ratio(self) -> int:
        """The last that was set."""
        return self.ratios[-1][1]

    def set_ratio(self, second: float, ratio: int) -> None:
        """From this second on; in place of another set at the same one."""
        self.ratios = [one for one in self.ratios if one[0] < second] + [(second, ratio)]

    def ratio_of(self, end: float) -> int:
        """The ratio of an interval that ends at this second."""
        return self._at(end)[1]

    def ask_end(self, second: float) -> None:
        """The interval that is open at this second ends there; the next begins with what follows."""
        if second > max([self.origin, *self.asked_ends[-1:]]):
            self.asked_ends.append(second)

    def next_end(self, taken: float, least_rest: float = SHORTEST_SECONDS) -> float:
        """The second at which the first open interval ends, `inf` where audio up to second `taken` doesn't tell yet.

        A window ends an interval where at least `least_rest` seconds follow before the audio, or an end that was asked
        for: a shorter rest joins it, as in the partition of training (`window_ends`).
        """
        asked = self.asked_ends[0] if self.asked_ends else inf
        window = self.origin + self.interval_seconds * (self.windows + 1)
        return window if window <= min(asked, taken) - least_rest + TICK else asked

    def step(self, end: float) -> None:
        """The first open interval is over: it ended at this second, as `next_end` gave it."""
        if self.asked_ends and end >= self.asked_ends[0]:
            self.origin, self.windows = self.asked_ends.pop(0), 0
        else:
            self.windows += 1
        self.ratios = self.ratios[self.ratios.index(self._at(end)) :]

    def _at(self, end: float) -> tuple[float, int]:
        """The ratio that holds for an interval that ends at this second, and since when."""
        return [one for one in self.ratios if one[0] + TICK < end or one is self.ratios[0]][-1]
