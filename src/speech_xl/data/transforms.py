"""CutTransform: the base type of what changes a corpus's sessions on their way into training, `data.transforms`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path

from lhotse import CutSet


class CutTransform(ABC):
    """Sessions of a split to sessions of the same split. Several are applied in the order of their list."""

    def check(self, not_yet: Collection[Path] = ()) -> None:  # noqa: B027  (most are named no file)
        """Raise where a file or folder that the user named is missing. Quick, and makes nothing.

        not_yet: folders that an earlier stage of the experiment will make
        """

    @abstractmethod
    def __call__(self, cuts: CutSet, split: str) -> CutSet:
        """The sessions of a split ("train", "dev" or "test") as they are to be used."""
