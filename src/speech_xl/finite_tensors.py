"""Which tensors hold NaN or infinity: of weights, of checkpoints, of any file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


def nonfinite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity, with one wait for the device."""
    floats = {name: value for name, value in tensors.items() if value.is_floating_point() and value.numel()}
    if not floats:
        return []
    whole = [value.isfinite().all() for value in floats.values()]
    flags = torch.stack([flag.to(whole[0].device) for flag in whole]).tolist()
    return [name for name, finite in zip(floats, flags, strict=True) if not finite]


def tensors_of(nested: Any, name: str) -> Iterable[tuple[str, Tensor]]:
    """Every tensor of nested dicts and lists, such as an optimizer's state, under a dotted name."""
    if isinstance(nested, Tensor):
        yield name, nested
    elif isinstance(nested, (Mapping, list, tuple)):
        for key, value in nested.items() if isinstance(nested, Mapping) else enumerate(nested):
            yield from tensors_of(value, f"{name}.{key}")
