"""Audio of a cut as the encoders want it, 16 kHz mono; a file that can't be used is named with its mend."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from lhotse import Recording
from lhotse.audio import set_audio_duration_mismatch_tolerance
from lhotse.augmentation import Resample
from lhotse.cut import Cut, MixedCut, MonoCut, MultiCut
from lhotse.utils import fastcopy
from torch import Tensor

from speech_xl import SAMPLE_RATE
from speech_xl.data.channels import ChannelEnergy
from speech_xl.data.decode import AudioError, AudioFile

__all__ = ["AudioError", "load_audio", "recordings_of"]

# A file that is shorter than its manifest by less than this is filled with its own end, mirrored, by lhotse. Its
# default, 0.5 s, is speech that nobody said.
ROUNDING_SECONDS = 0.005
with warnings.catch_warnings():  # that augmentations may need more; speed, the one there is here, doesn't
    warnings.simplefilter("ignore")
    set_audio_duration_mismatch_tolerance(ROUNDING_SECONDS)


def load_audio(cut: Cut) -> Tensor:
    """[S] float32 at 16 kHz: resampled by lhotse where needed, the channels of a cut averaged to one, or, where they
    cancel in their recording, the loudest of them alone.

    Raises AudioError where it can't be read, is shorter than its manifest says, or is no audio. Warns of silence.
    """
    for track in _tracks(cut):
        _check_file(cut, track)
    try:
        mono = _without_cancelling(cut)
        resampled = mono if mono.sampling_rate == SAMPLE_RATE else mono.resample(SAMPLE_RATE)
        audio = resampled.load_audio()
    except AudioError as error:
        raise AudioError(_complaint(cut, f"can't be read ({error})")) from error
    except Exception as error:  # file system, decoder and lhotse's checks raise many kinds, few of them name the file
        cause = _decoders_cause(cut) or _first_line(error)
        raise AudioError(_complaint(cut, f"can't be read ({cause})")) from error
    if audio is None or audio.size == 0:
        raise AudioError(_complaint(cut, "holds no audio"))
    mono = np.atleast_2d(audio).mean(axis=0, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError(_complaint(cut, "holds samples that are not numbers"))
    _warn_of_silence(cut, mono)
    return torch.from_numpy(np.ascontiguousarray(mono, dtype=np.float32))


def recordings_of(cut: Cut) -> list[Recording]:
    """All that is heard in a cut, track by track."""
    return [track.recording for track in _tracks(cut) if track.recording is not None]


def _tracks(cut: Cut) -> list[MonoCut | MultiCut]:
    tracks = [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]
    return [track for track in tracks if isinstance(track, (MonoCut, MultiCut))]


def _check_file(cut: Cut, track: MonoCut | MultiCut) -> None:
    """Refuse what lhotse would hear otherwise than the manifest says, without a word: a start before the beginning, a
    file of another sample rate, at another speed, and one that ends early, with its end mirrored."""
    if not track.start >= 0:
        raise AudioError(_complaint(cut, f"is asked for from {track.start} s on, where there is none"))
    recording = track.recording
    if recording is None:
        return
    resampled = [t for t in recording.transforms or [] if isinstance(t, Resample)]
    declared_rate = resampled[0].source_sampling_rate if resampled else recording.sampling_rate
    for source in recording.sources:
        if source.type != "file":
            continue
        try:
            found = soundfile.info(str(source.source))
        except (OSError, soundfile.LibsndfileError):
            continue  # missing, damaged, or of a kind only lhotse's other readers know: reading it tells which
        if found.samplerate != declared_rate:
            raise AudioError(
                _complaint(cut, f"has {found.samplerate} samples a second and its manifest says {declared_rate}")
            )
        if len(resampled) == len(recording.transforms or []) and track.end > found.duration + ROUNDING_SECONDS:
            raise AudioError(_complaint(cut, f"is {found.duration:.3f} s long and asked for up to {track.end:.3f} s"))


def _without_cancelling(cut: Cut) -> Cut:
    """The same cut, but with one channel of each recording whose channels cancel when mixed."""
    if isinstance(cut, MixedCut):
        tracks = [fastcopy(track, cut=_without_cancelling(track.cut)) for track in cut.tracks]
        return fastcopy(cut, tracks=tracks)
    if not isinstance(cut, MultiCut) or cut.recording is None or not isinstance(cut.channel, list):
        return cut
    sources = cut.recording.sources
    if len(cut.channel) < 2 or len(sources) != 1 or sources[0].type != "file":
        return cut
    path = str(sources[0].source)
    stat = Path(path).stat()
    alone = _energy(path, stat.st_size, stat.st_mtime_ns).alone(cut.channel)
    if alone is None:
        return cut
    warnings.warn(
        f"{path}: its channels cancel when mixed, so channel {alone + 1}, the loudest, is heard alone", stacklevel=2
    )
    return cut.with_channels(alone)


@lru_cache(maxsize=4096)
def _energy(path: str, _size: int, _changed: int) -> ChannelEnergy:
    """Of a whole file: what is heard of a recording doesn't depend on where a cut lies in it."""
    return AudioFile.of(path).energy


def _warn_of_silence(cut: Cut, mono: np.ndarray) -> None:
    if not recordings_of(cut):
        return
    energy = ChannelEnergy(1)
    energy.add(mono[:, None])
    if nothing := energy.no_speech(SAMPLE_RATE):
        warnings.warn(_complaint(cut, nothing, mend=False), stacklevel=2)


def _complaint(cut: Cut, what: str, mend: bool = True) -> str:
    sources = [source for recording in recordings_of(cut) for source in recording.sources]
    names = sorted({s.source if isinstance(s.source, str) else f"<{s.type}>" for s in sources})
    where = f"from {getattr(cut, 'start', 0.0):.2f} s, {cut.duration:.2f} s long"
    complaint = f"audio {', '.join(names) or '<none>'} of session {cut.id} ({where}) {what}"
    if not mend:
        return complaint
    return (
        f"{complaint}; restore the file, or take the session out (where a recipe made it, delete the recipe's folder "
        "under data/ and prepare again)"
    )


def _decoders_cause(cut: Cut) -> str | None:
    """What libsndfile says of the files of a cut; None where it reads them all.

    lhotse tries several readers. Where FFmpeg is installed, its last one reads a damaged file in part, and lhotse then
    complains of the length alone.
    """
    sources = [source for recording in recordings_of(cut) for source in recording.sources if source.type == "file"]
    try:
        for source in sources:
            AudioFile.of(str(source.source))
    except AudioError as error:
        return str(error)
    return None


def _first_line(error: Exception) -> str:
    """The first line that says something: not one that only leads to the next, as "... failed. Details:" does."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.endswith(":")] or lines
    return f"{type(error).__name__}: {telling[0][:300]}" if telling else type(error).__name__
