"""Seconds on a device that works asynchronously, and the device's name for the record."""

from __future__ import annotations

import time

import torch


def name_of(device: torch.device) -> str:
    """Such as "NVIDIA H200" or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def now(device: torch.device) -> float:
    """Seconds, once all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
