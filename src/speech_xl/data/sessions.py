"""Long-form sessions out of utterances: audio file, cut and supervisions with exact times, and a split's manifests."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.audio import AudioSource
from lhotse.cut.data import DataCut
from lhotse.utils import fastcopy

from speech_xl import SAMPLE_RATE

WORD_STARTS = "word_starts"  # key of a supervision's custom field; `word_times` reads it


@dataclass(frozen=True)
class Utterance:
    """One spoken utterance: mono float32 samples at 16 kHz within -1..1, and what is known about it."""

    samples: np.ndarray
    text: str
    speaker: str
    gender: str | None = None
    language: str = "English"
    word_starts: Sequence[float] | None = None
    """Seconds after its beginning, one a word, where they are known."""


def draw_pauses(rng: random.Random, utterances: int, low: float = 0.2, high: float = 0.8) -> list[float]:
    """Seconds of silence before the first utterance, between them, and after the last: `utterances + 1` of them."""
    return [rng.uniform(low, high) for _ in range(utterances + 1)]


def assemble_session(
    session_id: str,
    utterances: Sequence[Utterance],
    pauses: Sequence[float],
    path: str | Path,
    noise_rms: float = 0.0,
    custom: dict | None = None,
) -> MonoCut:
    """Lay utterances one after the other, write them as one FLAC file, and return the session's cut.

    `pauses` are seconds and one more than the utterances (before the first, between, after the last). Supervision times
    are exact to the sample. `noise_rms` adds white noise of that level (1.0 = full scale), seeded by the session's id.
    The cut's recording points at `path`; `write_split` makes it relative to the corpus folder.
    """
    if not utterances:
        raise ValueError(f"session {session_id}: no utterances; give at least one")
    if len(pauses) != len(utterances) + 1:
        raise ValueError(f"session {session_id}: {len(pauses)} pauses for {len(utterances)} utterances; give one more")
    path = Path(path)
    if path.suffix != ".flac":
        raise ValueError(f"session {session_id}: {path} must end in .flac")
    parts = [_silence(session_id, pauses[0])]
    position = len(parts[0])  # in samples
    supervisions = []
    for index, (utterance, pause) in enumerate(zip(utterances, pauses[1:], strict=True)):
        samples = np.asarray(utterance.samples, dtype=np.float32)
        if samples.ndim != 1 or len(samples) == 0:
            raise ValueError(
                f"session {session_id}, utterance {index} ({utterance.text!r}): samples have shape {samples.shape}; "
                "give one channel with at least one sample"
            )
        supervisions.append(
            SupervisionSegment(
                id=f"{session_id}-{index:03d}",
                recording_id=session_id,
                start=position / SAMPLE_RATE,
                duration=len(samples) / SAMPLE_RATE,
                channel=0,
                text=utterance.text,
                speaker=utterance.speaker,
                gender=utterance.gender,
                language=utterance.language,
                custom=None if utterance.word_starts is None else {WORD_STARTS: list(utterance.word_starts)},
            )
        )
        silence = _silence(session_id, pause)
        parts += [samples, silence]
        position += len(samples) + len(silence)
    audio = np.concatenate(parts)
    if noise_rms > 0:
        generator = np.random.default_rng(zlib.crc32(session_id.encode()))
        audio = audio + generator.standard_normal(len(audio), dtype=np.float32) * np.float32(noise_rms)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(audio, -1.0, 1.0), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    recording = Recording(
        id=session_id,
        sources=[AudioSource(type="file", channels=[0], source=str(path))],
        sampling_rate=SAMPLE_RATE,
        num_samples=len(audio),
        duration=len(audio) / SAMPLE_RATE,
    )
    return MonoCut(
        id=session_id,
        start=0.0,
        duration=recording.duration,
        channel=0,
        recording=recording,
        supervisions=supervisions,
        custom=dict(custom) if custom else None,
    )


def _silence(session_id: str, seconds: float) -> np.ndarray:
    if seconds < 0:
        raise ValueError(f"session {session_id}: a pause of {seconds} s; utterances must not overlap, give 0 or more")
    return np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)


def manifest_path(folder: str | Path, kind: str, split: str) -> Path:
    """Where `write_split` puts the manifest of one kind ("recordings", "supervisions" or "cuts")."""
    return Path(folder) / f"{kind}_{split}.jsonl.gz"


def write_split(folder: str | Path, split: str, cuts: Iterable[DataCut]) -> None:
    """Write a split's recordings, supervisions and cuts under `folder`.

    Audio paths are stored relative to `folder`, so the corpus may be moved; audio elsewhere keeps its absolute path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = [_with_source(cut, folder, relative=True) for cut in cuts]
    if not stored:
        raise ValueError(f"split {split!r} of {folder} has no sessions; ask for at least one")
    RecordingSet.from_recordings(_recording(cut) for cut in stored).to_file(manifest_path(folder, "recordings", split))
    SupervisionSet.from_segments(s for cut in stored for s in cut.supervisions).to_file(
        manifest_path(folder, "supervisions", split)
    )
    CutSet.from_cuts(stored).to_file(manifest_path(folder, "cuts", split))


def read_split(folder: str | Path, split: str) -> CutSet:
    """The cuts of a split written by `write_split`, their audio paths made good for this folder."""
    path = manifest_path(folder, "cuts", split)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; call the corpus's prepare() first")
    cuts = [_with_source(cut, Path(folder), relative=False) for cut in CutSet.from_file(path)]
    if not cuts:
        raise ValueError(f"{path} is empty; delete the folder {folder} and prepare the corpus again")
    return CutSet.from_cuts(cuts)


def _with_source(cut: DataCut, folder: Path, relative: bool) -> DataCut:
    """The same cut with its audio path relative to `folder`, or joined to it."""
    sources = []
    for source in _recording(cut).sources:
        path = Path(str(source.source))
        if relative:
            path = path.absolute()
            if path.is_relative_to(folder.absolute()):
                path = path.relative_to(folder.absolute())
        else:
            path = folder / path  # an absolute path stays as it is
        sources.append(fastcopy(source, source=str(path)))
    return fastcopy(cut, recording=fastcopy(_recording(cut), sources=sources))


def _recording(cut: DataCut) -> Recording:
    if cut.recording is None:
        raise ValueError(f"cut {cut.id} has no recording; a session needs one audio file")
    return cut.recording
