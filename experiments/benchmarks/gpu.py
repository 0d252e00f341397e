#!/usr/bin/env python3
"""What one GPU makes of the suite: training steps with SmolLM2-135M's shape, an hour of listening with Qwen2.5-7B's.

    python experiments/benchmarks/gpu.py            # on an H200, some six minutes
    python experiments/benchmarks/gpu.py --quick    # small shapes; runs on a CPU too, without FlexAttention

Random weights and frames, intervals of 50 frames at 12.5 Hz. Training is forward and backward under bfloat16 autocast
with all weights trained, SSTs at 8x and an answer as long as a transcript; peak memory is counted beyond the weights.
Listening is in bfloat16, interval by interval, as in use; what is said at 10 minutes is read off on the way to 60. A
figure is null where it failed, out of memory say; the row says how. Needs the `test` extra. Writes
docs/results/gpu.json and docs/pictures/gpu.png.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, SuppressTokensLogitsProcessor

from experiments.benchmarks.record import DOCS, commit_of_tree, publish, results_and_pictures
from experiments.benchmarks.sizes import llm_folder, qwen2_5_7b, smollm2_135m
from experiments.benchmarks.training_speed import ANSWER
from speech_xl.model import LLM, Adapter, Encoder, SpeechLLM, SSTs, speech_llm
from speech_xl.model.attention import block_mask, pieces
from speech_xl.model.layout import Layout, LayoutBatch
from speech_xl.model.memory import KVMemory
from speech_xl.model.prompt import IGNORE, Suffix
from speech_xl.model.speech import Speech
from tests.model.two_paths import streamed

RATE, INTERVAL, RATIO = 12.5, 50, 8
MINUTE = round(60 * RATE)  # frames
ANSWERED = 150  # tokens a minute
FLEX, BY_INTERVAL, PLAIN = "FlexAttention", "by interval", "plain tokens"
PIECES = {"SDPA, pieces of 128": 128, "SDPA, pieces of 1024": 1024}
METHODS = (FLEX, *PIECES, BY_INTERVAL, PLAIN)
SHAPES = ((16, 1), (4, 5), (1, 20), (1, 60))  # rows, minutes
FEW_INTERVALS = 5  # minutes; back-propagation by interval isn't tried beyond
VARYING = (800, 1200, 850, 1150, 900, 1100, 950, 1050)  # frames, one step each
CAP, REPEATS = 5.0, 10  # seconds and steps of a cell
LISTENED = (None, 8, 16)  # ratios
PART, PARTS = 10, 6  # minutes, and how many of them
DECODED = 64  # tokens


def gib(size: float) -> float:
    return round(size / 2**30, 3)


def now(device: torch.device) -> float:
    """Seconds, once all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def begin(device: torch.device) -> int:
    """Let go of what can be and count the peak anew; bytes still held."""
    gc.collect()
    if device.type != "cuda":
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def peak(device: torch.device) -> int:
    """Most bytes held since `begin`; 0 where nobody counts."""
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else 0


