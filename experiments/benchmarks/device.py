"""The machine that a benchmark runs on: its name, seconds that are its own, bytes that it holds."""

from __future__ import annotations

import gc
import time

import torch


def name_of(device: torch.device) -> str:
    """For the record: answers may come from several machines."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def now(device: torch.device) -> float:
    """Seconds, once all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
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


def gib(size: float) -> float:
    return round(size / 2**30, 3)
