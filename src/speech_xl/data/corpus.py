"""The base type of every corpus: what a recipe must offer so that the data module can train on it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from lhotse import CutSet

from speech_xl.data.items import Coverage

SPLITS = ("train", "dev", "test")


class Corpus(ABC):
    """A spoken corpus in the splits "train", "dev" and "test", as lhotse cuts with one MonoCut a session.

    Every cut is 16 kHz mono (or resampled lazily by lhotse) and carries its supervisions in time order, not
    overlapping, each with text, speaker, gender ("F" or "M") and language. `cut.custom` holds plain JSON:

        {"questions": [{"task": "qa", "question": str, "answer": str, "kind": str}], "caption": str}

    where either key may be missing if the corpus has no such truth. A benchmark's cuts have "items" instead, a list of
    `speech_xl.data.items.Item.to_json()`.
    """

    name: str
    """Short and safe as a part of a file name."""

    def check(self) -> None:  # noqa: B027  (most recipes are named no file)
        """Raise where a file or folder that the user named is missing. Quick, and makes nothing."""

    @abstractmethod
    def prepare(self) -> None:
        """Make or download what is missing, with a progress bar. Idempotent; only rank zero calls it."""

    @abstractmethod
    def cuts(self, split: str) -> CutSet:
        """The sessions of one split, after `prepare`."""

    def coverage(self, split: str) -> Coverage | None:
        """Of a benchmark, how much of its split is here, after `prepare`. None of other corpora."""
        return None


def check_split(split: str, corpus: str) -> str:
    """Return `split`, or say which splits there are."""
    if split not in SPLITS:
        raise ValueError(f"corpus {corpus}: unknown split {split!r}; use one of {', '.join(SPLITS)}")
    return split
