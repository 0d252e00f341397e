"""Audio files of benchmarks, looked at by their headers: a recording each, or in a few words why there is none."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile
from lhotse import Recording
from lhotse.audio import AudioSource
from tqdm.auto import tqdm

from speech_xl.data.channels import SHORTEST_SOUND
from speech_xl.data.containers import wav_data

THREADS = 16  # that wait for a disk
MISSING = "audio file missing"
A_FOLDER = "audio path is a folder"
CUT_OFF = "audio file cut off"
UNREADABLE = "audio file can't be read"
NO_LENGTH = "audio file whose header says no length"
NO_SOUND = "audio file without sound"
NO_END = 0x7FFFF000  # bytes: a WAV of which the length was not known says that many, or more
OGG_PAGE = 65_307  # bytes of the longest page: a header of 27, a table of 255, and as many segments of 255
OGG_LAST = 0x04  # flag of a stream's last page (RFC 3533)


def look_at(folder: Path, paths: Iterable[str], description: str) -> tuple[dict[str, Recording], dict[str, str]]:
    """Read the headers of audio files below `folder`, in parallel: path -> recording, and path -> why there is none."""
    names = list(dict.fromkeys(paths))
    recordings: dict[str, Recording] = {}
    faults: dict[str, str] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda name: recording_of(folder / name, name), names)
        for name, one in zip(names, tqdm(found, total=len(names), desc=description, unit="file", delay=1), strict=True):
            if isinstance(one, Recording):
                recordings[name] = one
            else:
                faults[name] = one
    return recordings, faults


def recording_of(path: Path, name: str) -> Recording | str:
    """A recording by the file's header, or why the file can't be used.

    What only decoding can find (a FLAC or MP3 that ends early) isn't found here.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            return A_FOLDER
        if cut_off(path, size):
            return CUT_OFF
        info = soundfile.info(str(path))
    except FileNotFoundError:
        return MISSING
    except OSError:
        return UNREADABLE
    except soundfile.LibsndfileError:
        return _by_another_reader(path, name)
    if info.frames >= 2**62:
        return NO_LENGTH
    if info.frames < SHORTEST_SOUND * info.samplerate:
        return NO_SOUND
    source = AudioSource(type="file", channels=list(range(info.channels)), source=str(path.absolute()))
    return Recording(name, [source], info.samplerate, info.frames, info.frames / info.samplerate)


def _by_another_reader(path: Path, name: str) -> Recording | str:
    """Of a kind that libsndfile doesn't open (M4A): by one of lhotse's other readers, where one is installed."""
    try:
        recording = Recording.from_file(path.absolute(), recording_id=name)
    except Exception:  # each of the readers has its own exception types
        return UNREADABLE
    return recording if recording.duration >= SHORTEST_SOUND else NO_SOUND


def cut_off(path: Path, size: int) -> bool:
    """Whether a file of `size` bytes is empty, or a WAV or Ogg (Vorbis, Opus) that ends before its own end.

    libsndfile takes such a file for a shorter recording. A WAV is shorter than its header says; the last page of an
    Ogg isn't whole, or isn't marked as the last of its stream.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"OggS":
            file.seek(max(0, size - 2 * OGG_PAGE))
            return not _ends_ogg(file.read())
        samples = wav_data(file)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return size == 0
    start, declared = (8, struct.unpack("<I", head[4:8])[0]) if samples is None else (samples[0] + 4, samples[1])
    return size < start + declared and declared < NO_END


def _ends_ogg(tail: bytes) -> bool:
    """Whether the last page in these bytes is whole, and marked as the last of its stream."""
    page = tail[max(0, tail.rfind(b"OggS\0")) :]
    if len(page) < 27 or page[:4] != b"OggS" or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & OGG_LAST) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
