"""The clock: when a frame is, beside what is heard in it.

Attention that finds the next word by the words before it gets lost where they come up twice. Frames that also say when
they are let it go on from where it was. Sinusoids as in Vaswani et al. (arXiv 1706.03762) over the whole audio, in
dimensions of their own: added to all of them they were hard to tell from what is heard (decision 39).
"""

import math

import torch
from torch import Tensor

SHARE = 8  # one dimension in so many is the clock's, the last ones
SHORTEST, LONGEST = 12.0, 12_000.0  # wavelengths in frames


def clock(frames: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Codes of frames 0, 1, ... of RMS 1: float32 [frames, width // 8], which must be even."""
    pairs = width // SHARE // 2
    rates = 2 * math.pi / torch.logspace(math.log10(SHORTEST), math.log10(LONGEST), pairs, device=device)
    angles = torch.arange(frames, device=device)[:, None] * rates
    return math.sqrt(2.0) * torch.cat([angles.sin(), angles.cos()], dim=1)


def with_clock(frames: Tensor, codes: Tensor) -> Tensor:
    """Frames [..., D] whose last dimensions hold the codes [..., D // 8] in place of what they held."""
    codes = codes.to(frames.dtype).expand(*frames.shape[:-1], codes.shape[-1])
    return torch.cat([frames[..., : -codes.shape[-1]], codes], dim=-1)
