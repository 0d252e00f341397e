"""What the recipes of real corpora share: folders named by their settings, files found by name, facts, audio."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from lhotse import MonoCut, Recording
from tqdm.auto import tqdm

from speech_xl.data.sessions import SAMPLE_RATE
from speech_xl.storage.files import write_text

logger = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")


def settings_folder(root: str | Path, label: str, settings: Mapping) -> Path:
    """The folder of one choice of settings, so that another choice never reads or overwrites its sessions."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    return Path(root) / f"{label}-{digest}"


def is_prepared(folder: Path) -> bool:
    """Whether `mark_prepared` was reached; a killed run leaves the folder unmarked and is made again."""
    return (folder / "recipe.json").is_file()


def require_prepared(folder: Path) -> Path:
    """`folder`, or an error where it is missing or not whole."""
    if not is_prepared(folder):
        raise FileNotFoundError(f"{folder} is missing or not whole; call the corpus's prepare() first")
    return folder


def mark_prepared(folder: Path, settings: Mapping, facts: Mapping) -> None:
    """Write the settings and what came of them to recipe.json, as the last thing a recipe does."""
    write_text(folder / "recipe.json", json.dumps({"settings": settings, "facts": facts}, indent=2) + "\n")


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Let a second run that wants the same corpus wait for the first; a killed run holds nothing."""
    try:
        import fcntl
    except ImportError:  # not on Windows: there, don't start two runs before the corpus is made
        yield
        return
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def making(folder: Path) -> Iterator[bool]:
    """Whether a recipe is to make `folder`. One process makes it, and others wait and find it made."""
    if is_prepared(folder):
        yield False
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with only_one(folder.parent / "prepare.lock"):  # of all settings: they share what is downloaded
        yield not is_prepared(folder)


def folder_with(places: Iterable[Path], name: re.Pattern[str]) -> Path | None:
    """The first of these folders that has a file whose whole name matches; None if no one has."""
    for place in places:
        if place.is_dir() and any(name.fullmatch(path.name) for path in place.iterdir()):
            return place
    return None


def named_files(folder: Path, name: re.Pattern[str], example: str) -> list[tuple[re.Match[str], Path]]:
    """Every file whose whole name matches, sorted, with the match. Others are named in a warning."""
    found, others = [], []
    for path in sorted(folder.iterdir()):
        if match := name.fullmatch(path.name):
            found.append((match, path))
        elif not path.name.startswith("."):
            others.append(path.name)
    if others:
        logger.warning("%s: %d files are not named like %s, left out: %s", folder, len(others), example, others)
    return found


def split_facts(cuts: Sequence[MonoCut]) -> dict[str, int | float]:
    """How much there is in a split."""
    supervisions = [s for cut in cuts for s in cut.supervisions]
    return {
        "sessions": len(cuts),
        "hours": round(sum(cut.duration for cut in cuts) / 3600, 3),
        "utterances": len(supervisions),
        "words": sum(len((s.text or "").split()) for s in supervisions),
        "speakers": len({s.speaker for s in supervisions}),
    }


def read_mono(audio: str | Path | Recording) -> np.ndarray:
    """One channel of float32 samples at 16 kHz of a file of any rate and channels, resampled and mixed by lhotse."""
    source = audio.sources[0].source if isinstance(audio, Recording) else audio
    mend = "unpack or download the corpus again, or remove the file"
    try:
        recording = audio if isinstance(audio, Recording) else Recording.from_file(audio)
        samples = recording.resample(SAMPLE_RATE).load_audio() if recording.num_samples else np.zeros((1, 0))
    except Exception as error:  # each of lhotse's audio backends has its own exception types
        raise ValueError(f"{source}: cannot be read as audio ({type(error).__name__}: {error}); {mend}") from error
    if samples.size == 0:
        raise ValueError(f"{source}: has no samples; {mend}")
    return samples.mean(axis=0, dtype=np.float32)


def parallel_map(function: Callable[[T], R], items: Iterable[T], description: str, unit: str) -> list[R]:
    """`function` of every item in order, on as many threads as there are cores (decoding and FLAC release the GIL)."""
    items = list(items)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(tqdm(pool.map(function, items), total=len(items), desc=description, unit=unit))
