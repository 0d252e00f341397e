"""espeak-ng through ctypes, from the PyPI wheel `espeakng-loader`; run as a script it speaks one chunk of a job.

The library keeps global state (voice, flutter), so what an utterance sounds like depends on what was spoken before it.
A chunk is therefore always spoken from its beginning in a process of its own: the same chunk, the same samples.
This file imports nothing of the project, so that such a process starts quickly.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16000
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: samples come through the callback, before espeak_Synth returns
_DONT_EXIT = 0x8000  # espeak_Initialize: report an error instead of ending the process
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_UTF8 = 1
_WORD = 1  # espeak_EVENT_TYPE: a word begins; 0 ends the list of events
_LONGEST_PATH = 100  # characters; the library cuts longer data folders at 160, its own sub-folders included


@dataclass(frozen=True)
class Request:
    """One utterance to speak: an espeak voice such as "en-us+f3", words a minute, pitch 0 to 99, and the text."""

    voice: str
    rate: int
    pitch: int
    text: str


@dataclass(frozen=True)
class Spoken:
    """One utterance: float32 samples at 16 kHz, and the second at which each of its words begins."""

    samples: np.ndarray
    word_starts: list[float]


class _Event(ctypes.Structure):
    """espeak_EVENT: what happens at which native sample, and for a word the character it begins at, counted from 1."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class Espeak:
    """The library in this process. One instance a process; not safe to share between threads."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        rate = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, _short_path(espeakng_loader.get_data_path()).encode(), _DONT_EXIT
        )
        if rate <= 0:
            raise RuntimeError(
                f"espeak-ng did not start with the data folder {espeakng_loader.get_data_path()}; "
                "reinstall it: pip install --force-reinstall espeakng-loader"
            )
        self.native_rate = rate  # Hz
        self._buffers: list[np.ndarray] = []
        self._words: dict[int, int] = {}  # character of the text, from 0: native sample at which its word begins
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = callback(self._receive)  # kept here: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count: int, events) -> int:
        if samples and count > 0:
            self._buffers.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        heard, number = ctypes.cast(events, ctypes.POINTER(_Event)), 0
        while heard[number].type:
            if heard[number].type == _WORD:
                self._words.setdefault(heard[number].text_position - 1, heard[number].sample)
            number += 1
        return 0

    def speak(self, request: Request) -> Spoken:
        """The utterance, silence at both ends trimmed."""
        if self._library.espeak_SetVoiceByName(request.voice.encode()) != 0:
            raise ValueError(
                f"espeak-ng has no voice {request.voice!r}; see ACCENTS and VARIANTS in data_recipes/voices.py"
            )
        self._library.espeak_SetParameter(_RATE, request.rate, 0)
        self._library.espeak_SetParameter(_PITCH, request.pitch, 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath noise; the library seeds it by the clock
        self._buffers, self._words = [], {}
        text = request.text.encode()
        status = self._library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, _UTF8, None, None)
        if status != 0 or not self._buffers:
            raise RuntimeError(f"espeak-ng spoke nothing for {request}; status {status}")
        native = np.concatenate(self._buffers)
        first, last = _loud(native)
        seconds = {place: (sample - first) / self.native_rate for place, sample in self._words.items()}
        starts = word_starts(request.text, seconds, (last - first) / self.native_rate)
        return Spoken(_resample(native[first:last], self.native_rate), starts)


def _short_path(path: str) -> str:
    """The same folder under a name short enough for the library: a link that goes when the process ends."""
    if len(path) <= _LONGEST_PATH:
        return path
    folder = tempfile.mkdtemp(prefix="espeak-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = os.path.join(folder, "data")
    os.symlink(path, link)
    return link


def _loud(samples: np.ndarray, threshold: int = 100) -> tuple[int, int]:
    """First and last sample, not included, without the near-silence at both ends."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > threshold)
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(samples))


def word_starts(text: str, known: Mapping[int, float], end: float) -> list[float]:
    """Seconds at which each word begins, 0 to `end`, from those known by the character a word begins at.

    espeak-ng says some pairs of small words, such as "in the", as one; their second word begins as far along as its
    letters do.
    """
    positions = [match.start() for match in re.finditer(r"\S+", text)]
    anchors = {0: 0.0} | {place: known[place] for place in positions if place in known} | {len(text): end}
    starts = np.interp(positions, list(anchors), list(anchors.values()))
    return [round(float(start), 3) for start in np.clip(starts, 0.0, end)]


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    from math import gcd

    from scipy.signal import resample_poly

    common = gcd(rate, SAMPLE_RATE)
    speech = resample_poly(samples.astype(np.float32) / 32768, SAMPLE_RATE // common, rate // common)
    return speech.astype(np.float32)


def speak_chunk(requests: Sequence[Request], path: str | Path) -> None:
    """Speak the requests in a process of their own and write `path` for `read_chunk`: whole, or not there at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    worker = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), str(path)],
        input=json.dumps([asdict(request) for request in requests]),
        text=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if worker.returncode != 0:
        raise RuntimeError(f"speaking {path.name} with espeak-ng failed:\n{worker.stderr.strip()}")


def read_chunk(path: str | Path) -> list[Spoken]:
    """The utterances of a chunk in their order."""
    with np.load(path) as stored:
        samples = np.split(stored["samples"].astype(np.float32) / 32768, np.cumsum(stored["lengths"])[:-1])
        starts = np.split(stored["word_starts"], np.cumsum(stored["words"])[:-1])
    return [Spoken(heard, positions.tolist()) for heard, positions in zip(samples, starts, strict=True)]


def _main() -> None:
    path = Path(sys.argv[1])
    espeak = Espeak()
    spoken = [espeak.speak(Request(**fields)) for fields in json.load(sys.stdin)]
    samples = np.concatenate([one.samples for one in spoken])
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            samples=np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16),
            lengths=np.array([len(one.samples) for one in spoken]),
            word_starts=np.concatenate([one.word_starts for one in spoken]),
            words=np.array([len(one.word_starts) for one in spoken]),
        )
    os.replace(partial, path)


if __name__ == "__main__":
    _main()
