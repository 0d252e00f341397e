"""Pictures of comparisons: error rates over the ratio, after the paper's figure 5, and differences to a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from speech_xl.evaluation.rows import FULL_KV, SSTS, WHISPER, Row


def picture(rows: Sequence[Row], path: Path) -> None:
    """Rates over the ratio; where all rows are of own stages, as of ablations, their differences to the baseline."""
    different = [row for row in rows if row.get("own") and "more_errors" in row]
    if different and all(row.get("own") for row in rows):
        difference_picture(different, path)
    else:
        ratio_picture(rows, path)


def ratio_picture(rows: Sequence[Row], path: Path) -> None:
    """WER, and where questions were asked the paper's figure 5: solid all tasks (1 - WER and answers right, averaged),
    dashed without ASR. Where nothing was transcribed the answers alone."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    spoken, asked = (any(row[key] is not None for row in rows) for key in ("wer", "qa_accuracy"))
    panels = spoken + asked
    figure, (axes,) = plt.subplots(1, panels, figsize=(3 + 5 * panels, 4.8), layout="constrained", squeeze=False)
    names = [name for name in dict.fromkeys(row["method"] for row in rows) if name not in (FULL_KV, WHISPER)]
    for number, name in enumerate(names):
        own = sorted((row for row in rows if row["method"] == name), key=lambda row: row["ratio"])
        ratios, ours = [row["ratio"] for row in own], name.startswith(SSTS)
        style: dict[str, Any] = {
            "color": f"C{number % 10}",
            "lw": 2.5 if ours else 1,
            "marker": "os^v"[number // 10 % 4],
        }
        if spoken:
            axes[0].plot(ratios, [min(1.5, row["wer"]) for row in own], label=name, **style)
        if asked:
            right = [row["qa_accuracy"] or 0.0 for row in own]
            axes[-1].plot(ratios, right, "--" if spoken else "-", label=name, **style)
        if spoken and asked:
            both = [(max(0.0, 1 - row["wer"]) + share) / 2 for row, share in zip(own, right, strict=True)]
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
    plt.close(figure)


def difference_picture(rows: Sequence[Row], path: Path) -> None:
    """Points of WER more than the baseline's, with the interval, and a mark for every seed; a panel a ratio."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row["method"] for row in rows))
    ratios = sorted({row["ratio"] for row in rows})
    figure, (axes,) = plt.subplots(
        1, len(ratios), figsize=(4 * len(ratios), 4.5), sharey=True, layout="constrained", squeeze=False
    )
    for axis, ratio in zip(axes, ratios, strict=True):
        for row in (row for row in rows if row["ratio"] == ratio):
            place, worse = names.index(row["method"]), 100 * row["more_errors"]
            ends = [[worse - 100 * row["more_errors_low"]], [100 * row["more_errors_high"] - worse]]
            axis.errorbar(worse, place, xerr=ends, fmt="o", color="C0", capsize=3)
            seeds = [100 * one for one in row["more_errors_by_seed"]]
            axis.plot(seeds, [place] * len(seeds), "k|", ms=10)
        axis.axvline(0, color="k", lw=0.8)
        axis.set(title=f"{ratio}x", xlabel="points of WER more", yticks=range(len(names)), yticklabels=names)
        axis.grid(alpha=0.3, axis="x")
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=150)
    plt.close(figure)
