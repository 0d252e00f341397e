#!/usr/bin/env python3
"""What listening costs from 30 s to 2 h of audio: FLOPs and KV bytes counted, host memory and time measured.

    python experiments/benchmarks/efficiency.py            # about a quarter of an hour on two cores
    python experiments/benchmarks/efficiency.py --quick    # five minutes of audio measured in place of an hour

Counted, after the paper's figure 4: Whisper-small and Qwen2.5-7B at 12.5 Hz with SSTs at 1x to 16x, against
Qwen2.5-Omni-7B at 25 Hz with its full cache. The LLMs' FLOPs come from a FLOP counter over their real sizes on meta
tensors; the same counting is checked against a small model that really runs. Measured: a live source through encoder,
adapter and a SmolLM2-135M of random weights at 16x with compact positions, once in float32 and once in bfloat16, each
in a process of its own.

Writes docs/results/efficiency.json and docs/pictures/efficiency.png.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm
from transformers import AutoModelForCausalLM, PreTrainedConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from experiments.benchmarks.record import ROOT, commit_of_tree, publish
from experiments.benchmarks.sizes import encoder_folder, llm_folder, qwen2_5_7b, smollm2_135m, whisper
from speech_xl import SAMPLE_RATE
from speech_xl.model import LLM, Adapter, Encoder, HFEncoder, Listener, SemanticAdapter, SpeechLLM, SSTs
from speech_xl.model.attention import NAME
from speech_xl.model.llm import cache_argument
from speech_xl.model.memory import KVMemory

RATE, OMNI_RATE = 12.5, 25.0  # speech frames a second in the LLM
INTERVAL = 64  # frames: 5.12 s, a multiple of every ratio
RATIOS = (1, 2, 4, 8, 16)
MINUTES = (0.5, 1, 2, 5, 10, 20, 30, 60, 120)
TEXT = 32  # tokens of prompt and question
ANSWER = 256  # tokens of an answer
BYTES = 2  # bfloat16


# Counting


class Counted:
    """A decoder on meta tensors, and what one call of it costs."""

    def __init__(self, config: PreTrainedConfig) -> None:
        with torch.device("meta"):
            self.model = AutoModelForCausalLM.from_config(config, attn_implementation=NAME)
        self.config = config

    @property
    def decoder(self) -> nn.Module:
        return self.model.get_decoder()

    @property
    def head(self) -> int:
        return getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads

    def kv_bytes(self) -> int:
        """Of one token, bfloat16."""
        return 2 * BYTES * self.config.num_hidden_layers * self.config.num_key_value_heads * self.head

    @torch.no_grad()
    def flops(self, tokens: int, held: int, ssts: int = 0) -> int:
        """Of `tokens` tokens, `ssts` of them SSTs, behind a cache that holds `held`; without the LM head."""
        memory = KVMemory(self.config.num_hidden_layers, 1, torch.device("meta"))
        empty = torch.empty(1, self.config.num_key_value_heads, held, self.head, device="meta")
        for number in range(self.config.num_hidden_layers):
            memory.cache.update(empty, empty, number)
        with FlopCounterMode(display=False) as counter:
            self.decoder(
                inputs_embeds=torch.empty(1, tokens, self.config.hidden_size, device="meta"),
                attention_mask=torch.empty(1, 1, tokens, held + tokens, dtype=torch.bool, device="meta"),
                position_ids=torch.empty(1, tokens, dtype=torch.long, device="meta"),
                use_cache=True,
                **{cache_argument(self.decoder): memory.cache},
            )
        return counter.get_total_flops() + self.sst_flops(ssts)

    def sst_flops(self, ssts: int) -> int:
        """What the SSTs' own projections add: q, k and v of each in every layer, and no q in the last."""
        queries = self.config.num_attention_heads * self.head
        keys = self.config.num_key_value_heads * self.head
        layers = self.config.num_hidden_layers
        return 2 * ssts * self.config.hidden_size * ((layers - 1) * queries + 2 * layers * keys)

    @cache  # noqa: B019  (lives as long as the benchmark)
    def line(self, tokens: int, ssts: int = 0) -> tuple[float, float]:
        """FLOPs behind a cache of M tokens are a + b M; (a, b) from two counts, and a third must lie on it."""
        base, far = self.flops(tokens, 0, ssts), self.flops(tokens, 4000, ssts)
        slope = (far - base) / 4000
        assert abs(self.flops(tokens, 1000, ssts) - (base + 1000 * slope)) < 1e-6 * far
        return base, slope

    def decode(self, held: int) -> float:
        """FLOPs of ANSWER tokens, one at a time, behind a cache of `held`, LM head included."""
        base, slope = self.line(1)
        head = 2 * self.config.hidden_size * self.config.vocab_size
        return sum(base + slope * (held + step) + head for step in range(ANSWER))


