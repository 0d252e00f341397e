"""From a predictions file to scores as JSON and as a page of tables."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speech_xl.evaluation.metrics import (
    BOOTSTRAP_DRAWS,
    CUT_AT,
    Rate,
    error_rate_by_time,
    insertions_without_speech,
    summarise,
    unit_of,
)
from speech_xl.evaluation.normaliser import NORMALISER, NORMALISER_VERSION
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.prediction_file import read_predictions, read_settings
from speech_xl.evaluation.rows import Row, row_of
from speech_xl.evaluation.tables import markdown, method_table, percent
from speech_xl.storage.files import write_text


def score(predictions: list[Prediction]) -> dict[str, Any]:
    """Everything measured on the predictions of one compressor, as plain JSON values; a rate that can't be finished is
    null."""
    summary = summarise(predictions)
    scored = {"asr", "qa"}
    by_ratio = {}
    for ratio in sorted({prediction.ratio for prediction in predictions}):
        selected = [prediction for prediction in predictions if prediction.ratio == ratio]
        rates = {name: _plain(rate) for name, rate in summary.get(ratio, {}).items()}
        minutes = error_rate_by_time([prediction for prediction in selected if prediction.task == "asr"])
        by_ratio[str(ratio)] = {
            "rates": rates,
            "wer_by_minute": {str(minute): _plain(rate) for minute, rate in minutes.items()},
            "without_speech": dict(
                zip(("transcripts", "insertions"), insertions_without_speech(selected), strict=True)
            ),
            "memory": _memory(selected),
            "unfinished": _unfinished(selected),
        }
    return {
        "items": len(predictions),
        "sessions": len({prediction.cut_id for prediction in predictions}),
        "normaliser": NORMALISER,
        "normaliser_version": NORMALISER_VERSION,
        "unit": " and ".join(
            sorted({unit_of(prediction) for prediction in predictions if prediction.task == "asr"}, reverse=True)
        ),
        "interval": f"95 %, percentile bootstrap over sessions, {BOOTSTRAP_DRAWS} draws, seed 0",
        "average": "micro: all word errors over all reference words; accuracy is exact match after normalisation",
        "wer_cut": f"WER with every hypothesis cut at ceil({CUT_AT} x reference words)",
        "cer": "all character errors over all reference characters, a letter with its marks being one, without spaces",
        "ratios": by_ratio,
        "unfinished": "answers, of all tasks, that ran into their length limit, or whose times end before the audio",
        "not_scored": dict(Counter(prediction.task for prediction in predictions if prediction.task not in scored)),
    }


def rows_of(predictions: Sequence[Prediction]) -> list[Row]:
    """A row per compressor and ratio, for `method_table`."""
    groups: dict[tuple[str, int], list[Prediction]] = {}
    for one in predictions:
        groups.setdefault((one.compressor, one.ratio), []).append(one)
    compressors = list(dict.fromkeys(compressor for compressor, _ in groups))
    ordered = sorted(groups, key=lambda key: (compressors.index(key[0]), key[1]))
    return [row_of(*key, groups[key], {}) for key in ordered]


def kinds_table(scores: dict[str, Any], task: str = "qa", title: str = "kind of question") -> str:
    """Q&A accuracy by kind of question (rows) and ratio (columns), or WER (task "wer") by unit; empty without any."""
    ratios = list(scores["ratios"])
    every = {name for ratio in ratios for name in scores["ratios"][ratio]["rates"]}
    names = sorted(name for name in every if name.startswith(f"{task}/"))
    if not names:
        return ""
    rows = [[title, "items a ratio", *(f"{ratio}x" for ratio in ratios)]]
    for name in names:
        rates = [scores["ratios"][ratio]["rates"].get(name) for ratio in ratios]
        counts = sorted({rate["items"] for rate in rates if rate})
        items = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        rows.append([name.removeprefix(f"{task}/"), items, *(_percent(rate) for rate in rates)])
    return markdown(rows)


def without_speech_line(scores: dict[str, Any]) -> str:
    """How many words were inserted where nothing is said; empty where every session has speech."""
    found = {ratio: result["without_speech"] for ratio, result in scores["ratios"].items()}
    inserted = [
        f"{one['insertions']} in {one['transcripts']} transcripts at {ratio}x"
        for ratio, one in found.items()
        if one["transcripts"]
    ]
    if not inserted:
        return ""
    return f"Words inserted in sessions without speech, which count as errors in WER: {', '.join(inserted)}."


def minutes_table(scores: dict[str, Any]) -> str:
    """WER by minute of the session (rows) and ratio (columns); empty where no transcript has time marks beyond one."""
    minutes = {int(minute) for result in scores["ratios"].values() for minute in result["wer_by_minute"]}
    if not minutes - {0}:
        return ""
    rows = [["minute of the session", "words", *(f"{ratio}x" for ratio in scores["ratios"])]]
    for minute in sorted(minutes):
        rates = [result["wer_by_minute"].get(str(minute)) for result in scores["ratios"].values()]
        words = max(rate["words"] for rate in rates if rate)
        rows.append([str(minute + 1), str(words), *(_percent(rate) for rate in rates)])
    return markdown(rows)


def write_report(jsonl: str | Path, out_dir: str | Path, name: str = "results") -> dict[str, Any]:
    """Score a predictions file, write NAME.json and NAME.md into `out_dir` and return the scores."""
    predictions = read_predictions(jsonl)
    scores = score(predictions) | {"predictions": Path(jsonl).name, "made_with": read_settings(jsonl)}
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / f"{name}.json", json.dumps(scores, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(out / f"{name}.md", report_text(scores, rows_of(predictions)))
    return scores


def report_text(scores: dict[str, Any], rows: Sequence[Row]) -> str:
    """The scores for people: tables, and what their columns mean."""
    parts = [
        "# Results",
        f"{scores['items']} answers on {scores['sessions']} sessions, from {scores['predictions']}.",
        method_table(rows),
        kinds_table(scores, "wer", "unit of WER"),
        kinds_table(scores),
        minutes_table(scores),
        without_speech_line(scores),
        f"In brackets: {scores['interval']}. Average: {scores['average']}. WER cut: {scores['wer_cut']}. "
        f"CER: {scores['cer']}. Unit: {scores['unit'] or 'none'}.",
        "Kept KV: keys and values that stay of the audio, as they lie in memory; the prompt's prefix is not counted.",
        f"Unfinished: {scores['unfinished']}. Normaliser: {scores['normaliser']}.",
    ]
    if scores["not_scored"]:
        listed = ", ".join(f"{count} of task {task}" for task, count in sorted(scores["not_scored"].items()))
        parts.append(f"Without a metric here, so not scored: {listed}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _memory(predictions: list[Prediction]) -> dict[str, float | int | None]:
    """Kept KV over the sessions of one ratio; a session's memory counts once, however many
    answers it gave."""
    sessions: dict[str, Prediction] = {}
    for one in predictions:
        if one.kept_kv_bytes is not None:
            sessions.setdefault(one.cut_id, one)
    kept = list(sessions.values())
    size = sum(one.kept_kv_bytes or 0 for one in kept)
    seconds = sum(one.duration or 0.0 for one in kept)
    return {
        "sessions": len(kept),
        "audio_seconds": round(seconds, 3),
        "kept_kv_tokens": sum(one.kept_kv_tokens or 0 for one in kept),
        "total_kv_tokens": sum(one.total_kv_tokens or 0 for one in kept),
        "kept_kv_bytes_per_session": size / len(kept) if kept else None,
        "kept_kv_bytes_per_audio_second": size / seconds if seconds else None,
    }


def _unfinished(predictions: list[Prediction]) -> int | None:
    """Runaway decodings; None where the predictions don't tell."""
    finished = [prediction.finished for prediction in predictions if prediction.finished is not None]
    return finished.count(False) if finished else None


def _plain(rate: Rate) -> dict[str, float | int | None]:
    values = dataclasses.asdict(rate)
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}


def _percent(rate: dict[str, Any] | None) -> str:
    return "-" if rate is None else percent(rate["value"], rate["low"], rate["high"])
