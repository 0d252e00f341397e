"""Pages with generated tables: where they are, and their text with every table made anew.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; NAME is a key of the registry. Nothing stands
there where a table waits for its record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from experiments.measurements.record import DOCS, ROOT

BEGIN, END = re.compile(r"<!-- table: (\S+) -->"), "<!-- end -->"
TABLE = re.compile(rf"({BEGIN.pattern}\n)(.*?)({END})", re.DOTALL)


def pages() -> list[Path]:
    """Every Markdown page of the project that has a marker."""
    every = [ROOT / "README.md", *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "experiments").rglob("*.md"))]
    return [path for path in every if BEGIN.search(path.read_text(encoding="utf-8"))]


def table_names(text: str) -> list[str]:
    """The tables that a page asks for, in order."""
    return BEGIN.findall(text)


def filled(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A page's text with all its tables made anew. Raises ValueError for an unknown table or a marker without end."""
    unknown = sorted(set(table_names(text)) - set(tables))
    if unknown:
        raise ValueError(
            f"no table is named {', '.join(unknown)}; experiments/tables/registry.py has {', '.join(tables)}"
        )
    closed = [name for _, name, body, _ in TABLE.findall(text) if not BEGIN.search(body)]
    if closed != table_names(text) or len(closed) != text.count(END):
        raise ValueError(f"each marker <!-- table: NAME --> needs one {END} below it, and each {END} a marker")

    def body(name: str) -> str:
        made = tables[name]()
        return f"\n{made}\n\n" if made else ""

    return TABLE.sub(lambda found: f"{found[1]}{body(found[2])}{found[4]}", text)
