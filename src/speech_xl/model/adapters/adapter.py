"""What all adapters share: their base class, and how padding, masks and output norms are made.

An adapter takes encoder frames to speech frames: the LLM's width, at a lower rate. It works on local neighbourhoods, so
it treats audio of any length alike, and gives the same frames whether a row stands alone or in a padded batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, pad

STRETCH = 10  # encoder frames that `time_mask` hides at a time: 0.2 s of Whisper's


class Adapted(NamedTuple):
    """Speech frames [B, N, D], their lengths int64 [B], and, from an adapter that `scores_tokens`, the logits
    [B, N, V + 1] of the LLM's tokens and of none (a blank, last) in each frame."""

    frames: Tensor
    lengths: Tensor
    scores: Tensor | None = None


class Adapter(nn.Module):
    """Base type. After `build`, ``forward(frames [B, L, F, D_enc], lengths [B], embeddings [V, D]) -> Adapted``.

    `embeddings` is the LLM's table of token embeddings; only an adapter that `scores_tokens` reads it. A part of the
    audio gives the frames of the whole where it begins at a multiple of `grain` encoder frames and another `grain` lies
    before and after them. `stride` encoder frames become one speech frame, a shorter remainder too:
    ``N = ceil(F / stride)``. `layers` names the encoder layers the adapter reads (L of them), -1 being the last.
    """

    stride: int
    grain: int
    layers: tuple[int, ...] = (-1,)
    scores_tokens: bool = False

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        """Make the parameters. `scale` is the RMS of the LLM's text embeddings, which speech frames start out with."""
        raise NotImplementedError

    def out_lengths(self, lengths: Tensor) -> Tensor:
        return (lengths + self.stride - 1) // self.stride


class MultiLayerAdapter(Adapter):
    """Base of adapters that read several encoder layers; they end with `norm`, an `output_norm`."""

    norm: nn.LayerNorm


def check_layers(layers: list[int]) -> None:
    """Raises ValueError where no encoder layer is named. Which of them there are the encoder says."""
    if not layers:
        raise ValueError("adapter.layers: got []; name encoder layers, for example [2, 4] (-1 is the last)")


def inside(frames: Tensor, lengths: Tensor) -> Tensor:
    """Which of the frames [B, N, D] lie within their row's length: bool [B, N]."""
    return torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]


def masked(frames: Tensor, lengths: Tensor) -> Tensor:
    """Zero what lies beyond each row's length, so that padding equals the zero padding of a lone row."""
    return frames * inside(frames, lengths)[..., None]


def stretches(shape: tuple[int, ...], share: float, device: torch.device) -> Tensor:
    """About so large a share of the places [B, F], drawn in stretches of `STRETCH` that may overlap: bool."""
    starts = torch.rand(shape, device=device) < 1 - (1 - share) ** (1 / STRETCH)
    return max_pool1d(pad(starts.float(), (STRETCH - 1, 0)), STRETCH, stride=1).bool()


def output_norm(width: int, scale: float) -> nn.LayerNorm:
    """What every adapter ends with: frames as loud as text, of RMS `scale`."""
    norm = nn.LayerNorm(width)
    nn.init.constant_(norm.weight, scale)
    return norm
