"""FrameCode: what a model may write into speech frames and SSTs beside what is heard. By default nothing."""

from torch import Tensor, nn


class FrameCode(nn.Module):
    """Base type, and the code that writes nothing. The backbone applies it behind the adapter and to SST rows."""

    def build(self, width: int, scale: float) -> None:
        """Make what it needs. width: of the LLM; scale: the RMS of its text embeddings."""

    def forward(self, frames: Tensor, first: int | Tensor) -> Tensor:
        """Speech frames [B, N, D] with the code in them. first: the number of each row's first frame in its session,
        int or int64 [B]."""
        return frames

    def onto_ssts(self, rows: Tensor, centers: Tensor) -> Tensor:
        """SST rows [S, D] with the code of the frames [S, D] at the center of what each stands for."""
        return rows
