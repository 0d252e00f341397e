#!/usr/bin/env python3
"""A training step in one pass, against back-propagation interval by interval, and against plain tokens without SSTs.

    python experiments/measurements/training_speed.py            # SmolLM2-135M's shape, 1,500 frames
    python experiments/measurements/training_speed.py --quick    # four layers of it, under two minutes

Same model (random weights), same frames, same ratio, same loss; forward and backward. The three take turns, so that a
machine that slows down slows them all. Peak memory is measured in a process for each.
Writes results/training_speed.json and pictures/training_speed.png to docs or to `--out`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import matplotlib
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import AutoModelForCausalLM

from experiments.measurements.record import ROOT, commit_of_tree, out_option, publish, results_and_pictures
from experiments.measurements.sizes import smollm2_135m, speech_llm_of
from speech_xl.model import SSTs
from speech_xl.model.positions import Kind
from speech_xl.model.prompt import IGNORE
from speech_xl.model.speech import Speech
from speech_xl.run.arguments import whole_number

ANSWER = "hello this is anna speaking from paris " * 8  # what the loss is taken on
METHODS = ("one pass", "by interval", "plain tokens")


class Bench:
    """One sample of `frames` speech frames in intervals of `width`, and the three ways to take a step on it."""

    def __init__(self, layers: int, frames: int, width: int, ratio: int) -> None:
        self.model = speech_llm_of(smollm2_135m(layers, 2048), torch.device("cpu"), "float32", SSTs("full"))
        llm = self.model.llm
        own = deepcopy(llm.model.config)  # a config remembers the attention of the model last made of it
        self.plain = AutoModelForCausalLM.from_config(own, attn_implementation="sdpa")
        self.plain.load_state_dict(llm.model.state_dict())
        intervals = [width] * (frames // width) + ([frames % width] if frames % width else [])
        speech = torch.randn(1, frames, llm.width) * 0.1
        self.speech = Speech(speech, torch.tensor([frames]), [intervals])
        self.ratios = [[ratio] * len(intervals)]
        self.suffix = llm.prompt.training([("transcribe the speech", ANSWER)])
        (layout,) = self.model.layouts(self.speech, self.ratios, [len(self.suffix.ids)])
        self.tokens = len(layout)

    def step(self, method: str) -> float:
        """One forward and backward pass; the loss."""
        loss = {"one pass": self.one_pass, "by interval": self.by_interval, "plain tokens": self.plain_tokens}[method]()
        loss.backward()
        for model in (self.model, self.plain):
            model.zero_grad(set_to_none=True)
        return loss.item()

    def one_pass(self) -> Tensor:
        return self.model(self.speech, self.ratios, [self.suffix]).loss_sum

    def by_interval(self) -> Tensor:
        """The memory, with gradients through all of it, then the answer behind it."""
        memory = self.model.prefill(self.speech, self.ratios)
        ids = torch.tensor([self.suffix.ids])
        kind = torch.full_like(ids, Kind.SUFFIX)
        position = memory.position[:, None] + torch.arange(ids.shape[1])
        hidden = self.model.decode(self.model.llm.embedding(ids), kind, position, memory.step_mask(kind), memory)
        return self._loss(self.model.llm.logits(hidden[0, :-1]))

    def plain_tokens(self) -> Tensor:
        """As many tokens through the LLM as Hugging Face runs it: causal, no SSTs, no mask of ours."""
        before = torch.randn(1, self.tokens - len(self.suffix.ids), self.model.llm.width) * 0.1
        embeds = torch.cat([before, self.plain.get_input_embeddings()(torch.tensor([self.suffix.ids]))], dim=1)
        hidden = self.plain.get_decoder()(inputs_embeds=embeds, use_cache=False).last_hidden_state
        return self._loss(self.plain.get_output_embeddings()(hidden[0, -len(self.suffix.ids) : -1]))

    def _loss(self, logits: Tensor) -> Tensor:
        target = torch.tensor(self.suffix.labels[1:])
        return cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")


def times(bench: Bench, repeats: int, tick: Callable[[], object]) -> dict[str, list[float]]:
    """Seconds of every step, the methods taking turns; one step of each before the clock runs."""
    losses = {method: bench.step(method) for method in METHODS}
    assert abs(losses["one pass"] / losses["by interval"] - 1) < 1e-4, f"they must compute the same: {losses}"
    found: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(repeats):
        for method in METHODS:
            start = time.perf_counter()
            bench.step(method)
            found[method].append(time.perf_counter() - start)
            tick()
    return found


def peak_gib(layers: int, frames: int, width: int, ratio: int, method: str) -> float:
    """Memory a step takes beyond the model, GiB: a process's peak during it, less what it held before (Linux)."""
    command = [sys.executable, __file__, "--peak", *map(str, (layers, frames, width, ratio)), method]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return float(done.stdout.split()[-1])


