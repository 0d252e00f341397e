"""Throughput: audio and tokens per second, the share of time waiting for data, MFU, audio hours seen."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_info

from speech_xl.callbacks.peak_flops import peak_flops_of
from speech_xl.callbacks.scalars import Cadence, log_scalars
from speech_xl.checks import number, whole
from speech_xl.phases.observations import observations


@dataclass
class _Batch:
    """What one batch took and held, on this rank."""

    wait: float  # seconds from the end of the batch before to the start of this one
    work: float  # seconds from start to end
    steps: int  # optimizer steps it completed: 0 or 1
    audio_seconds: float
    llm_tokens: int
    flops: float


class Throughput(pl.Callback):
    """Writes under `throughput/`, over the last `window` batches and all ranks together:

    * `audio_seconds_per_second`, `tokens_per_second` (all positions the LLM computes), `steps_per_second`
    * `data_wait_share`: the time between two batches over the whole, as the host sees it. A gap in which validation ran
      or a checkpoint was written isn't waiting for data and is left out of both.
    * `tflops_per_second` a device by the phase's own estimate, and `mfu`, its share of the device's peak in dense bf16.
      Only where the peak is known or given, so not on a CPU unless `peak_flops` says it.
    * `audio_hours_total`: audio trained on so far, over all epochs and resumed runs.

    Args:
        window: Smooth over this many batches.
        every_n_steps: Scalars are written each so many optimizer steps.
        peak_flops: The device's peak in FLOP/s; null looks the CUDA device up by its name.
    """

    def __init__(self, window: int = 50, every_n_steps: int = 10, peak_flops: float | None = None) -> None:
        whole("Throughput.window", window, least=1)
        if peak_flops is not None:
            number("Throughput.peak_flops", peak_flops, above=0, unit="FLOP/s")
        self.peak_flops = peak_flops
        self._batches: deque[_Batch] = deque(maxlen=window)
        self._cadence = Cadence(every_n_steps, "Throughput")
        self._audio_total = 0.0  # seconds, all ranks, up to the last point written
        self._audio_since = 0.0  # seconds, this rank, since then
        self._world_size = 1
        self._mark: float | None = None  # when the last batch ended; None where the gap isn't a wait for data
        self._start = 0.0
        self._step = 0
        self._clock = time.perf_counter  # replaced in tests

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._batches.clear()
        self._world_size = trainer.world_size
        self._step = trainer.global_step
        self._mark = self._clock()
        device = trainer.strategy.root_device
        if self.peak_flops is None and device.type == "cuda":
            name = torch.cuda.get_device_name(device)
            self.peak_flops = peak_flops_of(name)
            if self.peak_flops is None:
                rank_zero_info(f"Throughput: the peak of {name} isn't known, so no MFU; give peak_flops to have it.")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._start = self._clock()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now, step = self._clock(), trainer.global_step
        stats = observations(pl_module).step
        self._batches.append(
            _Batch(
                wait=0.0 if self._mark is None else self._start - self._mark,
                work=now - self._start,
                steps=step - self._step,
                audio_seconds=0.0 if stats is None else float(stats.audio_seconds),
                llm_tokens=0 if stats is None else int(stats.llm_tokens),
                flops=0.0 if stats is None else float(stats.model_flops),
            )
        )
        self._audio_since += self._batches[-1].audio_seconds
        self._step = step
        if self._cadence.due(step):
            self._log(trainer, pl_module)
        self._mark = self._clock()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._mark = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._mark = None

    def _log(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        batches = list(self._batches)
        waiting = sum(batch.wait for batch in batches)
        seconds = waiting + sum(batch.work for batch in batches)
        sums = [
            sum(batch.audio_seconds for batch in batches),
            float(sum(batch.llm_tokens for batch in batches)),
            sum(batch.flops for batch in batches) / 1e12,
            self._audio_since,
        ]
        if self._world_size > 1:  # every rank is here: they take the same steps
            packed = torch.tensor(sums, dtype=torch.float32, device=trainer.strategy.root_device)
            sums = trainer.strategy.reduce(packed, reduce_op="sum").tolist()
        audio, tokens, tflops, audio_since = sums
        self._audio_total += audio_since
        self._audio_since = 0.0
        if seconds <= 0:
            return
        scalars = {
            "throughput/steps_per_second": sum(batch.steps for batch in batches) / seconds,
            "throughput/data_wait_share": waiting / seconds,
        }
        if audio:  # a phase that tells what its steps held
            per_device = tflops / seconds / self._world_size
            scalars |= {
                "throughput/audio_seconds_per_second": audio / seconds,
                "throughput/tokens_per_second": tokens / seconds,
                "throughput/tflops_per_second": per_device,
                "throughput/audio_hours_total": self._audio_total / 3600,
            }
            if self.peak_flops:
                scalars["throughput/mfu"] = per_device * 1e12 / self.peak_flops
            pl_module.log("audio_s_per_s", audio / seconds, prog_bar=True, logger=False)
        log_scalars(trainer, scalars, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        # Not reduced over the ranks here: a checkpoint is no place for a collective, and ranks see like amounts.
        return {"audio_seconds": self._audio_total + self._audio_since * self._world_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._audio_total = float(state_dict["audio_seconds"])
        self._audio_since = 0.0
