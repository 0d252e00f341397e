"""Training steps with SSTs in several ways, and what their mask costs, for gpu.py."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import AutoModelForCausalLM, PreTrainedConfig

from experiments.measurements.device import begin, gib, peak
from experiments.measurements.sizes import speech_llm_of
from experiments.measurements.training_speed import ANSWER
from experiments.measurements.two_paths import streamed
from speech_xl.evaluation.timing import now
from speech_xl.model import SSTs, speech_llm
from speech_xl.model.attention import block_mask, query_chunks
from speech_xl.model.layout import Layout, LayoutBatch
from speech_xl.model.prompt import IGNORE, Suffix
from speech_xl.model.speech import Speech

RATE, INTERVAL, RATIO = 12.5, 50, 8
MINUTE = round(60 * RATE)  # frames
ANSWERED = 150  # tokens a minute
FLEX, BY_INTERVAL, PLAIN = "FlexAttention", "by interval", "plain tokens"
QUERY_CHUNKS = {"SDPA, query chunks of 128": 128, "SDPA, query chunks of 1024": 1024}
METHODS = (FLEX, *QUERY_CHUNKS, BY_INTERVAL, PLAIN)
FEW_INTERVALS = 5  # minutes; back-propagation by interval isn't tried beyond
CAP, REPEATS = 5.0, 10  # seconds and steps of a cell


class Bench:
    """A model and the ways to take a step with it."""

    def __init__(self, config: PreTrainedConfig, device: torch.device) -> None:
        self.device = device
        self.model = speech_llm_of(config, device, "float32", SSTs("full"))
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
        sample = speech, speech.throughout(RATIO), [suffix] * len(speech)
        if method == PLAIN:
            return self.plain_tokens(len(speech), len(self.layouts(speech, suffix)[0]), suffix)
        if method == BY_INTERVAL:
            return streamed(self.model, *sample)
        self.model.llm.attention = "sdpa" if method in QUERY_CHUNKS else "flex"
        with patch.object(speech_llm, "query_chunks", partial(query_chunks, size=QUERY_CHUNKS.get(method, 0))):
            return self.model(*sample).loss_sum

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