@dataclass
class Cost:
    """Of one way to listen to one length: FLOPs of reading audio and text, of an answer, and KV bytes."""

    prefill: float
    decode: float
    kept_bytes: int
    peak_bytes: int


def with_ssts(llm: Counted, seconds: float, ratio: int, encoder: float) -> Cost:
    """Interval by interval; `encoder` is what a second of audio costs before the LLM, in FLOPs."""
    frames = round(seconds * RATE)
    held = peak = TEXT
    total = sum(llm.line(TEXT)) + encoder * seconds
    for start in range(0, frames, INTERVAL):
        length = min(INTERVAL, frames - start)
        ssts = 0 if ratio == 1 else -(-length // ratio)
        base, slope = llm.line(length + ssts, ssts)
        total += base + slope * held
        peak = max(peak, held + length + ssts)
        held += ssts or length
    return Cost(total, llm.decode(held), held * llm.kv_bytes(), peak * llm.kv_bytes())


def full_cache(llm: Counted, seconds: float, encoder: float) -> Cost:
    """All frames at OMNI_RATE in one prefill."""
    tokens = round(seconds * OMNI_RATE) + TEXT
    whole = llm.flops(tokens, 0)
    return Cost(
        whole + encoder * seconds, llm.decode(tokens), tokens * llm.kv_bytes(), (tokens + ANSWER) * llm.kv_bytes()
    )


@torch.no_grad()
def whisper_flops(config: Any) -> float:
    """FLOPs a second of a Whisper encoder: a window of 30 s on meta tensors."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        WhisperEncoder(config).eval()(torch.empty(1, config.num_mel_bins, 3000))
    return counter.get_total_flops() / 30


def omni_tower_flops(
    layers: int = 32, width: int = 1280, inner: int = 5120, chunk: int = 100, mels: int = 128
) -> float:
    """FLOPs a second of Qwen2.5-Omni's audio tower, by its published sizes: 50 tokens a second after two convolutions,
    attention within chunks of 100, then halved and projected to 3,584."""
    tokens = 50.0
    convolutions = 2 * 3 * width * (mels * 100 + width * tokens)
    linear = 2 * tokens * layers * (4 * width**2 + 2 * width * inner)
    attention = 4 * tokens * layers * chunk * width
    return convolutions + linear + attention + 2 * 25 * width * 3584


@torch.no_grad()
def counts_agree() -> float:
    """Counted on meta tensors over counted while a small model really listens; 1 where they agree."""
    with tempfile.TemporaryDirectory() as folder:
        llm = LLM(llm_folder(Path(folder), smollm2_135m(3, 2048)), pretrained=False)
        llm.build()
    model = SpeechLLM(Encoder(), Adapter(), llm)
    model.add_sst(SSTs("full"))
    memory, expected = model.start(1), 0.0
    base, slope = Counted(llm.model.config).line(INTERVAL + INTERVAL // 4, INTERVAL // 4)
    # The counter knows the plain form of attention, not the fused one of CPUs.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        for _ in range(3):
            expected += base + slope * int(memory.kept)
            model.hear(memory, torch.randn(1, INTERVAL, llm.width), [INTERVAL], [4])
    return expected / counter.get_total_flops()


# Measuring


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
    picture(rows, measured, ROOT / "docs" / "pictures" / "efficiency.png")
    publish(
        __file__,
        summary={k: round(v, 6) for k, v in summary.items()},
        data=f"counted: Qwen2.5-7B's sizes, intervals of {INTERVAL} frames; measured: noise, {minutes} minutes",
        items=len(rows),
        commit=commit,
        rows=rows,
        measured=measured,
    )


if __name__ == "__main__":
    main()
