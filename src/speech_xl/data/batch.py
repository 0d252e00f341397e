"""SpeechBatch: what one step is given, the audio or cached frames of some sessions with intervals and turns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lhotse.cut import Cut
from torch import Tensor

from speech_xl.data.session_part import session_offset
from speech_xl.data.tasks import Turn


class SpeechBatch:
    """Rows of equal rank: `ids[b]`, `audio[b]`, ... belong to one session. Audio is ragged and not padded.

    Not a dataclass on purpose: Lightning's precision plugins rebuild dataclasses field by field, which would walk into
    the cuts and refuse the frozen turns, and would turn cached frames and audio into another number format unasked.

    Args:
        ids: cut ids.
        cuts: the lhotse cuts.
        audio: [S_b] float32, 16 kHz mono, per row; None where the frames came from the cache.
        frames: [F_b, D] or [layers, F_b, D] float16 encoder frames from the cache per row; None where audio is given.
        interval_ends: seconds from the row's start, the last one being its duration.
        turns: instructions with answers, all about the row's audio.
        epoch: the epoch this batch was drawn in.
        failed: sessions of a benchmark whose audio can't be used, with their turns and the reason; they are no rows.
    """

    def __init__(
        self,
        ids: list[str],
        cuts: list[Cut],
        audio: list[Tensor | None],
        frames: list[Tensor | None],
        interval_ends: list[list[float]],
        turns: list[list[Turn]],
        epoch: int = 0,
        failed: Sequence[tuple[Cut, list[Turn], str]] = (),
    ) -> None:
        self.ids = ids
        self.cuts = cuts
        self.audio = audio
        self.frames = frames
        self.interval_ends = interval_ends
        self.turns = turns
        self.epoch = epoch
        self.failed = failed

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        cached = sum(row is not None for row in self.frames)
        return f"SpeechBatch({len(self)} rows, {self.audio_seconds:.1f} s, {cached} from the cache, epoch {self.epoch})"

    @property
    def session_offsets(self) -> list[float]:
        """Seconds of the session before each row's audio: what its frames and timestamps count on from."""
        return [session_offset(cut) for cut in self.cuts]

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio in all rows together."""
        return sum(cut.duration for cut in self.cuts)

    def row(self, row: int) -> SpeechBatch:
        """One session of the batch."""
        return SpeechBatch(
            [self.ids[row]],
            [self.cuts[row]],
            [self.audio[row]],
            [self.frames[row]],
            [self.interval_ends[row]],
            [self.turns[row]],
            self.epoch,
        )

    def to(self, device: torch.device | str, non_blocking: bool = True) -> SpeechBatch:
        """The same batch with its tensors on `device`."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> SpeechBatch:
        """The same batch in page-locked memory; the DataLoader calls it where `pin_memory` is set."""
        return self._with_tensors(lambda tensor: tensor.pin_memory())

    def _with_tensors(self, change) -> SpeechBatch:
        return SpeechBatch(
            self.ids,
            self.cuts,
            [None if row is None else change(row) for row in self.audio],
            [None if row is None else change(row) for row in self.frames],
            self.interval_ends,
            self.turns,
            self.epoch,
            self.failed,
        )
