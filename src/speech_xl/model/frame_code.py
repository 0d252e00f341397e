"""FrameCode: what a model may write into frames, SSTs and pooled frames beside what is heard. By default nothing."""

from torch import Tensor, nn


class FrameCode(nn.Module):
    """Base type, and the code that writes nothing. The backbone applies it behind the adapter and to rows that
    stand for several frames: SSTs and pooled frames."""

    def build(self, width: int, scale: float) -> None:
        """Make what it needs. width: of the LLM; scale: the RMS of its text embeddings."""

    def forward(self, frames: Tensor, first: int | Tensor) -> Tensor:
        """Speech frames [B, N, D] with the code in them. first: the number of each row's first frame in its session,
        int or int64 [B]."""
        return frames

    def onto_groups(self, rows: Tensor, centers: Tensor) -> Tensor:
        """Rows [S, D] that stand for a group of frames each, with the code of the frames [S, D] at their centers."""
        return rows