def print_peak(layers: str, frames: str, width: str, ratio: str, method: str) -> None:
    bench = Bench(int(layers), int(frames), int(width), int(ratio))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew here, after loading and building
    before = held("VmRSS")
    bench.step(method)
    print((held("VmHWM") - before) / 2**20)


def held(what: str) -> int:
    """A line of the process's own status, KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(what)))


def ratio_of(rows: dict[str, list[float]], over: str, under: str) -> float:
    """Median of the ratios of neighbouring steps: what slows both counts for neither."""
    return statistics.median(a / b for a, b in zip(rows[over], rows[under], strict=True))


def picture(rows: list[dict], path: Path) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for method in METHODS:
        points = [(f"{r['width']}\n{r['frames']}", r) for r in rows]
        axes[0].plot([p for p, _ in points], [statistics.median(r["seconds"][method]) for _, r in points], "o-")
        axes[1].plot([p for p, _ in points], [r["peak_gib"][method] for _, r in points], "o-", label=method)
    for axis, what in zip(axes, ("seconds a step (median)", "peak memory of a step, GiB"), strict=True):
        axis.set(xlabel="frames an interval / frames in all", ylabel=what, ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[1].legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--layers", type=whole_number(), default=30, help="decoder layers (%(default)s, as SmolLM2-135M)"
    )
    parser.add_argument("--frames", type=whole_number(), nargs="+", default=[1500], help="speech frames (%(default)s)")
    parser.add_argument(
        "--widths", type=whole_number(), nargs="+", default=[50, 125], help="frames an interval (%(default)s)"
    )
    parser.add_argument("--ratio", type=whole_number(), default=4, help="frames an SST (%(default)s)")
    parser.add_argument("--repeats", type=whole_number(), default=5, help="steps of each (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="four layers, two steps of each")
    parser.add_argument("--peak", nargs=5, metavar="X", help=argparse.SUPPRESS)
    out_option(parser)
    given = parser.parse_args()
    if given.peak:
        return print_peak(*given.peak)
    if given.quick:
        given.layers, given.repeats = 4, 2
    commit, rows = commit_of_tree(), []
    plan = [(frames, width) for frames in given.frames for width in given.widths]
    with tqdm(total=len(plan) * given.repeats * len(METHODS), unit="step") as bar:
        for frames, width in plan:
            bar.set_description(f"{frames} frames, intervals of {width}")
            seconds = times(Bench(given.layers, frames, width, given.ratio), given.repeats, bar.update)
            peaks = {m: peak_gib(given.layers, frames, width, given.ratio, m) for m in METHODS}
            rows.append({"frames": frames, "width": width, "seconds": seconds, "peak_gib": peaks})
    longest = {r["width"]: r["seconds"] for r in rows if r["frames"] == max(given.frames)}
    summary = {f"speedup_w{width}": ratio_of(s, "by interval", "one pass") for width, s in longest.items()}
    overheads = [ratio_of(s, "one pass", "plain tokens") - 1 for s in longest.values()]
    summary["sst_overhead"] = statistics.median(overheads)
    results, pictures = results_and_pictures(given.out)
    picture(rows, pictures / "training_speed.png")
    publish(
        __file__,
        summary={k: round(v, 4) for k, v in summary.items()},
        data=f"random frames through a Llama of SmolLM2-135M's shape, {given.layers} layers, ratio {given.ratio}",
        items=given.repeats,
        commit=commit,
        folder=results,
        threads=torch.get_num_threads(),
        rows=rows,
    )


if __name__ == "__main__":
    main()
