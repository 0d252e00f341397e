#!/usr/bin/env python3
"""What listening costs from 30 s to 2 h of audio: FLOPs and KV bytes counted, host memory and time measured.

    python experiments/measurements/efficiency.py            # about a quarter of an hour on two cores
    python experiments/measurements/efficiency.py --quick    # five minutes of audio measured in place of an hour

Counted, after the paper's figure 4: Whisper-small and Qwen2.5-7B at 12.5 Hz with SSTs at 1x to 16x, against
Qwen2.5-Omni-7B at 25 Hz with its full cache. The LLMs' FLOPs come from a FLOP counter over their real sizes on meta
tensors; the same counting is checked against a small model that really runs. Measured: a live source through encoder,
adapter and a SmolLM2-135M of random weights at 16x with compact positions, once in float32 and once in bfloat16, each
in a process of its own.

Writes results/efficiency.json and pictures/efficiency.png to docs or to `--out`.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib
import torch
from tqdm import tqdm

from experiments.measurements.counting import (
    ANSWER,
    INTERVAL,
    RATE,
    Counted,
    counts_agree,
    full_cache,
    omni_tower_flops,
    whisper_flops,
    with_ssts,
)
from experiments.measurements.record import commit_of_tree, out_option, publish, results_and_pictures
from experiments.measurements.sizes import encoder_folder, llm_folder, qwen2_5_7b, smollm2_135m, whisper
from speech_xl import SAMPLE_RATE
from speech_xl.model import LLM, HFEncoder, Listener, SemanticAdapter, SpeechLLM, SSTs

RATIOS = (1, 2, 4, 8, 16)
MINUTES = (0.5, 1, 2, 5, 10, 20, 30, 60, 120)


@torch.no_grad()
def measure(minutes: int, ratio: int, dtype: str) -> dict[str, Any]:
    """A live source, a second at a time: per minute of audio the seconds of compute and the host's peak so far."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as root:
        encoder = HFEncoder(encoder_folder(Path(root) / "encoder", whisper(512, 6, 8)), pretrained=False)
        llm = LLM(llm_folder(Path(root) / "llm", smollm2_135m()), pretrained=False, dtype=dtype)
        model = SpeechLLM(encoder, SemanticAdapter(stride=4), llm)
        model.build()
    model.add_sst(SSTs("full", positions="compact"))
    listener = Listener(model.eval(), ratio, interval_seconds=INTERVAL / RATE)
    seconds, peaks = [], []
    for _ in tqdm(range(minutes), desc=f"listening, {dtype}", unit="min"):
        start = time.process_time()
        for _ in range(60):
            listener.push(0.1 * torch.randn(SAMPLE_RATE))
        seconds.append(time.process_time() - start)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    listener.flush()
    frames = minutes * 60 * RATE
    kept = sum(-(-min(INTERVAL, frames - start) // ratio) for start in range(0, int(frames), INTERVAL))
    wanted = (int(kept) + len(llm.prompt.prefix)) * llm.kv_bytes_per_token()
    return {
        "dtype": dtype,
        "cpu_seconds": seconds,
        "peak_gib": peaks,
        "kv_bytes": listener.memory.bytes,
        "kv_bytes_formula": wanted,
    }


def in_a_process(*arguments: Any) -> dict[str, Any]:
    """`measure` where nothing before it has raised the process's peak."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def counted_flatness(minutes: int, ratio: int) -> float:
    """What `flatness` would be if every FLOP of what is measured took the same time."""
    llm, encoder = Counted(smollm2_135m()), whisper_flops(whisper(512, 6, 8))
    base, slope = llm.line(INTERVAL + INTERVAL // ratio, INTERVAL // ratio)
    an_interval = base + encoder * INTERVAL / RATE
    return flatness([an_interval + slope * minute * 60 * RATE / ratio for minute in range(minutes)])


def flatness(seconds: list[float]) -> float:
    """Compute of the last tenth of the minutes over that of the second tenth, less 1; the first one warms up."""
    tenth = max(1, len(seconds) // 10)
    return sum(seconds[-tenth:]) / sum(seconds[tenth : 2 * tenth]) - 1


def picture(rows: list[dict[str, Any]], measured: list[dict[str, Any]], path: Path) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(12, 6.4), layout="constrained")
    panels = (("prefill", "prefill, PFLOP", 1e15), ("decode", f"an answer of {ANSWER} tokens, TFLOP", 1e12))
    panels += (("kept_bytes", "kept KV, GiB", 2**30), ("peak_bytes", "peak KV, GiB", 2**30))
    for axis, (key, what, unit) in zip(axes.flat, panels, strict=False):
        for name in dict.fromkeys(row["method"] for row in rows):
            mine = [row for row in rows if row["method"] == name]
            style = "k--" if name.startswith("Omni") else "o-"
            axis.plot([row["minutes"] for row in mine], [row[key] / unit for row in mine], style, ms=3, label=name)
        axis.set(xscale="log", yscale="log", xlabel="minutes of audio", ylabel=what)
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=7)
    for run in measured:
        minutes = range(1, len(run["cpu_seconds"]) + 1)
        axes[1, 1].plot(minutes, run["cpu_seconds"], label=run["dtype"])
        axes[1, 2].plot(minutes, run["peak_gib"], label=run["dtype"])
    axes[1, 1].set(ylabel="CPU seconds a minute of audio", ylim=(0, None))
    axes[1, 2].set(ylabel="peak host memory, GiB", ylim=(0, None))
    axes[1, 2].legend(fontsize=7)
    for axis in axes[1, 1:]:
        axis.set(xlabel="minute (measured: SmolLM2-135M, 16x)")
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="measure five minutes of audio, not sixty")
    out_option(parser)
    given = parser.parse_args()
    commit, rows = commit_of_tree(), []
    agree = counts_agree()
    assert abs(agree - 1) < 1e-6, f"counts on meta tensors over counts of a real run: {agree}"
    llm = Counted(qwen2_5_7b())
    small, tower = whisper_flops(whisper(768, 12, 12)), omni_tower_flops()
    for minutes in tqdm(MINUTES, desc="counting", unit="length"):
        for ratio in RATIOS:
            cost = with_ssts(llm, 60 * minutes, ratio, small)
            rows.append({"method": f"Speech-XL {ratio}x", "minutes": minutes, **vars(cost)})
        rows.append({"method": "Omni-7B", "minutes": minutes, **vars(full_cache(llm, 60 * minutes, tower))})
    minutes = 5 if given.quick else 60
    measured = [in_a_process(minutes, 16, dtype) for dtype in ("float32", "bfloat16")]
    by = {(row["method"], row["minutes"]): row for row in rows}
    growth = [run["peak_gib"][-1] / run["peak_gib"][min(9, minutes // 2)] - 1 for run in measured]
    ours, omni = by["Speech-XL 16x", 60], by["Omni-7B", 60]
    summary = {
        "kv_bytes_match_formula": int(all(run["kv_bytes"] == run["kv_bytes_formula"] for run in measured)),
        "host_growth_min10_to_min60": growth[0],
        "host_growth_min10_to_min60_bfloat16": growth[1],
        "compute_flatness": flatness(measured[0]["cpu_seconds"]),
        "compute_flatness_bfloat16": flatness(measured[1]["cpu_seconds"]),
        "compute_flatness_counted": counted_flatness(minutes, 16),
        "kept_bytes_vs_omni_60min_16x": ours["kept_bytes"] / omni["kept_bytes"],
        "prefill_flops_vs_omni_60min_16x": ours["prefill"] / omni["prefill"],
        "kept_vs_1x_60min_16x": ours["kept_bytes"] / by["Speech-XL 1x", 60]["kept_bytes"],
        "counts_meta_over_real": agree,
    }
    results, pictures = results_and_pictures(given.out)
    picture(rows, measured, pictures / "efficiency.png")
    publish(
        __file__,
        summary={k: round(v, 6) for k, v in summary.items()},
        data=f"counted: Qwen2.5-7B's sizes, intervals of {INTERVAL} frames; measured: noise, {minutes} minutes",
        items=len(rows),
        commit=commit,
        folder=results,
        rows=rows,
        measured=measured,
    )


if __name__ == "__main__":
    main()