def made(config: PreTrainedConfig, device: torch.device, dtype: str, sst: SSTs) -> SpeechLLM:
    """A backbone for speech frames, its random weights made where they stay."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, torch.device(device):
        model = SpeechLLM(Encoder(), Adapter(), LLM(llm_folder(Path(folder), config), pretrained=False, dtype=dtype))
        model.llm.build()
        model.add_sst(sst)
    return model


# Training


class Bench:
    """A model and the ways to take a step with it."""

    def __init__(self, config: PreTrainedConfig, device: torch.device) -> None:
        self.device = device
        self.model = made(config, device, "float32", SSTs("full"))
        own = deepcopy(self.model.llm.model.config)  # a config remembers the attention of the model last made of it
        with torch.device(device):
            self.plain = AutoModelForCausalLM.from_config(own, attn_implementation="sdpa")

    def speech(self, rows: int, frames: int) -> Speech:
        intervals = [min(INTERVAL, frames - start) for start in range(0, frames, INTERVAL)]
        noise = torch.randn(rows, frames, self.model.llm.width, device=self.device) * 0.1
        return Speech(noise, torch.full((rows,), frames, device=self.device), [intervals] * rows)

    def suffix(self, frames: int) -> Suffix:
        """A question, and an answer as long as what is said in so many frames."""

        def said(times: int) -> Suffix:
            return self.model.llm.prompt.training([("transcribe the speech", ANSWER * times)])

        each = len(said(2).ids) - len(said(1).ids)
        return said(max(1, round(ANSWERED * frames / MINUTE / each)))

    def layouts(self, speech: Speech, suffix: Suffix) -> list[Layout]:
        return self.model.layouts(speech, speech.throughout(RATIO), [len(suffix.ids)] * len(speech))

    def loss(self, method: str, speech: Speech, suffix: Suffix) -> Tensor:
        told = speech, speech.throughout(RATIO), [suffix] * len(speech)
        if method == PLAIN:
            return self.plain_tokens(len(speech), len(self.layouts(speech, suffix)[0]), suffix)
        if method == BY_INTERVAL:
            return streamed(self.model, *told)
        self.model.llm.attention = "sdpa" if method in PIECES else "flex"
        with patch.object(speech_llm, "pieces", partial(pieces, size=PIECES.get(method, 0))):
            return self.model(*told).loss_sum

    def plain_tokens(self, rows: int, tokens: int, suffix: Suffix) -> Tensor:
        """As many tokens through the LLM as Hugging Face runs it: causal, no SSTs, no mask of ours."""
        ids, labels = torch.tensor([suffix.ids, suffix.labels], device=self.device)
        embedded = self.plain.get_input_embeddings()(ids).expand(rows, -1, -1)
        before = torch.randn(rows, tokens - len(ids), embedded.shape[2], device=self.device) * 0.1
        embeds = torch.cat([before, embedded], dim=1)
        hidden = self.plain.get_decoder()(inputs_embeds=embeds, use_cache=False).last_hidden_state
        target = labels[1:]
        where = target != IGNORE
        logits = self.plain.get_output_embeddings()(hidden[:, -len(ids) : -1][:, where])
        return cross_entropy(logits.float().flatten(0, 1), target[where].repeat(rows), reduction="sum")

    def step(self, method: str, speech: Speech, suffix: Suffix) -> float:
        """One forward and backward pass; the loss."""
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = self.loss(method, speech, suffix)
        loss.backward()
        self.clear()
        return loss.item()

    def clear(self) -> None:
        for model in (self.model, self.plain):
            model.zero_grad(set_to_none=True)


def steps(step: Callable[[], float], device: torch.device) -> dict[str, Any]:
    """Median of a step that is repeated for CAP seconds at most, after one that warms up, and its memory."""
    held = begin(device)
    try:
        start = now(device)
        loss = step()
        first = now(device) - start
        seconds: list[float] = []
        while len(seconds) < REPEATS and (not seconds or sum(seconds) < CAP):
            start = now(device)
            step()
            seconds.append(now(device) - start)
    except RuntimeError as error:  # out of memory, or no kernel: the other cells are worth as much
        return {"ms": None, "failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    return {
        "ms": round(1000 * statistics.median(seconds), 2),
        "first_ms": round(1000 * first, 1),
        "steps": len(seconds),
        "peak_gib": gib(peak(device) - held),
        "loss": loss,
    }


def methods(device: torch.device) -> list[str]:
    """FlexAttention has no backward on a CPU."""
    return [method for method in METHODS if method != FLEX or device.type == "cuda"]


def varying(bench: Bench, lengths: tuple[int, ...], rows: int) -> list[dict[str, Any]]:
    """A step of each length, and the graphs compiled for it: they must come to an end."""
    method, found = methods(bench.device)[0], []
    for frames in tqdm(lengths, desc="varying lengths", unit="step"):
        speech, suffix = bench.speech(rows, frames), bench.suffix(frames)
        before = counters["stats"]["unique_graphs"]
        start = now(bench.device)
        bench.step(method, speech, suffix)
        seconds = now(bench.device) - start
        graphs = counters["stats"]["unique_graphs"] - before
        found.append({"method": method, "frames": frames, "ms": round(1000 * seconds, 1), "graphs": graphs})
    return found


def cells(bench: Bench, shapes: tuple[tuple[int, float], ...]) -> list[dict[str, Any]]:
    """Every method at every shape."""
    found = []
    plan = [(r, m, how) for r, m in shapes for how in methods(bench.device) if how != BY_INTERVAL or m <= FEW_INTERVALS]
    for rows, minutes, method in tqdm(plan, desc="training", unit="cell"):
        frames = round(minutes * MINUTE)
        speech, suffix = bench.speech(rows, frames), bench.suffix(frames)
        row = {"method": method, "rows": rows, "minutes": minutes, "tokens": len(bench.layouts(speech, suffix)[0])}
        row |= steps(partial(bench.step, method, speech, suffix), bench.device)
        bench.clear()  # a step that failed has left its gradients
        row["audio_seconds_a_second"] = row["ms"] and round(60_000 * rows * minutes / row["ms"], 1)
        found.append(row)
    return found


def masking(bench: Bench, minutes: float) -> dict[str, Any]:
    """FlexAttention's mask alone, which is part of each of its steps: its time and memory."""
    frames = round(minutes * MINUTE)
    layout = LayoutBatch.collate(bench.layouts(bench.speech(1, frames), bench.suffix(frames)), bench.device)
    kept = layout.kept()

    def make() -> float:
        return float(block_mask(layout, kept).sparsity())

    row = steps(make, bench.device)
    row["percent_left_out"] = row.pop("loss", None)
    return {"minutes": minutes, "queries": layout.kind.shape[1], "keys": layout.kind.shape[1] + kept.shape[1], **row}


