"""MemoryMonitor: GPU and host memory, kept KV memory and the compression achieved, as scalars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import psutil
import torch

from speech_xl.callbacks.scalars import Cadence, log_scalars
from speech_xl.evaluation.prediction import Prediction
from speech_xl.phases.observations import observations

GIB = 2**30


class MemoryMonitor(pl.Callback):
    """Writes under `memory/` each so many optimizer steps, of this rank:

    * `gpu_allocated_peak_gib`, `gpu_reserved_peak_gib`: the highest since the last point (only when training on CUDA)
    * `host_rss_gib`, `host_rss_peak_gib`: resident memory of the training process now, and its highest so far; the data
      loader's workers are processes of their own and not in it
    * `kept_kv_tokens`, `kept_kv_bytes`: what would stay of the audio, without the prompt's prefix, in a KV memory in
      the LLM's number format (training itself has none), for a mean batch since the last point; `compression`: tokens
      before pruning over tokens kept in the same batches

    and after each validation, by ratio, the KV bytes that were kept of the audio, measured on the memory that answered
    (`Prediction.kept_kv_bytes`), per second of audio: `kept_kv_bytes_per_audio_second/4x`.

    Args:
        every_n_steps: Scalars are written each so many optimizer steps.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        self._cadence = Cadence(every_n_steps, "MemoryMonitor")
        self._process: psutil.Process | None = None
        self._rss_peak = 0  # bytes
        self._clear()

    def _clear(self) -> None:
        self._batches = self._kept = self._total = self._bytes = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._process = psutil.Process()  # here, not in __init__: ranks may be forked after the callback is made
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        stats = observations(pl_module).step
        if stats is not None:
            self._batches += 1
            self._kept += int(stats.kept_kv_tokens)
            self._total += int(stats.total_kv_tokens)
            self._bytes += int(stats.kept_kv_tokens) * int(stats.kv_bytes_per_token)
        rss = self._host_rss()
        if self._cadence.due(trainer.global_step):
            scalars = self._gpu_peaks(trainer.strategy.root_device) | self._kv_scalars()
            scalars |= {"memory/host_rss_gib": rss / GIB, "memory/host_rss_peak_gib": self._rss_peak / GIB}
            log_scalars(trainer, scalars, trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            log_scalars(trainer, kept_kv_by_ratio(observations(pl_module).predictions), trainer.global_step)

    def _host_rss(self) -> int:
        assert self._process is not None
        rss = int(self._process.memory_info().rss)
        self._rss_peak = max(self._rss_peak, rss, _peak_of_the_kernel())
        return rss

    def _gpu_peaks(self, device: torch.device) -> dict[str, float]:
        if device.type != "cuda":
            return {}
        peaks = {
            "memory/gpu_allocated_peak_gib": torch.cuda.max_memory_allocated(device) / GIB,
            "memory/gpu_reserved_peak_gib": torch.cuda.max_memory_reserved(device) / GIB,
        }
        torch.cuda.reset_peak_memory_stats(device)
        return peaks

    def _kv_scalars(self) -> dict[str, float]:
        if not self._batches or not self._kept:
            return {}
        scalars = {
            "memory/kept_kv_tokens": self._kept / self._batches,
            "memory/kept_kv_bytes": self._bytes / self._batches,
            "memory/compression": self._total / self._kept,
        }
        self._clear()
        return scalars


def kept_kv_by_ratio(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Scalars of the KV bytes kept per second of audio, by ratio; answers that share a session's memory count once."""
    sessions: dict[int, dict[str, tuple[int, float]]] = defaultdict(dict)
    for one in predictions:
        if one.kept_kv_bytes is not None and one.duration is not None:
            sessions[one.ratio][one.cut_id] = (one.kept_kv_bytes, one.duration)
    scalars = {}
    for ratio, kept in sessions.items():
        seconds = sum(duration for _, duration in kept.values())
        if seconds:
            size = sum(size for size, _ in kept.values())
            scalars[f"memory/kept_kv_bytes_per_audio_second/{ratio}x"] = size / seconds
    return scalars


def _peak_of_the_kernel() -> int:
    """The highest RSS in bytes Linux recorded for this process, also between two samples; 0 where it isn't told."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0
