"""The figures of docs/reliability.md, written from the drills' record between two markers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.benchmarks.record import DOCS
from experiments.drills.results import sections

PAGE = DOCS / "reliability.md"
BEGIN, END = "<!-- figures: python -m experiments.drills page -->", "<!-- end of figures -->"


def table(drills: Mapping[str, Any]) -> str:
    """A line a drill: how many cases came out as wanted, its figures, how long it took."""
    lines = ["| drill | as wanted | figures | minutes |", "| --- | --- | --- | --- |"]
    for name, section in sorted(drills.items()):
        good = sum(row["ok"] for row in section["rows"])
        figures = ", ".join(f"`{key}` {value}" for key, value in section["summary"].items())
        minutes = max(1, round(section["seconds"] / 60))
        lines.append(f"| `{name}` | {good} of {len(section['rows'])} | {figures} | {minutes} |")
    failed = [(name, row) for name, section in sorted(drills.items()) for row in section["rows"] if not row["ok"]]
    if failed:
        lines += ["", "These cases did not come out as wanted:", ""]
        lines += [f"- `{name}`, {row['case']}: {row['outcome']}" for name, row in failed]
    return "\n".join(lines)


def with_figures(page: str, drills: Mapping[str, Any]) -> str:
    """The page with the table of these drills between its markers. Raises ValueError where the markers are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table(drills)}\n\n{END}{after}"


def write(results: Path, page: Path = PAGE) -> None:
    """Bring the page's figures up to date with a results file."""
    page.write_text(with_figures(page.read_text(encoding="utf-8"), sections(results)), encoding="utf-8")
