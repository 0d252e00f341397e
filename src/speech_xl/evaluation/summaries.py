"""Summaries of a comparison's rows: the figures of its record that say most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from speech_xl.evaluation.rows import FULL_KV, SSTS, WHISPER, Row

FIGURES = {"asr": ("wer", "WER, %"), "qa": ("qa_accuracy", "questions right, %")}  # of a task: key of a row, and unit


def summary_of(rows: Sequence[Row]) -> dict[str, float]:
    """The figures that say most: full KV, SSTs and the best other compressor at each ratio, and rows of own stages."""
    methods = [row for row in rows if not row.get("own")]
    at = {(row["method"], row["ratio"]): row for row in methods}
    found: dict[str, float | None] = {"methods": len({row["method"] for row in rows})}
    for key, name, best in (("wer", "wer", min), ("qa_accuracy", "qa", max)):
        found[f"{name}_1x"] = at.get((FULL_KV, 1), {}).get(key)
        for ratio in (4, 8, 16):
            found[f"sst_{name}_{ratio}x"] = at.get((SSTS, ratio), {}).get(key)
            others = [row for row in methods if row["ratio"] == ratio and not row["method"].startswith(SSTS)]
            rates = [row[key] for row in others if row.get(key) is not None]
            found[f"best_baseline_{name}_{ratio}x"] = best(rates, default=None)
    found["whisper_wer"] = at.get((WHISPER, 1), {}).get("wer")
    found["sst_wer_cut_8x"] = at.get((SSTS, 8), {}).get("wer_cut")
    for row in rows:
        if row.get("own"):
            slug = row["method"].replace(" ", "_")
            found |= {f"{slug}_{key}_{row['ratio']}x": row.get(key) for key in ("wer_cut", "qa_accuracy")}
    known = {name: value for name, value in found.items() if value is not None and not math.isnan(value)}
    return {name: round(value, 4) for name, value in known.items()}


def chosen_summary(rows: Sequence[Row], chosen: Mapping[str, str], task: str, split: str) -> dict[str, Any]:
    """`Comparison.summary` as figures: for key "sst" of a row "SSTs" `sst_4x` and so on, in percent, means over seeds.

    Also `seeds`, how many every chosen row has, and `split`. A figure that isn't known is left out.

    task: whose figure is taken, a key of `FIGURES`.
    """
    figure, _ = FIGURES[task]
    found: dict[str, Any] = {}
    for key, name in chosen.items():
        for row in (row for row in rows if row["method"] == name):
            values = row.get(f"{figure}_by_seed") or []
            if values and None not in values:
                found[f"{key}_{row['ratio']}x"] = round(100 * mean(values), 2)
            found["seeds"] = row["seeds"]
    return {key: found[key] for key in sorted(found, key="seeds".__eq__)} | {"split": split}


def best_training_free(rows: Sequence[Row], task: str) -> dict[str, dict[str, Any]]:
    """The best method at each ratio ("4x") that runs on the weights trained without compression and doesn't see the
    question before it drops KV: its name and rate, a share. It is the best on the sessions of the table itself."""
    figure, _ = FIGURES[task]
    free = [
        row
        for row in rows
        if row.get("weights") == "base" and not (row.get("own") or row.get("needs_question"))
        if row["method"] != FULL_KV
    ]
    found = {}
    for ratio in sorted({row["ratio"] for row in free}):
        known = [row for row in free if row["ratio"] == ratio and row.get(figure) is not None]
        if known:
            best = (min if task == "asr" else max)(known, key=lambda row: row[figure])
            found[f"{ratio}x"] = {"method": best["method"], figure: best[figure]}
    return found
