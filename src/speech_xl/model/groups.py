"""Groups of frames that one row stands for: an SST, or a mean of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from speech_xl.model.layout import LayoutBatch
from speech_xl.model.positions import Kind


@dataclass(frozen=True)
class Groups:
    """The frames that each of a batch's SSTs (or pooled frames) stands for, indices into those of all rows, end to end.

    center      int64 [S], the frame at their center, SSTs in the order of rows and of places within
    group_size  int64 [S], how many they are
    """

    center: Tensor
    group_size: Tensor

    @classmethod
    def of(cls, layout: LayoutBatch, length: int) -> "Groups":
        """length: frames that each row has room for."""
        sst = layout.kind == Kind.SST
        return cls(layout.source[sst] + sst.nonzero()[:, 0] * length, layout.group_size[sst])

    @classmethod
    def of_sizes(cls, sizes: Sequence[int], device: torch.device | str = "cpu") -> "Groups":
        """Groups of neighbours, end to end, with so many frames each; centers as those of SSTs (`place_ssts`)."""
        size = torch.tensor(list(sizes), dtype=torch.long, device=device)
        return cls(size.cumsum(0) - size + (size - 1) // 2, size)

    def members(self) -> tuple[Tensor, Tensor]:
        """The SST (or pooled frame) of every frame that has one, and that frame: int64 [G] each."""
        owner = torch.repeat_interleave(
            torch.arange(len(self.group_size), device=self.group_size.device), self.group_size
        )
        place = torch.arange(len(owner), device=owner.device) - (self.group_size.cumsum(0) - self.group_size)[owner]
        return owner, (self.center - (self.group_size - 1) // 2)[owner] + place

    def means(self, frames: Tensor) -> Tensor:
        """Means [S, D] of every group's frames, out of those of all rows [B * N, D]."""
        owner, frame = self.members()
        sums = frames.new_zeros(len(self.group_size), frames.shape[1]).index_add(0, owner, frames[frame])
        return sums / self.group_size[:, None]
