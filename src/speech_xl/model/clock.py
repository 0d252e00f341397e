"""The clock: when a frame is, beside what is heard in it.

Attention that finds the next word by the words before it gets lost where they come up twice. Frames that also say when
they are let it go on from where it was. Sinusoids as in Vaswani et al. (arXiv 1706.03762), over the whole audio.
"""

import math

import torch
from torch import Tensor


def clock(frames: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Codes of frames 0, 1, ... of RMS 1, float32 [frames, width]; wavelengths 6 to 60,000 frames, `width` even."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000.0) / width))
    angles = torch.arange(frames, device=device)[:, None] * rates
    return math.sqrt(2.0) * torch.cat([angles.sin(), angles.cos()], dim=1)
