"""Samples as lmms-eval logs them (github.com/EvolvingLMMs-Lab/lmms-eval), ``<model>/<date>_samples_<task>.jsonl``.

Rows have `doc_id`, `target`, `filtered_resps`, `doc_hash`, `prompt_hash`, `target_hash`, a metric's own values and
`input`. Its logger takes `doc` and `arguments` out, and `resps` where they equal `filtered_resps`; so does this.
Transcripts have the values of its tasks librispeech_*_long under `wer`; other items have no metric there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from speech_xl.data.items import Item
from speech_xl.evaluation.benchmarks.answers import hypothesis_of, language_of, reference_of
from speech_xl.evaluation.benchmarks.other_harnesses.rows import (
    Export,
    Origin,
    Row,
    grouped,
    is_transcript,
    item_of,
    prediction_of,
    read_rows,
    suffix_of,
)
from speech_xl.evaluation.prediction import Prediction


def to_lmms_eval(predictions: Sequence[Prediction], model: str, date: str) -> Export:
    """Logged samples. `doc_id` counts the answers of a file. Left out: failed answers."""
    made = Export({})
    answered = [one for one in predictions if one.failed is None]
    made.left_out["failed"] += len(predictions) - len(answered)
    for (benchmark, task, split, compressor, ratio), group in grouped(answered).items():
        folder = re.sub(r"[^\w.-]+", "__", f"{model}{suffix_of(compressor, ratio)}")
        name = re.sub(r"[^\w.-]+", "_", f"{benchmark}_{task}_{split}")
        made.files[f"{folder}/{date}_samples_{name}.jsonl"] = [_sample(place, one) for place, one in enumerate(group)]
    return made


def _sample(doc_id: int, one: Prediction) -> Row:
    said = {"gt": reference_of(one), "pred": hypothesis_of(one), "task": f"asr_{language_of(one) or 'en'}"}
    return {
        "doc_id": doc_id,
        "target": reference_of(one),
        "filtered_resps": [hypothesis_of(one)],
        "doc_hash": _document(one),
        "prompt_hash": _hash(one.instruction),
        "target_hash": _hash(reference_of(one)),
        **({"wer": said} if is_transcript(one) else {}),
        "input": one.instruction,
    }


def _document(one: Prediction) -> str:
    """`doc_hash`: SHA-256 of what was asked about, alike at every ratio."""
    item = one.item or {}
    doc = {"id": item.get("id", one.instruction), "audio": one.cut_id, "choices": item.get("choices") or {}}
    return _hash(json.dumps(doc, indent=2, ensure_ascii=False))


def from_lmms_eval(path: str | Path, origin: Origin, like: Sequence[Prediction] = ()) -> list[Prediction]:
    """The answers of a file of logged samples.

    origin: what the rows don't say. like: answers to the same items, whose sessions and items are taken over: of those
    with the same `doc_hash` (as `to_lmms_eval` writes it), else, for another's file, of the origin's benchmark and task
    in the order of `doc_id`. The target must be the same. Without them, sessions are called "doc/NUMBER", and items
    have no choices.

    Raises ValueError that names file and line for a row that is none, a document that is there twice, and one that is
    not in `like`.
    """
    known = {_document(one): one for one in reversed(like)}
    ordered = [one for one in dict.fromkeys(map(_document, like)) if _is_of(origin, known[one])]
    found: dict[int, Prediction] = {}
    for place, row in read_rows(path):
        number = row.get("doc_id")
        if not isinstance(number, int) or isinstance(number, bool) or number < 0 or number in found:
            raise ValueError(
                f"{place}: doc_id is {number!r}; a row has a whole number of its own: log the samples again"
            )
        target, prompt, reply = str(row.get("target", "")), _prompt(place, row), _reply(place, row)
        if not like:
            item = item_of(origin, f"doc/{number}", target, None if "wer" in row else prompt)
            found[number] = prediction_of(origin, f"doc/{number}", item, target, reply, prompt)
            continue
        at = ordered[number] if number < len(ordered) else ""
        one = known.get(str(row.get("doc_hash")), known.get(at))
        if one is None or one.item is None or reference_of(one) != target:
            raise ValueError(
                f"{place}: document {number} has the target {target[:40]!r}, and there is no such item in the "
                "answers that it is compared to; give those of the same items, in the same order"
            )
        made = prediction_of(origin, one.cut_id, Item.from_json(one.item), one.reference, reply, one.instruction)
        found[number] = replace(made, duration=one.duration, occurrence=one.occurrence, timestamps=one.timestamps)
    return [found[number] for number in sorted(found)]


def _is_of(origin: Origin, one: Prediction) -> bool:
    item = one.item or {}
    return (item.get("benchmark"), item.get("task")) == (origin.benchmark, origin.task)


def _prompt(place: str, row: Mapping[str, Any]) -> str:
    given = row.get("input", row.get("arguments"))
    while isinstance(given, list) and given:
        given = given[0]
    if not isinstance(given, str):
        raise ValueError(f"{place}: input is {given!r:.60}, and must be the prompt; log the samples again")
    return given


def _reply(place: str, row: Mapping[str, Any]) -> str:
    given = row.get("filtered_resps", row.get("resps"))
    while isinstance(given, list) and given:
        given = given[0]
    if not isinstance(given, str):
        raise ValueError(f"{place}: filtered_resps is {given!r:.60}, and must hold the reply; log the samples again")
    return given


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
