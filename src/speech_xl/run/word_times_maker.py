"""`make: WordTimes` in an experiment file: the word times of a corpus, found by a stage that spells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from speech_xl.data.corpus import SPLITS, check_split
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.extensions.timestamps.align import align
from speech_xl.run.makers import Maker


class WordTimesMaker(Maker):
    """Aligns the corpus that the stage in `from` was trained on; `data.transforms: [WordTimes]` reads the result.

    Args:
        splits: which splits; a split without times keeps its utterances whole.
        sessions: the first so many of each split alone, to try it out. Null: all.
        device: cpu, cuda or cuda:NUMBER. Null: a GPU where there is one.
    """

    starts_from_stage = True
    rehearsal: ClassVar[dict[str, Any]] = {"sessions": 2}

    def __init__(self, splits: Sequence[str] = SPLITS, sessions: int | None = None, device: str | None = None) -> None:
        self.splits = [check_split(split, "WordTimes") for split in splits]
        self.sessions = sessions
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")

    def make(self, out: Path, start: Path | None, data: SpeechDataModule | None) -> None:
        assert start is not None
        align(start, out, self.splits, self.sessions, self.device)
