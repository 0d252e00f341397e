"""Cells and rows of a Markdown table: how a number is shown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Show:
    """How a value of a record is shown. factor: what it is multiplied by; signed: with a plus where it is positive."""

    factor: float
    signed: bool = False
    interval: bool = True

    def number(self, value: float) -> str:
        scaled = value * self.factor
        digits = 1 if self.interval or abs(scaled) >= 1 else 2
        return f"{scaled:+.{digits}f}" if self.signed else f"{scaled:.{digits}f}"

    def cell(self, values: Sequence[tuple[float, float | None, float | None]]) -> str:
        """One training: the value and its 95 % interval. Several: mean and sample standard deviation over trainings."""
        centers = [value for value, _, _ in values]
        if len(values) > 1 and self.interval:
            return f"{self.number(statistics.mean(centers))} ± {statistics.stdev(centers) * self.factor:.1f}"
        (value, low, high) = values[0]
        if low is None or high is None or not self.interval:
            return self.number(value)
        return f"{self.number(value)} [{low * self.factor:.1f}, {high * self.factor:.1f}]"


PERCENT = Show(100.0)
POINTS = Show(100.0, signed=True)
MEBIBYTES = Show(1 / 2**20, interval=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Raises ValueError for a row of another length than the header."""
    body = list(rows)
    uneven = [row for row in body if len(row) != len(header)]
    if uneven:
        raise ValueError(f"a row has {len(uneven[0])} cells and the header {len(header)}: {uneven[0]}")
    first, *lines = (f"| {' | '.join(row)} |" for row in (header, *body))
    return "\n".join([first, f"|{'---|' * len(header)}", *lines])


def scientific(value: float) -> str:
    """3e-14; 0 for zero."""
    return f"{value:.0e}" if value else "0"
