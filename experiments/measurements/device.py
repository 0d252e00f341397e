"""Bytes that the machine a benchmark runs on holds."""

from __future__ import annotations

import gc

import torch


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
