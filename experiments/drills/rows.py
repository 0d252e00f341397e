"""What a drill reports: a row for every case, whether it came out as wanted, and a figure of all rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One case of a drill.

    case     its name, unique within the drill
    ok       whether it came out as wanted
    outcome  how it came out, in a word: refused, handled, traceback, silent, ...
    message  what the program wrote about it, shortened
    facts    what else was measured: steps, seconds, counts, flags; plain JSON values
    """

    case: str
    ok: bool
    outcome: str
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The row as a line of text: ok or BAD, outcome, name, the first line of the message."""
        first = self.message.strip().splitlines()[0][:240] if self.message.strip() else ""
        return f"{'ok ' if self.ok else 'BAD'} | {self.outcome:10s} | {self.case} | {first}"


@dataclass(frozen=True)
class Drill:
    """A set of cases that are run for real.

    name     as on the command line
    about    one line for --help
    minutes  how long it takes on two cores, about
    cases    names of its cases; a run may be limited to those that hold a given text
    run      runs the cases named, in the folder given, and yields a row for each as it ends
    summary  figures of all rows, as they stand in the record's summary
    record   name of its results file
    """

    name: str
    about: str
    minutes: int
    cases: Callable[[], Sequence[str]]
    run: Callable[[Path, Sequence[str]], Iterator[Row]]
    summary: Callable[[Sequence[Row]], Mapping[str, int | float]]
    record: str = "reliability"


def chosen(cases: Sequence[str], parts: Sequence[str]) -> list[str]:
    """The cases whose name holds one of `parts`; all of them where no part is given. Raises ValueError for no case."""
    found = [case for case in cases if not parts or any(part in case for part in parts)]
    if not found:
        raise ValueError(f"no case is named like {', '.join(parts)}; there are: {', '.join(cases)}")
    return found


def figure(name: str, rows: Sequence[Row], summary: Mapping[str, int | float]) -> str:
    """The last line of a drill: how many rows are as wanted, and its summary."""
    numbers = ", ".join(f"{key} {value}" for key, value in summary.items())
    return f"{name}: {sum(row.ok for row in rows)} of {len(rows)} as wanted ({numbers})"
