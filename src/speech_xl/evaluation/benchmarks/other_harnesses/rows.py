"""What the result files of all harnesses share: rows that are read back, and predictions of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from speech_xl.data.items import Item
from speech_xl.data.transcript import PLAIN
from speech_xl.evaluation.benchmarks.registry import MODULES
from speech_xl.evaluation.prediction import Prediction

Row = dict[str, Any]


@dataclass(frozen=True)
class Export:
    """Result files of a harness.

    files     path below the folder of results -> rows
    left_out  reason -> answers that the harness has no place for
    """

    files: dict[str, list[Row]]
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Origin:
    """What the rows of a result file don't say about their answers.

    benchmark, task  of their items, as `speech_xl.data.items.Item` has them
    split            of the benchmark
    compressor       what made the answers, in tables: the model's name
    ratio            speech frames per KV token kept
    """

    benchmark: str
    task: str = "ASR"
    split: str = "test"
    compressor: str = ""
    ratio: int = 1


def is_transcript(prediction: Prediction) -> bool:
    """Whether an answer is a transcript: of the model's own instruction, or of a transcription set's item."""
    benchmark = (prediction.item or {}).get("benchmark")
    return prediction.task == "asr" or prediction.kind == "ASR" or MODULES.get(str(benchmark)) == "transcription"


def grouped(predictions: Sequence[Prediction]) -> dict[tuple[str, str, str, str, int], list[Prediction]]:
    """(benchmark, task, split, compressor, ratio) -> its answers."""
    groups: dict[tuple[str, str, str, str, int], list[Prediction]] = {}
    for one in predictions:
        item = one.item or {}
        named = str(item.get("benchmark") or "sessions"), one.kind or one.task, one.split or "test"
        groups.setdefault((*named, one.compressor, one.ratio), []).append(one)
    return groups


def suffix_of(compressor: str, ratio: int) -> str:
    """What a model's name ends with, such as "-SSTs-8x"."""
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", compressor).strip("-")
    return f"-{slug}-{ratio}x" if slug else f"-{ratio}x"


def item_of(origin: Origin, session: str, answer: str, prompt: str | None) -> Item:
    """An item of a row that says no more of it. The limit of its answer isn't known; 1 stands for it."""
    return Item(
        benchmark=origin.benchmark,
        id=f"{origin.task}/{session}",
        task=origin.task,
        prompt=prompt,
        answer=answer,
        max_tokens=1,
        language="en",
    )


def prediction_of(
    origin: Origin, session: str, item: Item, reference: str, hypothesis: str, prompt: str | None = None, **known: Any
) -> Prediction:
    """A row's answer. known: further fields."""
    made = Prediction(
        cut_id=session,
        task="asr" if item.prompt is None else "qa",
        ratio=origin.ratio,
        instruction=prompt or item.prompt or PLAIN.instruction,
        reference=reference,
        hypothesis=hypothesis,
        split=origin.split,
        kind=item.task,
        compressor=origin.compressor,
        language=item.language,
        item=item.to_json(),
    )
    return replace(made, **known)


def read_rows(path: str | Path) -> Iterator[tuple[str, Row]]:
    """("file, line N", row) of every line that isn't blank."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: no UTF-8; write it as UTF-8") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{place}: no JSON ({error}); take the line out, or run the harness again") from error
        if not isinstance(row, dict):
            raise ValueError(f"{place}: got {line[:60]!r}, and no object; take the line out, or run the harness again")
        yield place, row


def text_of(place: str, row: Mapping[str, Any], key: str) -> str:
    """The text of a key; ValueError with the place where it is none."""
    if not isinstance(row.get(key), str):
        raise ValueError(f"{place}: {key} is {row.get(key)!r:.60}, and must be a text; run the harness again")
    return row[key]


def number_of(place: str, row: Mapping[str, Any], key: str) -> float | None:
    """The number of a key, None where it is null or missing; ValueError with the place where it is something else."""
    value = row.get(key)
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise ValueError(f"{place}: {key} is {value!r:.60}, and must be a number or null; run the harness again")
    return None if value is None else float(value)
