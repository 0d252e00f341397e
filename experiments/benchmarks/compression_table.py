"""The table of compression.py: rows out of answers, what the targets are about, the picture of the paper's figure 5."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

from speech_xl.evaluation.compressors import Uncompressed
from speech_xl.evaluation.metrics import (
    Rate,
    accuracy,
    accuracy_difference,
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
WHISPER = "Whisper's own decoder"


def row_of(method: str, ratio: int, records: list[Prediction], about: dict[str, Any]) -> dict[str, Any]:
    """One row of the table: rates with bootstrap intervals over sessions, means of bytes and seconds over sessions.

    Where transcripts have time marks beyond a minute, also the WER of each minute, `wer_minute_1` and so on.
    """
    spoken = [r for r in records if r.task == "asr"]
    asked = [r for r in records if r.task == "qa"]
    sessions = {r.cut_id: r for r in reversed(spoken or asked)}.values()  # the first answer of each
    row: dict[str, Any] = {"method": method, "ratio": ratio}
    for name in ("kept_kv_bytes", "peak_kv_bytes", "prefill_seconds", "decode_seconds"):
        known = [getattr(r, name) for r in sessions if getattr(r, name) is not None]
        row[name] = sum(known) / len(known) if known else None
    rates: dict[str, Rate | None] = {
        "wer": error_rate(spoken) if spoken else None,
        "wer_cut": cut_error_rate(spoken) if spoken else None,
        "qa_accuracy": accuracy(asked) if asked else None,
    }
    attributes = [r for r in asked if r.kind in ATTRIBUTES]
    rates["attribute_accuracy"] = accuracy(attributes) if attributes else None
    minutes = {minute: rate for minute, rate in error_rate_by_time(spoken).items() if rate.words}
    if len(minutes) > 1:
        rates |= {f"wer_minute_{minute + 1}": rate for minute, rate in minutes.items()}
    for name, rate in rates.items():
        row[name] = None if rate is None else rate.value
        if rate is not None:
            row[f"{name}_low"], row[f"{name}_high"] = rate.low, rate.high
    for kind in sorted({r.kind for r in asked}):
        row[f"right_{kind}"] = accuracy(r for r in asked if r.kind == kind).value
    if spoken:
        row["unit"] = " and ".join(sorted({unit_of(r) for r in spoken}, reverse=True))
    return row | {"normaliser": NORMALISER_VERSION, "items": len(records), "sessions": len(sessions)} | about


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Four digits, and null for what can't be told."""
    floats = {key: value for key, value in row.items() if isinstance(value, float)}
    return row | {key: None if math.isnan(value) else round(value, 4) for key, value in floats.items()}


def wer_delta(records: list[Prediction], others: list[Prediction]) -> dict[str, float]:
    """How much higher the WER (cut) of some transcripts is than of others about the same sessions; its interval."""
    return _paired("more_errors", cut_error_difference, "asr", records, others)


def accuracy_delta(records: list[Prediction], others: list[Prediction], name: str) -> dict[str, float]:
    """How many more answers are right (a share) than others about the same sessions, as `name`, and its interval."""
    return _paired(name, accuracy_difference, "qa", records, others)


def _paired(
    name: str, difference: Callable[..., tuple[float, float, float]], task: str, *both: Any
) -> dict[str, float]:
    """A difference of a task's records of two methods and its interval, as `name`; nothing where one has none."""
    mine, others = ([r for r in some if r.task == task] for some in both)
    if not mine or not others:
        return {}
    value, low, high = difference(mine, others)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def summary_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The figures that the targets are about."""
    at = {(row["method"], row["ratio"]): row for row in rows}
    found: dict[str, float | None] = {"methods": len({row["method"] for row in rows})}
    for key, name, best in (("wer", "wer", min), ("qa_accuracy", "qa", max)):
        found[f"{name}_1x"] = at.get((FULL_KV, 1), {}).get(key)
        for ratio in (4, 8, 16):
            found[f"sst_{name}_{ratio}x"] = at.get(("SSTs", ratio), {}).get(key)
            others = [row for row in rows if row["ratio"] == ratio and not row["method"].startswith("SSTs")]
            rates = [row[key] for row in others if row.get(key) is not None]
            found[f"best_baseline_{name}_{ratio}x"] = best(rates, default=None)
    found["whisper_wer"] = at.get((WHISPER, 1), {}).get("wer")
    found["sst_wer_cut_8x"] = at.get(("SSTs", 8), {}).get("wer_cut")
    return {name: round(value, 4) for name, value in found.items() if value is not None}


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """WER, and where questions were asked the paper's figure 5: solid all tasks (1 - WER and answers right, averaged),
    dashed without ASR. Where nothing was transcribed the answers alone."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    spoken, asked = (any(row[key] is not None for row in rows) for key in ("wer", "qa_accuracy"))
    panels = spoken + asked
    figure, (axes,) = plt.subplots(1, panels, figsize=(3 + 5 * panels, 4.8), layout="constrained", squeeze=False)
    names = [name for name in dict.fromkeys(row["method"] for row in rows) if name not in (FULL_KV, WHISPER)]
    for number, name in enumerate(names):
        mine = sorted((row for row in rows if row["method"] == name), key=lambda row: row["ratio"])
        ratios, ours = [row["ratio"] for row in mine], name.startswith("SSTs")
        style: dict[str, Any] = {"color": f"C{number % 10}", "lw": 2.5 if ours else 1, "marker": "os^v"[number // 10]}
        if spoken:
            axes[0].plot(ratios, [min(1.5, row["wer"]) for row in mine], label=name, **style)
        if asked:
            right = [row["qa_accuracy"] or 0.0 for row in mine]
            axes[-1].plot(ratios, right, "--" if spoken else "-", label=name, **style)
        if spoken and asked:
            both = [(max(0.0, 1 - row["wer"]) + share) / 2 for row, share in zip(mine, right, strict=True)]
            axes[-1].plot(ratios, both, **style)
    for whole in (row for row in rows if row["method"] == FULL_KV):
        for axis, key in ((axes[0], "wer"), (axes[-1], "qa_accuracy")):
            if whole[key] is not None:
                axis.axhline(whole[key], color="k", ls=":", label=FULL_KV)
    if spoken:
        axes[0].set(ylabel="WER (at most 1.5 shown)")
    if asked:
        axes[-1].set(ylabel="solid: (1 - WER + right) / 2; dashed: right" if spoken else "answers right")
    ticks = [1, 2, 4, 8, 16]
    for axis in axes:
        axis.set(xscale="log", xlabel="frames a kept KV token", xticks=ticks, xticklabels=ticks)
        axis.grid(alpha=0.3)
    where: Any = "outside right"  # newer than matplotlib's own type
    figure.legend(*axes[0].get_legend_handles_labels(), loc=where, fontsize=8)
    figure.savefig(path, dpi=150)


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
