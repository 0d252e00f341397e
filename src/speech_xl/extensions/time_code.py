"""TimeCode: frames that also say when they are, beside what is heard in them. docs/extensions/time_code.md.

Attention that finds the next word by the words before it gets lost where they come up twice. Frames that also say when
they are let it go on from where it was. Sinusoids as in Vaswani et al. (arXiv 1706.03762) over the whole audio, in
dimensions of their own: added to all of them they were hard to tell from what is heard (decision 39).
"""

import math

import torch
from torch import Tensor

from speech_xl.checks import number
from speech_xl.model.frame_code import FrameCode

SHARE = 8  # one dimension in so many holds the code, the last ones
SHORTEST, LONGEST = 12.0, 12_000.0  # wavelengths in frames


def time_code(frames: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Codes of frames 0, 1, ... of RMS 1: float32 [frames, width // 8], which must be even."""
    pairs = width // SHARE // 2
    rates = 2 * math.pi / torch.logspace(math.log10(SHORTEST), math.log10(LONGEST), pairs, device=device)
    angles = torch.arange(frames, device=device)[:, None] * rates
    return math.sqrt(2.0) * torch.cat([angles.sin(), angles.cos()], dim=1)


def with_time_code(frames: Tensor, codes: Tensor) -> Tensor:
    """Frames [..., D] whose last dimensions hold the codes [..., D // 8] in place of what they held."""
    codes = codes.to(frames.dtype).expand(*frames.shape[:-1], codes.shape[-1])
    return torch.cat([frames[..., : -codes.shape[-1]], codes], dim=-1)


class TimeCode(FrameCode):
    """The last eighth of a frame's dimensions holds its time; an SST's and a pooled frame's, that of the frame at the
    center of those they stand for.

    scale  loudness of the code, as a multiple of the RMS of the LLM's text embeddings
    ssts   whether SSTs have the code too; where not, pooled frames in their place have the mean of their frames' codes
    """

    text_scale: Tensor

    def __init__(self, scale: float = 2.0, ssts: bool = True) -> None:
        super().__init__()
        self.scale, self.ssts = number("TimeCode.scale", scale, above=0), ssts

    def build(self, width: int, scale: float) -> None:
        if width % (2 * SHARE):
            raise ValueError(
                f"model.frame_code: TimeCode takes an LLM whose width is a multiple of {2 * SHARE}, and this one's is "
                f"{width}; set model.frame_code to null"
            )
        # Kept with the weights: an LLM that was trained on, or is built without weights, has another scale.
        self.register_buffer("text_scale", torch.tensor(scale))

    def forward(self, frames: Tensor, first: int | Tensor) -> Tensor:
        numbers = torch.as_tensor(first, device=frames.device).reshape(-1, 1)  # of the first frames: [1 or B, 1]
        codes = time_code(int(numbers.max()) + frames.shape[1], frames.shape[2], frames.device)
        places = numbers + torch.arange(frames.shape[1], device=frames.device)
        return with_time_code(frames, self.scale * self.text_scale * codes[places])

    def onto_groups(self, rows: Tensor, centers: Tensor) -> Tensor:
        return with_time_code(rows, centers[:, -(rows.shape[1] // SHARE) :]) if self.ssts else rows
