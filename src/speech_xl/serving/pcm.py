"""Raw audio, as a microphone gives it: 16-bit little-endian PCM of one channel."""

from __future__ import annotations

from collections.abc import Generator
from email.message import Message
from pathlib import Path

import numpy as np

from speech_xl import SAMPLE_RATE
from speech_xl.serving.errors import ApiError

LEAST_RATE, MOST_RATE = 4_000, 192_000  # Hz
BLOCK_SECONDS = 10
MEND = "name the rate, as in 'Content-Type: audio/pcm;rate=16000'"


def pcm_rate(content_type: str) -> int | None:
    """The rate of ``audio/pcm;rate=16000``; None where the type is another. Raises ApiError (400)."""
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_type() not in ("audio/pcm", "audio/l16"):
        return None
    channels = header.get_param("channels", "1")
    if channels != "1":
        raise ApiError(400, "bad_pcm", f"PCM has one channel here, and channels is {channels!r}", "Content-Type")
    return checked_rate(header.get_param("rate"), MEND)


def checked_rate(rate: object, mend: str) -> int:
    """A text that names a rate in Hz. Raises ApiError (400) where it is missing or out of range."""
    if not isinstance(rate, str) or not rate.isdecimal() or not LEAST_RATE <= int(rate[:9]) <= MOST_RATE:
        said = f"rate: got {str(rate)[:40]!r}; PCM has from {LEAST_RATE} to {MOST_RATE} samples a second; {mend}"
        raise ApiError(400, "bad_pcm", said, "rate")
    return int(rate)


def pcm_seconds(path: Path, rate: int) -> float:
    """Of a file. Raises ApiError (400) where half a sample is at its end."""
    size = path.stat().st_size
    check_even(size)
    return size / 2 / rate


def check_even(size: int) -> None:
    """Raises ApiError (400)."""
    if size % 2:
        raise ApiError(400, "bad_pcm", f"PCM of 16 bits has two bytes a sample, and these are {size:,} bytes")


def pcm_blocks(path: Path) -> Generator[np.ndarray, None, None]:
    """A file's samples, float32 from -1 to 1, some seconds at a time."""
    with path.open("rb") as file:
        while block := file.read(2 * SAMPLE_RATE * BLOCK_SECONDS):
            yield samples(block)


def samples(data: bytes) -> np.ndarray:
    """Float32 [S], from -1 to 1."""
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768.0
