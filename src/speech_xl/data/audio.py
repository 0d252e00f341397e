"""Audio of a cut as the encoders want it, 16 kHz mono; a file that can't be used is named with its mend."""

from __future__ import annotations

import numpy as np
import soundfile
import torch
from lhotse import Recording
from lhotse.augmentation import Resample
from lhotse.cut import Cut, MixedCut, MonoCut, MultiCut
from torch import Tensor

from speech_xl import SAMPLE_RATE


class AudioError(RuntimeError):
    """A session's audio can't be used; the message names the file and the mend."""


def load_audio(cut: Cut) -> Tensor:
    """[S] float32 at 16 kHz: resampled by lhotse where needed, the channels of a cut averaged to one."""
    for recording in recordings_of(cut):
        _check_rate(cut, recording)
    try:
        resampled = cut if cut.sampling_rate == SAMPLE_RATE else cut.resample(SAMPLE_RATE)
        audio = resampled.load_audio()
    except Exception as error:  # file system, decoder and lhotse's checks raise many kinds, few of them name the file
        raise AudioError(_complaint(cut, f"can't be read ({_first_line(error)})")) from error
    if audio is None or audio.size == 0:
        raise AudioError(_complaint(cut, "holds no audio"))
    mono = np.atleast_2d(audio).mean(axis=0, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError(_complaint(cut, "holds samples that are not numbers"))
    return torch.from_numpy(np.ascontiguousarray(mono, dtype=np.float32))


def recordings_of(cut: Cut) -> list[Recording]:
    """All that is heard in a cut, track by track."""
    tracks = [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]
    recordings = [track.recording for track in tracks if isinstance(track, (MonoCut, MultiCut))]
    return [recording for recording in recordings if recording is not None]


def _check_rate(cut: Cut, recording: Recording) -> None:
    """Refuse a file whose sample rate is not the manifest's: lhotse would play it at another speed."""
    resampled = [t for t in recording.transforms or [] if isinstance(t, Resample)]
    said = resampled[0].source_sampling_rate if resampled else recording.sampling_rate
    for source in recording.sources:
        if source.type != "file":
            continue
        try:
            found = soundfile.info(str(source.source)).samplerate
        except (OSError, soundfile.LibsndfileError):
            continue  # missing, damaged, or of a kind only lhotse's other readers know: reading it tells which
        if found != said:
            raise AudioError(_complaint(cut, f"has {found} samples a second and its manifest says {said}"))


def _complaint(cut: Cut, what: str) -> str:
    sources = [source for recording in recordings_of(cut) for source in recording.sources]
    names = sorted({s.source if isinstance(s.source, str) else f"<{s.type}>" for s in sources})
    return (
        f"audio {', '.join(names) or '<none>'} of session {cut.id} (from {getattr(cut, 'start', 0.0):.2f} s, "
        f"{cut.duration:.2f} s long) {what}; restore the file, or delete the corpus folder and prepare the corpus "
        "again, or take the session out of the manifest"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
