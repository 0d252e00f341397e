"""Rows of a comparison out of predictions: rates with intervals, bytes, seconds, paired differences, seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from statistics import stdev
from typing import Any

from speech_xl.evaluation.compressors import Uncompressed
from speech_xl.evaluation.metrics import (
    Rate,
    accuracy,
    accuracy_difference,
    character_error_rate,
    cut_error_difference,
    cut_error_rate,
    error_rate,
    error_rate_by_time,
    unit_of,
)
from speech_xl.evaluation.normaliser import NORMALISER_VERSION
from speech_xl.evaluation.prediction import Prediction

ATTRIBUTES = ("count", "speaker", "gender", "emotion", "age", "same")  # kinds of question about who speaks, not what
FULL_KV = Uncompressed.name
SSTS = "SSTs"
WHISPER = "Whisper's own decoder"

Seeds = Sequence[Sequence[Prediction]]  # predictions of each seed
Row = dict[str, Any]


def of_task(predictions: Sequence[Prediction], task: str) -> list[Prediction]:
    return [one for one in predictions if one.task == task]


def row_of(method: str, ratio: int, predictions: Sequence[Prediction], about: Row) -> Row:
    """One row of a table: rates with bootstrap intervals over sessions, means of bytes and seconds over sessions.

    Where transcripts have timestamps beyond a minute, also the WER of each minute, `wer_minute_1` and so on. What
    can't be known is None.
    """
    spoken, asked = of_task(predictions, "asr"), of_task(predictions, "qa")
    sessions = list({one.cut_id: one for one in reversed(spoken or asked or predictions)}.values())  # each one's first
    row: Row = {"method": method, "ratio": ratio}
    for name in ("kept_kv_bytes", "peak_kv_bytes", "prefill_seconds", "decode_seconds"):
        row[name] = _mean([getattr(one, name) for one in sessions])
    row["kept_kv_bytes_per_audio_second"] = quotient(sessions, "kept_kv_bytes", "duration")
    row["kept_kv_share"] = quotient(sessions, "kept_kv_tokens", "total_kv_tokens")
    rates: dict[str, Rate | None] = {
        "wer": error_rate(spoken) if spoken else None,
        "wer_cut": cut_error_rate(spoken) if spoken else None,
        "cer": character_error_rate(spoken) if spoken else None,
        "qa_accuracy": accuracy(asked) if asked else None,
    }
    attributes = [one for one in asked if one.kind in ATTRIBUTES]
    rates["attribute_accuracy"] = accuracy(attributes) if attributes else None
    minutes = {minute: rate for minute, rate in error_rate_by_time(spoken).items() if rate.words}
    if len(minutes) > 1:
        rates |= {f"wer_minute_{minute + 1}": rate for minute, rate in minutes.items()}
    for name, rate in rates.items():
        row[name] = None if rate is None else rate.value
        if rate is not None:
            row[f"{name}_low"], row[f"{name}_high"] = rate.low, rate.high
    for kind in sorted({one.kind for one in asked}):
        row[f"right_{kind}"] = accuracy(one for one in asked if one.kind == kind).value
    if wer := rates["wer"]:
        row["errors"], row["words"] = wer.errors, wer.words
        row["unit"] = " and ".join(sorted({unit_of(one) for one in spoken}, reverse=True))
    finished = [one.finished for one in predictions if one.finished is not None]
    row["unfinished"] = finished.count(False) if finished else None
    counts = {"asr_items": len(spoken), "qa_items": len(asked), "items": len(predictions), "sessions": len(sessions)}
    return row | {"normaliser": NORMALISER_VERSION} | counts | about


def seeds_of(seeds: Seeds) -> Row:
    """Rates of every seed by itself, and their standard deviation where there are several."""
    row: Row = {"seeds": len(seeds)}
    for name, task, rate in (
        ("wer", "asr", error_rate),
        ("wer_cut", "asr", cut_error_rate),
        ("qa_accuracy", "qa", accuracy),
    ):
        values = [rate(of_task(seed, task)).value for seed in seeds if of_task(seed, task)]
        if values:
            row[f"{name}_by_seed"] = values
        if len(values) > 1:
            row[f"{name}_sd"] = stdev(values)
    return row


def differences(seeds: Seeds, others: Seeds) -> Row:
    """How much higher the WER (cut) of a row is than that of another about the same sessions, and how many more of its
    answers are right, with paired intervals. All seeds together: the interval is of sessions, and doesn't know what
    another seed would change; seed by seed where both rows have as many."""
    both = [list(chain.from_iterable(some)) for some in (seeds, others)]
    row: Row = wer_delta(both[0], both[1]) | accuracy_delta(both[0], both[1], "more_right")
    if len(seeds) == len(others) and "more_errors" in row:
        pairs = zip(seeds, others, strict=True)
        row["more_errors_by_seed"] = [wer_delta(mine, other)["more_errors"] for mine, other in pairs]
    return row


def wer_delta(
    predictions: Sequence[Prediction], others: Sequence[Prediction], name: str = "more_errors"
) -> dict[str, float]:
    """How much higher the WER (cut) of some transcripts is than of others about the same sessions, as `name`, and its
    interval."""
    return _paired(name, cut_error_difference, "asr", predictions, others)


def accuracy_delta(predictions: Sequence[Prediction], others: Sequence[Prediction], name: str) -> dict[str, float]:
    """How many more answers are right (a share) than others about the same sessions, as `name`, and its interval."""
    return _paired(name, accuracy_difference, "qa", predictions, others)


def _paired(
    name: str, difference: Callable[..., tuple[float, float, float]], task: str, *both: Sequence[Prediction]
) -> dict[str, float]:
    """A difference of a task's predictions of two methods and its interval, as `name`; nothing where one has none."""
    own, others = (of_task(some, task) for some in both)
    if not own or not others:
        return {}
    value, low, high = difference(own, others)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def rounded(row: Row) -> Row:
    """Four digits, and null for what can't be known."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return (None if math.isnan(value) else round(value, 4)) if isinstance(value, float) else value

    return {key: plain(value) for key, value in row.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def quotient(sessions: Iterable[Prediction], above: str, below: str) -> float | None:
    """Sum over sum, of the sessions that know both; None where that is nothing."""
    pairs = [(getattr(one, above), getattr(one, below)) for one in sessions]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    total = sum(b for _, b in known)
    return sum(a for a, _ in known) / total if total else None
