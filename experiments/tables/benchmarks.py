"""Tables of the mini benchmarks: a line a task and method, a column a ratio, with the majority class beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from experiments.tables.markdown import table
from experiments.tables.records import record

RATIOS = (1, 4, 8, 16)
RECORD = "benchmarks_mini"


def mini(benchmark: str, methods: Sequence[str]) -> Callable[[], str]:
    """The main figures of a mini benchmark in its first profile, of these methods in their order."""

    def made() -> str:
        found = [row for row in record(RECORD)["rows"] if row["headline"] and row["benchmark"] == benchmark]
        tasks = list(dict.fromkeys((row["task"], row["metric"]) for row in found))
        lines = []
        for task, metric in tasks:
            for method in methods:
                own = {row["ratio"]: row for row in found if (row["task"], row["method"]) == (task, method)}
                if own:
                    first = next(iter(own.values()))
                    cells = [_cell(own.get(ratio)) for ratio in RATIOS]
                    lines.append([task, metric, method, *cells, _constant(first), str(first["answered"])])
        return table(["task", "figure", "method", *(f"{ratio}x" for ratio in RATIOS), "majority class", "items"], lines)

    return made


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return ""
    if row["low"] is None:
        return f"{row['value']:.1f}"
    return f"{row['value']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"


def _constant(row: dict[str, Any]) -> str:
    majority = row["majority"]
    return "" if majority is None or majority["value"] is None else f"{majority['value']:.1f}"
