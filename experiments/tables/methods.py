"""Tables of a comparison: a line a method, a column a ratio or another figure of the method's rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from experiments.tables.markdown import PERCENT, Show, table
from experiments.tables.records import rows, value

FULL_KV = "full KV"
TRAINING_FREE = (
    *("truncation", "uniform stride", "random", "mean pooling", "similarity merging"),
    *("StreamingLLM", "SnapKV", "TOVA", "Knorm", "ExpectedAttention", "KeyDiff", "PyramidKV"),
)
QUERY_AWARE = "SnapKV, query-aware"  # the one method that sees the question before it drops KV
SHOWN = {"mean pooling": "mean pooling, untrained"}  # names in the records that a page would leave unclear


@dataclass(frozen=True)
class Column:
    """A column of the table.

    ratio, key  which of the method's rows is shown, and which of its figures
    best        which value is bold, if one is
    files       records in place of the lines' own
    """

    title: str
    ratio: int
    key: str
    show: Show = PERCENT
    best: Literal["lowest", "highest"] | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A line of the table.

    methods  names in the record; of several, the best of each column is shown and named in the label
    files    records; several are several trainings: mean and standard deviation over them are shown
    ratio, key, show  in place of the columns' own; with a key of its own a line fills only the columns of rates
    ranked   whether the line competes for the best of a column
    """

    label: str
    methods: tuple[str, ...]
    files: tuple[str, ...]
    ratio: int | None = None
    key: str | None = None
    show: Show | None = None
    ranked: bool = True


def ratios(
    key: str, *every: int, title: str = "{}x", best: Literal["lowest", "highest"] | None = None, show: Show = PERCENT
) -> list[Column]:
    """A column for each ratio; `{}` in the title stands for it."""
    return [Column(title.format(ratio), ratio, key, show, best) for ratio in every]


def line(
    label: str,
    methods: str | tuple[str, ...],
    *files: str,
    ratio: int | None = None,
    key: str | None = None,
    show: Show | None = None,
    ranked: bool = True,
) -> Line:
    """A line of one method or of the best of several, from one record or several trainings."""
    return Line(label, (methods,) if isinstance(methods, str) else methods, files, ratio, key, show, ranked)


def method_table(first: str, columns: Sequence[Column], lines: Sequence[Line]) -> Callable[[], str]:
    """The table as a function, so that records are read when it is written. first: title of the labels' column."""

    def write() -> str:
        cells = [[_cell(one, column) for column in columns] for one in lines]
        for index, column in enumerate(columns):
            ranked = [row[index] for row, one in zip(cells, lines, strict=True) if one.ranked and row[index].text]
            best = _best(ranked, column.best) if len(ranked) > 1 else None
            for row in cells:
                row[index] = replace(row[index], bold=row[index] in ranked and row[index].center == best)
        labels = [_label(one, row) for one, row in zip(lines, cells, strict=True)]
        body = [[label, *map(str, row)] for label, row in zip(labels, cells, strict=True)]
        return table([first, *(column.title for column in columns)], body)

    return write


def every_method(file: str, columns: Sequence[Column], by: str) -> Callable[[], str]:
    """All methods of a record, full KV first and then the best first in the column titled `by`."""

    def write() -> str:
        (order,) = [column for column in columns if column.title == by]
        sign = 1 if order.best == "lowest" else -1

        def place(name: str) -> tuple[bool, bool, float]:
            found = value(file, name, order.ratio, order.key)
            return name != FULL_KV, found is None, sign * found[0] if found else 0.0

        names = sorted(dict.fromkeys(method for method, _ in rows(file)), key=place)
        lines = [line(SHOWN.get(name, name), name, file, ranked=name != FULL_KV) for name in names]
        return method_table("method", columns, lines)()

    return write


@dataclass(frozen=True)
class _Cell:
    """A cell's text; the value that it is ranked by, rounded as shown; the method it is of."""

    text: str = ""
    center: float = 0.0
    method: str = ""
    bold: bool = False

    def __str__(self) -> str:
        return f"**{self.text}**" if self.bold else self.text


def _cell(one: Line, column: Column) -> _Cell:
    if len(one.methods) > 1 and column.best is None:
        return _Cell()  # nothing says which of several methods is meant
    if one.key and column.show is not PERCENT:
        return _Cell()
    key, show, ratio = one.key or column.key, one.show or column.show, one.ratio or column.ratio
    found = []
    for method in one.methods:
        values = [value(file, method, ratio, key) for file in column.files or one.files]
        known = [entry for entry in values if entry is not None]
        if known and len(known) == len(values):
            center = sum(entry[0] for entry in known) / len(known)
            found.append(_Cell(show.cell(known), round(center * show.factor, 1), method))
    best = _best(found, column.best)
    return next((cell for cell in found if best is None or cell.center == best), _Cell())


def _best(cells: Sequence[_Cell], which: Literal["lowest", "highest"] | None) -> float | None:
    if not cells or which is None:
        return None
    return (min if which == "lowest" else max)(cell.center for cell in cells)


def _label(one: Line, cells: Sequence[_Cell]) -> str:
    if len(one.methods) == 1:
        return one.label
    chosen = dict.fromkeys(SHOWN.get(cell.method, cell.method) for cell in cells if cell.method)
    return f"{one.label} ({'; '.join(chosen)})"
