"""Predictions files from elsewhere or from a crash: read as far as they can be, every fault counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speech_xl.data.items import Item
from speech_xl.evaluation.prediction import DERIVED, Prediction
from speech_xl.evaluation.prediction_file import prediction_files
from speech_xl.storage.json_lines import json_lines

COSTS = ("duration", "audio_seconds_heard", "kept_kv_bytes", "kept_kv_tokens", "total_kv_tokens", "decode_seconds")
TEXTS = ("reference", "hypothesis")


@dataclass
class AnswerFile:
    """Answers of a predictions run, and what was wrong with its lines.

    predictions  each answer once: the first that did not fail
    faults       fault in words -> lines
    """

    predictions: list[Prediction] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)


def read_answers(path: str | Path) -> AnswerFile:
    """All answers of a predictions run, over its ranks' files.

    Counted as faults, and scored: a second answer to an item (the first counts), a line without its id, texts that are
    JSON numbers or null. Counted and left out: a last line that was cut off. Raises ValueError with file and line for
    anything else that is no prediction, FileNotFoundError where there is no file.
    """
    files = prediction_files(path)
    if not files:
        raise FileNotFoundError(f"{path}: no predictions here; run predict (or test) first, or correct the path")
    read, found = AnswerFile(), {}
    for file in files:
        for number, line in _lines(file, read.faults):
            one = Prediction.from_json(_mended(line, read.faults), f"{file}, line {number}")
            _check(one, f"{file}, line {number}")
            if "id" not in line:
                read.faults["without an id"] += 1
            if one.id in found and found[one.id].failed is None:
                read.faults["second answers to an item, not counted"] += one.failed is None
            else:
                found[one.id] = one
    read.predictions = list(found.values())
    read.faults = +read.faults
    return read


def _lines(file: Path, faults: Counter[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line, record, cut_off in json_lines(file):
        if cut_off:
            faults["cut off (the last line), not counted"] += 1
            continue
        if not isinstance(record, dict) or "cut_id" not in record:
            raise ValueError(
                f"{file}, line {number}: not a prediction (a JSON object with a cut_id): {line[:80]!r}; take the line "
                "out, and score again"
            )
        yield number, record


def _check(one: Prediction, where: str) -> None:
    """Raise ValueError for an item that is none, and for costs below zero."""
    if one.item is not None:
        try:
            Item.from_json(one.item)
        except ValueError as error:
            raise ValueError(f"{where}: {error}; take the line out, and score again") from error
    for name in COSTS:
        value = getattr(one, name)
        if value is not None and value < 0:
            raise ValueError(f"{where}: {name} is {value!r}, below zero; take the line out, and score again")


def _mended(line: Mapping[str, Any], faults: Counter[str]) -> dict[str, Any]:
    """A line with texts that are JSON numbers or null written as texts."""
    values = {key: value for key, value in line.items() if key not in DERIVED}
    for name in TEXTS:
        value = values.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            values[name] = str(int(value)) if float(value).is_integer() else str(value)
            faults[f"with a number as {name}, read as its digits"] += 1
        elif value is None and name in values:
            values[name] = ""
            faults[f"with null as {name}, read as an empty text"] += 1
    return values
