"""All audio files of a split looked at before anything is trained on them: each is there, and as long as is said."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import soundfile
from lhotse import Recording
from lhotse.augmentation import Resample
from lhotse.cut import Cut
from lightning.pytorch.utilities import rank_zero_info
from tqdm import tqdm

from speech_xl.data.audio import AudioError, recordings_of

TOLERANCE_SECONDS = 0.01  # by which a file may be shorter than its manifest says
LOSSY_TOLERANCE_SECONDS = 0.1  # where a decoder's delay counts for some readers and not for others
LOSSY = (".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm")
MOST_HEADERS = 20_000  # files whose headers are read; of more, so many spread evenly
NAMED = 3  # files that a message names
THREADS = 16


@dataclass(frozen=True)
class AudioFile:
    """A file, the seconds its manifest says it has (None: not to be compared), and a cut that hears it."""

    path: Path
    seconds: float | None
    cut: str


def check_audio_files(cuts: Iterable[Cut], split: str) -> None:
    """Raises AudioError where files are missing, are no files, are empty, or shorter than their manifest says.

    A length is read from the file's header, of `MOST_HEADERS` files at most; what only decoding can find isn't.
    """
    files = audio_files(cuts)
    step = max(1, -(-len(files) // MOST_HEADERS))
    if step > 1:
        rank_zero_info(
            f"data: all {len(files)} audio files of {split} are looked for, and every {step}th's length is read"
        )
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda numbered: fault_of(numbered[1], header=numbered[0] % step == 0), enumerate(files))
        bar = tqdm(found, total=len(files), desc=f"looking at the audio of {split}", unit="file", delay=1)
        faults = [(file, fault) for file, fault in zip(files, bar, strict=True) if fault]
    if faults:
        few = "; ".join(f"{file.path} (session {file.cut}) {fault}" for file, fault in faults[:NAMED])
        more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise AudioError(
            f"{len(faults)} of the {len(files)} audio files of {split} can't be used: {few}{more}. Restore them "
            "(relative paths begin in the working directory, or in corpus.audio_dir), or take the sessions out (where "
            "a recipe made them, delete the recipe's folder under data/ and prepare again)"
        )


def audio_files(cuts: Iterable[Cut]) -> list[AudioFile]:
    """Every file that the cuts hear, once, in the cuts' order."""
    files: dict[str, AudioFile] = {}
    for cut in cuts:
        for recording in recordings_of(cut):
            for source in recording.sources:
                if source.type == "file":
                    path = str(source.source)
                    seconds = _seconds_said(recording)
                    if path not in files or (files[path].seconds is None and seconds is not None):
                        files[path] = AudioFile(Path(path), seconds, cut.id)
    return list(files.values())


def _seconds_said(recording: Recording) -> float | None:
    """Seconds that the file itself should have; None where the recording was sped up or otherwise made another."""
    plain = all(isinstance(transform, Resample) for transform in recording.transforms or [])
    return recording.duration if plain else None


def fault_of(file: AudioFile, header: bool = True) -> str | None:
    """What is wrong with a file; with `header` its length is compared too, where libsndfile knows its kind."""
    try:
        if not file.path.is_file():
            return "is a folder" if file.path.is_dir() else "is missing"
        if not file.path.stat().st_size:
            return "is empty"
        if not header or file.seconds is None:
            return None
        info = soundfile.info(str(file.path))
    except OSError as error:
        return f"can't be looked at ({error.strerror})"
    except soundfile.LibsndfileError:
        return None  # of a kind that only other decoders know, or damaged: decoding it tells which
    if not 0 < info.frames < 2**62:
        return None  # written as a stream, by a program that couldn't go back to say how long it became
    seconds, lossy = info.frames / info.samplerate, file.path.suffix.lower() in LOSSY
    if seconds < file.seconds - (LOSSY_TOLERANCE_SECONDS if lossy else TOLERANCE_SECONDS):
        return f"has {seconds:.2f} s and its manifest says {file.seconds:.2f} s"
    return None
