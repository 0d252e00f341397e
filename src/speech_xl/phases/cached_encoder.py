"""A frozen encoder's frames: kept on disk and read instead of the audio, for training, validation and test alike."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from speech_xl.data.audio import load_audio
from speech_xl.data.batch import SpeechBatch
from speech_xl.data.frame_cache import FrameCache
from speech_xl.model import SpeechLLM


class CachedEncoder:
    """Mixed into `Phase`: how it comes by encoder frames."""

    if TYPE_CHECKING:  # what `Phase` brings
        backbone: SpeechLLM
        cache_frames: bool
        device: torch.device
        trainer: Any

    @property
    def encoder_frozen(self) -> bool:
        return not any(p.requires_grad for p in self.backbone.encoder.parameters())

    def _use_frame_cache(self) -> None:
        datamodule = getattr(self.trainer, "datamodule", None)
        if self.cache_frames and self.encoder_frozen and datamodule is not None:
            datamodule.frame_cache = FrameCache.of(self.backbone.encoder, datamodule.cache_dir)

    def _store_sessions(self) -> None:
        """Random excerpts are cut out of their session's frames, so those have to be there before the first batch."""
        datamodule = getattr(self.trainer, "datamodule", None)
        cache, sampling = getattr(datamodule, "frame_cache", None), getattr(datamodule, "sampling", None)
        excerpt = getattr(sampling, "excerpt", None)
        if datamodule is None or cache is None or excerpt is None or excerpt.fixed:
            return
        # Shared out before looking: other ranks are storing already, and what is missing changes.
        own = list(datamodule.cuts("train"))[self.trainer.global_rank :: self.trainer.world_size]
        own = [cut for cut in own if not cache.holds(cut)]
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            for cut in tqdm(own, desc="encoding", unit="session", disable=not own or self.trainer.global_rank > 0):
                cache.store(cut, self.backbone.encoder.encode([load_audio(cut).to(self.device)])[0])
        self.trainer.strategy.barrier("frames of the training sessions")

    def encode(self, batch: SpeechBatch) -> list[Tensor]:
        """Encoder frames [L, F, D] of every row, from the cache where they are in it."""
        datamodule = getattr(self.trainer, "datamodule", None)
        cache = getattr(datamodule, "frame_cache", None)
        missing = [row for row, frames in enumerate(batch.frames) if frames is None]
        rows: list[Any] = list(batch.frames)
        if missing:
            # A frozen encoder runs in full precision, so that cached frames don't depend on the trainer's.
            full = torch.autocast(self.device.type, enabled=False) if cache is not None else nullcontext()
            with full, torch.set_grad_enabled(torch.is_grad_enabled() and not self.encoder_frozen):
                encoded = self.backbone.encoder.encode(
                    [a for a, f in zip(batch.audio, batch.frames, strict=True) if a is not None and f is None]
                )
            for row, frames in zip(missing, encoded, strict=True):
                if cache is not None:
                    cache.store(batch.cuts[row], frames)
                    frames = frames.half()  # as it will be read next time, so that a hit changes nothing
                rows[row] = frames
        return rows
