"""Checks of values that a user gives: each returns the value, or raises a ValueError with key, value and mend."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any


def number(
    key: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    unit: str = "",
) -> float:
    """A finite number within the bounds that are given; `least` and `most` are allowed. Raises ValueError."""
    fits = _is_number(value) and all(
        (
            least is None or value >= least,
            above is None or value > above,
            most is None or value <= most,
            below is None or value < below,
        )
    )
    if not fits:
        unit = unit and f" of {unit}"
        raise ValueError(f"{key}: got {value!r}; give a number{unit}{_bounds(least, above, most, below)}")
    return value


def whole(key: str, value: Any, *, least: int = 0, most: int | None = None) -> int:
    """A whole number within the bounds, `least` and `most` allowed. Raises ValueError."""
    if not _is_whole(value) or value < least or (most is not None and value > most):
        raise ValueError(f"{key}: got {value!r}; give a whole number{_bounds(least, None, most, None)}")
    return value


def _is_number(value: Any) -> bool:
    # bool is an int in Python: `true` in a YAML would otherwise pass for 1.
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits, which no float holds
        return False


def _is_whole(value: Any) -> bool:
    # What 64 bits can't hold no tensor, generator or counter takes either.
    return isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) < 2**63


def _bounds(least: float | None, above: float | None, most: float | None, below: float | None) -> str:
    parts = (
        f"from {least:g} upwards" if least is not None and most is None and below is None else "",
        f"above {above:g}" if above is not None else "",
        f"from {least:g} to {most:g}" if least is not None and most is not None else "",
        f"from {least:g} to below {below:g}" if least is not None and below is not None else "",
        f"up to {most:g}" if most is not None and least is None else "",
        f"below {below:g}" if below is not None and least is None else "",
    )
    found = [part for part in parts if part]
    return " " + " and ".join(found) if found else ""
