"""Checkpoints and weights compared bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

# What a resumed run must share with one that was never stopped.
COMPARED = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "SpeechDataModule")


def checkpoint(folder: Path) -> dict[str, Any]:
    """The last checkpoint in a stage's run folder."""
    return torch.load(folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)


def step_of(folder: Path) -> int | None:
    """The optimizer step of the last checkpoint in a stage's run folder; None: there is none."""
    return checkpoint(folder)["global_step"] if (folder / "checkpoints" / "last.ckpt").is_file() else None


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two nested structures of tensors and plain values differ; tensors must be bit-equal."""
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [path]
    if isinstance(one, dict):
        if not isinstance(other, dict):
            return [path]
        lost = [f"{path}/{key}" for key in sorted(set(one) ^ set(other), key=str)]
        return lost + [
            one_of for key in one if key in other for one_of in differences(one[key], other[key], f"{path}/{key}")
        ]
    if isinstance(one, (list, tuple)):
        if not isinstance(other, (list, tuple)) or len(one) != len(other):
            return [path]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for number, pair in pairs for found in differences(*pair, f"{path}/{number}")]
    return [] if one == other else [f"{path} ({one} and {other})"]


def farthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference between two states, relative to the largest value of its tensor."""
    return max(
        ((one[name].double() - value.double()).abs().max() / value.double().abs().max().clamp(min=1e-12)).item()
        for name, value in other.items()
        if value.is_floating_point()
    )


def all_finite(path: Path) -> bool:
    """Whether every number of a weights or checkpoint file is finite."""
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return all(bool(value.isfinite().all()) for value in state.values() if value.is_floating_point())
