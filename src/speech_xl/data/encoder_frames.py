"""EncoderFrames: an encoder's frames of cuts, kept on disk while it is frozen and read instead of the audio."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lhotse.cut import Cut
from torch import Tensor
from tqdm import tqdm

from speech_xl.data.audio import load_audio
from speech_xl.data.batch import SpeechBatch
from speech_xl.data.frame_cache import FrameCache
from speech_xl.model import Encoder


class EncoderFrames:
    """The phase makes it with its encoder, and opens the cache once it is known what trains. The data module is given
    it, says where frames are kept, and reads them in its workers.

    kept   whether frames of a frozen encoder are kept on disk
    cache  where they are; None until `open`, and for an encoder that trains
    """

    def __init__(self, encoder: Encoder, kept: bool = True) -> None:
        self.encoder, self.kept = encoder, kept
        self.cache: FrameCache | None = None
        self._folder: Path | None = None
        self._sessions: Callable[[], Iterable[Cut]] = tuple

    def keep_in(self, folder: str | Path, sessions: Callable[[], Iterable[Cut]] = tuple) -> None:
        """Keep frames in `folder`. sessions: what the cache must hold before training, because random excerpts are cut
        out of the frames of their session."""
        self._folder, self._sessions = Path(folder), sessions

    @property
    def frozen(self) -> bool:
        return not any(parameter.requires_grad for parameter in self.encoder.parameters())

    def open(self) -> None:
        """Open the cache of a built encoder, where it is frozen."""
        if self.kept and self.frozen and self._folder is not None:
            self.cache = FrameCache.of(self.encoder, self._folder)

    @torch.no_grad()
    def store_sessions(self, device: torch.device, rank: int, ranks: int) -> bool:
        """Encode this rank's share of the sessions that aren't in the cache; False where there are none at all."""
        sessions = [] if self.cache is None else list(self._sessions())
        if self.cache is None or not sessions:
            return False
        # Shared out before looking: other ranks are storing already, and what is missing changes.
        missing = [cut for cut in sessions[rank::ranks] if not self.cache.holds(cut)]
        with torch.autocast(device.type, enabled=False):
            for cut in tqdm(missing, desc="encoding", unit="session", disable=not missing or rank > 0):
                self.cache.store(cut, self.encoder.encode([load_audio(cut).to(device)])[0])
        return True

    def of(self, batch: SpeechBatch, device: torch.device) -> list[Tensor]:
        """Encoder frames [L, F, D] of every row, from the cache where they are in it."""
        missing = [row for row, frames in enumerate(batch.frames) if frames is None]
        rows: list[Any] = list(batch.frames)
        if missing:
            # A frozen encoder runs in full precision, so that cached frames don't depend on the trainer's.
            full = torch.autocast(device.type, enabled=False) if self.cache is not None else nullcontext()
            with full, torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                encoded = self.encoder.encode(
                    [a for a, f in zip(batch.audio, batch.frames, strict=True) if a is not None and f is None]
                )
            for row, frames in zip(missing, encoded, strict=True):
                if self.cache is not None:
                    self.cache.store(batch.cuts[row], frames)
                    frames = frames.half()  # as it will be read next time, so that a hit changes nothing
                rows[row] = frames
        return rows
