"""FrameCache: encoder frames on disk, computed once while the encoder is frozen and read instead of the audio after."""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lhotse import Recording
from lhotse.cut import Cut, MixedCut, MonoCut, MultiCut, PaddingCut
from safetensors import safe_open
from safetensors.torch import load, save_file
from torch import Tensor

from speech_xl.data.session_part import SessionPart
from speech_xl.storage.files import check_writable, naming, replacing, write_text

if TYPE_CHECKING:
    from speech_xl.model import Encoder


class FrameCache:
    """Frames of cuts as float16 safetensors, one file a cut, in a folder of their own per encoder.

    Keyed by what is heard: the audio files (path, size, time of change), start, duration, channel and transforms; not
    by the cut's id or its supervisions. A random excerpt is cut out of its session's frames, which is also how it will
    be heard at inference: amid its session, wherever the encoder's windows end. It is never kept on its own, since the
    next epoch draws others.

    Args:
        root: folder of all caches.
        fingerprint: names everything the frames depend on but the audio: encoder weights, window, tapped layers.
        frame_rate: encoder frames a second.
    """

    def __init__(self, root: str | Path, fingerprint: str, frame_rate: float) -> None:
        if not fingerprint:
            raise ValueError("frame cache: fingerprint is empty; name the encoder weights, window and taps")
        self.frame_rate = frame_rate
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", fingerprint).strip("-.")[:60]
        self.fingerprint = fingerprint
        self.folder = Path(root) / f"{readable}-{_digest(fingerprint)[:12]}"

    @classmethod
    def of(cls, encoder: Encoder, cache_dir: str | Path) -> FrameCache:
        """The cache of a built encoder's frames in a data module's `cache_dir`; reads all its weights to name it."""
        check_writable(Path(cache_dir) / "frames", "data.cache_dir")
        return cls(Path(cache_dir) / "frames", encoder.fingerprint(), encoder.frame_rate)

    def key(self, cut: Cut) -> str:
        """A name for what is heard in the cut."""
        return heard_key(cut)

    def path(self, cut: Cut) -> Path:
        """Where the frames of the cut are or would be."""
        key = self.key(cut)
        return self.folder / key[:2] / f"{key}.safetensors"

    def load(self, cut: Cut) -> Tensor | None:
        """The cut's frames, float16 as they were stored; None where there are none. A damaged file is a miss."""
        session = session_of(cut)
        if session is not None:
            whole = self.load(session)
            return None if whole is None else self._part(whole, cut.start - session.start, cut.duration)
        path = self.path(cut)
        try:
            # read, not memory-mapped: the file may be replaced or deleted while a batch is waiting in a queue
            return load(path.read_bytes())["frames"]
        except FileNotFoundError:
            return None
        except Exception as error:  # safetensors and the file system raise many kinds; all of them mean: encode again
            _forget(path, error)
            return None

    def _part(self, whole: Tensor, start: float, duration: float) -> Tensor:
        """Frames [..., F, D] of `duration` seconds from `start` on; a started frame counts, as the encoder counts."""
        first = round(start * self.frame_rate)
        last = first + max(1, math.ceil(duration * self.frame_rate - 1e-6))
        return whole[..., first:last, :].clone()  # a view would take its whole session through a worker's queue

    def holds(self, cut: Cut) -> bool:
        """Whether the cut's frames are there and whole, as far as a file's head and length tell."""
        path = self.path(session_of(cut) or cut)
        if not path.is_file():
            return False
        try:
            with safe_open(path, "pt"):
                return True
        except Exception as error:  # as above
            _forget(path, error)
            return False

    def load_or_store(self, cut: Cut, encode: Callable[[Cut], Tensor]) -> Tensor:
        """The cut's frames as the cache keeps them, encoded and stored first where they aren't there."""
        frames = self.load(cut)
        if frames is None:
            self.store(cut, encode(cut))
            frames = self.load(cut)
        assert frames is not None
        return frames

    def store(self, cut: Cut, frames: Tensor) -> None:
        """Keep the cut's frames. Readers see the whole file or none, also when the run is killed in the middle."""
        if session_of(cut) is not None:
            return
        path = self.path(cut)
        frames = frames.detach().to("cpu", torch.float16).contiguous()
        if not torch.isfinite(frames).all():
            raise ValueError(
                f"cut {cut.id}: encoder frames are not finite in float16, so they are not cached in {path}; "
                "switch the frame cache off for this encoder, or look for broken audio"
            )
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._describe()
        # Not flushed: there are many, and a damaged one is made again.
        with replacing(path, flush=False) as draft:
            save_file({"frames": frames}, draft)

    def _describe(self) -> None:
        """Leave the full fingerprint beside the frames, for people who wonder what a folder holds."""
        note = self.folder / "fingerprint.txt"
        if not note.exists():
            write_text(note, self.fingerprint + "\n")


def _forget(path: Path, error: Exception) -> None:
    """Take a damaged file away, so that the next one who looks makes it anew."""
    warnings.warn(f"{path}: damaged cached frames ({error}); they are computed again", stacklevel=3)
    path.unlink(missing_ok=True)


def session_of(cut: Cut) -> MonoCut | MultiCut | None:
    """The session a random excerpt was cut out of, without its labels; None for any other cut."""
    part = SessionPart.of(cut)
    if part is None or part.fixed or not isinstance(cut, (MonoCut, MultiCut)):
        return None
    return part.session(cut)


def heard_key(cut: Cut) -> str:
    """A name for what is heard in the cut, whatever its id and its supervisions."""
    return _digest(json.dumps(_heard(cut), sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _heard(cut: Cut) -> Any:
    """Plain data that changes whenever the cut's audio does."""
    if isinstance(cut, PaddingCut):
        return {"silence": round(cut.duration, 6), "rate": cut.sampling_rate}
    if isinstance(cut, MixedCut):
        tracks = [[round(track.offset, 6), track.snr, _heard(track.cut)] for track in cut.tracks]
        return {"tracks": tracks, "transforms": _plain(cut.transforms)}
    if not isinstance(cut, (MonoCut, MultiCut)) or cut.recording is None:
        raise ValueError(f"cut {cut.id}: has no recording, so there is no audio to take frames from")
    return {
        "recording": _recording(cut.recording),
        "start": round(cut.start, 6),
        "duration": round(cut.duration, 6),
        "channel": cut.channel,
    }


def _recording(recording: Recording) -> Any:
    return {
        "id": recording.id,
        "rate": recording.sampling_rate,
        "sources": [[source.channels, _source(source)] for source in recording.sources],
        "transforms": _plain(recording.transforms),
    }


def _source(source: Any) -> Any:
    if source.type == "file":
        path = Path(source.source).resolve()  # a corpus reached by a link is the same corpus
        try:
            stat = path.stat()
        except OSError:  # reading the audio reports a missing file with its mend; here it is only a key without a match
            return [str(path), "missing"]
        return [str(path), stat.st_size, stat.st_mtime_ns]
    data = source.source
    return [source.type, hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else str(data)]


def _plain(transforms: Any) -> Any:
    return [t if isinstance(t, dict) else t.to_dict() for t in transforms or []]
