#!/usr/bin/env python3
"""What one GPU makes of the suite: training steps with SmolLM2-135M's shape, an hour of listening with Qwen2.5-7B's.

    python experiments/measurements/gpu.py            # some minutes of a GPU; none has run it yet
    python experiments/measurements/gpu.py --quick    # small shapes; runs on a CPU too, without FlexAttention

Random weights and frames, intervals of 50 frames at 12.5 Hz. Training is forward and backward under bfloat16 autocast
with all weights trained, SSTs at 8x and an answer as long as a transcript; peak memory is counted beyond the weights.
Listening is in bfloat16, interval by interval, as in use; what is said at 10 minutes is read off on the way to 60. A
figure is null where it failed, out of memory say; the row says how. Needs the `test` extra. Writes
docs/results/gpu.json and docs/pictures/gpu.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import torch
from transformers import LlamaConfig

from experiments.measurements.device import begin
from experiments.measurements.gpu_listening import listening
from experiments.measurements.gpu_training import INTERVAL, METHODS, MINUTE, training
from experiments.measurements.record import commit_of_tree, out_option, publish, results_and_pictures
from experiments.measurements.sizes import qwen2_5_7b, smollm2_135m

SHAPES = ((16, 1), (4, 5), (1, 20), (1, 60))  # rows, minutes
VARYING = (800, 1200, 850, 1150, 900, 1100, 950, 1050)  # frames, one step each
PART, PARTS = 10, 6  # minutes, and how many of them
DECODED = 64  # tokens


def summary_of(trained: dict[str, Any], listened: list[dict[str, Any]]) -> dict[str, float]:
    """Plain numbers by name; what failed is left out."""
    found: dict[str, float] = {}
    for row in trained.get("cells", []):
        name = f"{row['method'].replace(',', '').replace(' ', '_').lower()}_{row['rows']}x{row['minutes']:g}min"
        if row["ms"] is not None:
            found |= {f"{name}_ms": row["ms"], f"{name}_peak_gib": row["peak_gib"]}
    if trained:
        found["compiling_ms"] = trained["varying"][0]["ms"]
        found["last_of_varying_lengths_ms"] = trained["varying"][-1]["ms"]
    for run in listened:
        for mark in run["marks"]:
            name = f"listen_{mark['minutes']:g}min_{run['ratio']}x"
            found |= {f"{name}_seconds": mark["prefill_seconds"], f"{name}_kept_gib": round(mark["kept_gib"], 4)}
            found |= {f"{name}_peak_gib": mark["peak_gib"], f"{name}_tokens_a_second": mark["tokens_a_second"]}
    return found


def table(trained: dict[str, Any], listened: list[dict[str, Any]]) -> str:
    lines = []
    for row in trained.get("cells", []):
        what = f"{row['ms']:9.1f} ms {row['peak_gib']:7.2f} GiB" if row["ms"] is not None else row["failed"]
        lines.append(f"{row['rows']:2} x {row['minutes']:g} min  {row['method']:22} {what}")
    for row in trained.get("varying", []):
        lines.append(f"{row['frames']:5} frames, 4 rows: {row['ms']:9.1f} ms, {row['graphs']} compiled")
    if trained:
        mask = trained["mask"]
        what = f"{mask['ms']:.1f} ms {mask['peak_gib']:.2f} GiB" if mask["ms"] is not None else mask["failed"]
        lines.append(f"FlexAttention's mask alone, {mask['queries']} queries: {what}")
    for run in listened:
        for mark in run["marks"]:
            lines.append(
                f"{mark['minutes']:3g} min heard at {run['ratio']:2}x: {mark['prefill_seconds']:7.1f} s, kept "
                f"{mark['kept_gib']:.3f} GiB, peak {mark['peak_gib']:.2f} GiB, {mark['tokens_a_second']:.1f} tokens/s"
            )
    return "\n".join(lines)


def picture(trained: dict[str, Any], listened: list[dict[str, Any]], path: Path) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 6.6), layout="constrained")
    for key, axis, what in (
        ("audio_seconds_a_second", axes[0, 0], "training: seconds of audio a second"),
        ("peak_gib", axes[0, 1], "memory of a training step, GiB"),
    ):
        for method in METHODS:
            mine = [row for row in trained.get("cells", []) if row["method"] == method and row["ms"] is not None]
            places = [f"{row['rows']} x {row['minutes']:g} min" for row in mine]
            axis.plot(places, [row[key] for row in mine], "o-", label=method)
        axis.set(ylabel=what, ylim=(0, None))
    for run in listened:
        ends = [mark["minutes"] for mark in run["marks"]]
        minutes = [ends[0] * (number + 1) for number in range(len(run["part_seconds"]))]
        label = f"{run['ratio']}x" if run["ratio"] > 1 else "uncompressed"
        axes[1, 0].plot(minutes, run["part_seconds"], "o-", label=label)
        kept = [mark["kept_gib"] for mark in run["marks"]]
        axes[1, 1].plot(kept, [mark["tokens_a_second"] for mark in run["marks"]], "o-", label=label)
    axes[1, 0].set(xlabel="minutes heard", ylabel="seconds for the latest part", ylim=(0, None))
    axes[1, 1].set(xlabel="kept KV, GiB", ylabel="tokens a second, answering", ylim=(0, None))
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    for axis in (axes[0, 0], axes[1, 0]):
        if axis.has_data():
            axis.legend(fontsize=7)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def small() -> LlamaConfig:
    """Two layers that a CPU runs in no time."""
    config = smollm2_135m(2, 2048)
    config.hidden_size, config.intermediate_size, config.num_attention_heads, config.num_key_value_heads = 64, 96, 4, 2
    config.head_dim = 16
    return config


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small shapes, to see that it runs")
    parser.add_argument("--only", choices=["training", "listening"], help="this section alone")
    out_option(parser)
    given = parser.parse_args(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not given.quick:
        parser.error("no GPU here; --quick runs small shapes on a CPU")
    commit, trained, listened, weights = commit_of_tree(), {}, [], 0.0
    results, pictures = results_and_pictures(given.out)
    if given.only != "listening":
        plan = (small(), ((2, 0.2), (1, 0.5)), (60, 90)) if given.quick else (smollm2_135m(), SHAPES, VARYING)
        trained = training(*plan, device)
        begin(device)
    if given.only != "training":
        plan = (small(), 2, 2, 16) if given.quick else (qwen2_5_7b(), PART * MINUTE // INTERVAL, PARTS, DECODED)
        listened, weights = listening(*plan, device)
    picture(trained, listened, pictures / "gpu.png")
    publish(
        __file__,
        summary=summary_of(trained, listened),
        data="random weights and frames, intervals of 50 frames at 12.5 Hz" + (", small shapes" if given.quick else ""),
        items=len(trained.get("cells", [])) + len(listened),
        commit=commit,
        folder=results,
        weights_gib=weights,
        training=trained,
        listening=listened,
    )
    print(table(trained, listened))


if __name__ == "__main__":
    main()
