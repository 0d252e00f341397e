"""Records of docs/results by name, and their rows by method and ratio."""

from __future__ import annotations

import functools
import json
from typing import Any

from experiments.measurements.record import RESULTS


def recorded(name: str) -> bool:
    """Whether docs/results has that record."""
    return (RESULTS / f"{name}.json").is_file()


@functools.cache
def record(name: str) -> dict[str, Any]:
    """docs/results/NAME.json. Raises ValueError where there is none."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise ValueError(f"{path} doesn't exist; record it with its benchmark, or mend the table that names it")
    return json.loads(path.read_text(encoding="utf-8"))


@functools.cache
def rows(name: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The rows of a comparison by (method, ratio), in the record's order."""
    return {(row["method"], row["ratio"]): row for row in record(name)["rows"]}


def value(name: str, method: str, ratio: int, key: str) -> tuple[float, float | None, float | None] | None:
    """A figure with its interval, (value, low, high); None where the record hasn't got it."""
    row = rows(name).get((method, ratio), {})
    if row.get(key) is None:
        return None
    return row[key], row.get(f"{key}_low"), row.get(f"{key}_high")
