"""The one table maker: rows of a test's results and of comparisons as Markdown and CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from speech_xl.evaluation.rows import Row

Cell = Callable[[Row], str]


def method_table(rows: Sequence[Row], baseline: str | None = None) -> str:
    """One line a method and ratio: WER and accuracy with intervals and counts, and the KV memory kept.

    Columns that only comparisons fill stand at the end: peak KV, seconds, differences to the row named `baseline`.
    """
    columns = [*COLUMNS, *(column for column in MEASURED if any(column[1](row) != "-" for row in rows))]
    columns += [
        (f"{title} than {baseline}", cell)
        for title, cell in DIFFERENCES
        if baseline and any(cell(row) != "-" for row in rows)
    ]
    return markdown([[title for title, _ in columns], *([cell(row) for _, cell in columns] for row in rows)])


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first row the titles."""
    lines = ["| " + " | ".join(map(_escaped, row)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("---" for _ in rows[0]) + " |")
    return "\n".join(lines)


def _escaped(cell: str) -> str:
    """A cell whose text can't end the cell, or be taken for HTML: names may come from somebody else's file."""
    return " ".join(cell.replace("|", "\\|").replace("<", "&lt;").split())


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """All figures of all rows; lists, such as those of every seed, as numbers with spaces between."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in row.items()})


def percent(value: float | None, low: float | None, high: float | None, unit: str = " %") -> str:
    """A share as percent with its interval in brackets."""
    if value is None or math.isnan(value):
        return "-"
    if low is None or high is None or math.isnan(low):
        return f"{100 * value:.1f}{unit}"
    return f"{100 * value:.1f}{unit} [{100 * low:.1f}, {100 * high:.1f}]"


def _rate(key: str, unit: str = " %") -> Cell:
    def cell(row: Row) -> str:
        deviation = row.get(f"{key}_sd")
        seeds = "" if deviation is None else f", sd {100 * deviation:.1f} of {row['seeds']} seeds"
        return percent(row.get(key), row.get(f"{key}_low"), row.get(f"{key}_high"), unit) + seeds

    return cell


def _count(key: str) -> Cell:
    return lambda row: "-" if row.get(key) is None else str(row[key])


def _size(key: str) -> Cell:
    def cell(row: Row) -> str:
        size = row.get(key)
        if size is None:
            return "-"
        return f"{size / 2**20:.2f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"

    return cell


def _seconds(key: str) -> Cell:
    return lambda row: "-" if row.get(key) is None else f"{row[key]:.2f} s"


def _errors(row: Row) -> str:
    return f"{row['errors']} / {row['words']}" if "errors" in row else "-"


def _share(row: Row) -> str:
    return "-" if row["kept_kv_share"] is None else f"{100 * row['kept_kv_share']:.1f} %"


COLUMNS: list[tuple[str, Cell]] = [
    ("method", lambda row: row["method"] or "-"),
    ("ratio", lambda row: f"{row['ratio']}x"),
    ("unit", lambda row: row.get("unit", "-")),
    ("WER", _rate("wer")),
    ("errors / words", _errors),
    ("WER cut", _rate("wer_cut")),
    ("CER", _rate("cer")),
    ("ASR items", lambda row: str(row["asr_items"] or "-")),
    ("Q&A accuracy", _rate("qa_accuracy")),
    ("Q&A items", lambda row: str(row["qa_items"] or "-")),
    ("unfinished", _count("unfinished")),
    ("kept KV a session", _size("kept_kv_bytes")),
    ("kept KV a second of audio", _size("kept_kv_bytes_per_audio_second")),
    ("tokens kept", _share),
]
MEASURED: list[tuple[str, Cell]] = [
    ("peak KV", _size("peak_kv_bytes")),
    ("prefill", _seconds("prefill_seconds")),
    ("decode an answer", _seconds("decode_seconds")),
]
DIFFERENCES: list[tuple[str, Cell]] = [
    ("points of WER cut more", _rate("more_errors", "")),
    ("points of accuracy more", _rate("more_right", "")),
]