def training(config: PreTrainedConfig, shapes: tuple, lengths: tuple[int, ...], device: torch.device) -> dict[str, Any]:
    bench = Bench(config, device)
    # The lengths come first, where nothing is compiled yet.
    return {
        "varying": varying(bench, lengths, rows=4),
        "cells": cells(bench, shapes),
        "mask": masking(bench, max(minutes for _, minutes in shapes)),
    }


# Listening


def decode_speed(model: SpeechLLM, memory: KVMemory, tokens: int) -> float:
    """Tokens a second behind this memory: what an answer of so many takes, less what one of a single token takes."""
    never = SuppressTokensLogitsProcessor([model.llm.prompt.end_id], device=str(model.device))

    def took(limit: int) -> float:
        start = now(model.device)
        model.answer(memory, [0], ["how many speakers are there"], [limit], [never])
        return now(model.device) - start

    one = took(1)
    return (tokens - 1) / (took(tokens) - one)


@torch.no_grad()
def listen(model: SpeechLLM, ratio: int | None, part: int, parts: int, decoded: int) -> dict[str, Any]:
    """`parts` stretches of `part` intervals; seconds of each, and what is kept after the first and the last."""
    device, seconds, marks = model.device, [], []
    begin(device)
    memory = model.start(1)
    most = 0
    for number in tqdm(range(parts), desc=f"listening, ratio {ratio or 1}", unit="part"):
        start = now(device)
        for _ in range(part):
            frames = torch.randn(1, INTERVAL, model.llm.width, device=device) * 0.1
            model.hear(memory, frames, [INTERVAL], [ratio])
        seconds.append(now(device) - start)
        most = max(most, peak(device))
        if number in (0, parts - 1):
            mark = {"minutes": (number + 1) * part * INTERVAL / MINUTE, "prefill_seconds": round(sum(seconds), 3)}
            mark |= {"kept_tokens": int(memory.kept[0]), "kept_gib": memory.bytes / 2**30, "peak_gib": gib(most)}
            marks.append(mark | {"tokens_a_second": round(decode_speed(model, memory, decoded), 2)})
            begin(device)  # the copy that was asked doesn't count
    return {"ratio": ratio or 1, "part_seconds": [round(s, 3) for s in seconds], "marks": marks}


def listening(
    config: PreTrainedConfig, part: int, parts: int, decoded: int, device: torch.device
) -> tuple[list[dict[str, Any]], float]:
    """Of every ratio what `listen` found, and the weights' GiB."""
    before = begin(device)
    model = made(config, device, "bfloat16", SSTs("full", positions="compact")).eval().requires_grad_(False)
    weights = gib(begin(device) - before)
    listen(model, RATIO, 1, 1, 2)  # warms up
    return [listen(model, ratio, part, parts, decoded) for ratio in LISTENED], weights


# What was found


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
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of results and pictures (docs)")
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
