"""What the recipes of the tiny encoder and the tiny LLM share: a step down the loss, its schedule, writing weights."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from speech_xl.storage.files import replacing


def learning_rate(step: int, gone: float, highest: float) -> float:
    """Up over 100 steps, level, then a cosine to nothing over the last 40 %. gone: the share of the training, 0..1."""
    late = max(0.0, (gone - 0.6) / 0.4)
    return highest * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * late))


def descend(loss: Tensor, optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One step down `loss` at this learning rate, the gradient's norm clipped to 1."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()


def write_weights(state: dict[str, Tensor], folder: Path) -> None:
    """model.safetensors in float16, whole or not there at all, beside the config that is in `folder`."""
    with replacing(folder / "model.safetensors") as draft:
        save_file({n: w.detach().half().contiguous() for n, w in state.items()}, draft, metadata={"format": "pt"})
