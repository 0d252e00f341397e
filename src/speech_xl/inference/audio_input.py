"""Audio as users have it, a file, its bytes, or arrays of any rate, as what a listener hears: 16 kHz, one channel."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from speech_xl import SAMPLE_RATE
from speech_xl.checks import number, whole
from speech_xl.data.decode import AudioError, AudioFile, Resampler

Progress: TypeAlias = Callable[[float, "float | None"], None]
"""Called with the seconds heard so far and how many there are, None where nobody knows."""
MOST_CHANNELS = 64  # of an array: with more it is taken for [samples, channels]
LEAST_RATE = 100  # Hz
FULL_SCALE = {torch.int16: 2.0**15, torch.int32: 2.0**31}


@dataclass(frozen=True)
class NamedAudio:
    """An audio file whose path means nothing to who gave it, such as an upload; `name` is what messages call it."""

    path: str | Path
    name: str


Audio: TypeAlias = "str | Path | NamedAudio | AudioFile | bytes | bytearray | memoryview | np.ndarray | Tensor"
"""A file's path (or the file, once it was looked at), a whole file's bytes, or an array or tensor [samples] or
[channels, samples], which needs its rate."""


@contextmanager
def opened(audio: str | Path | NamedAudio | AudioFile | bytes | bytearray | memoryview) -> Iterator[AudioFile]:
    """The file that this is, of any container; bytes lie in a private file for as long as it is open.

    What whoever hears it should know is warned of, but of an `AudioFile`: who has one has looked. Raises AudioError
    where it is no audio.
    """
    if isinstance(audio, AudioFile):
        yield audio
        return
    if isinstance(audio, (bytes, bytearray, memoryview)):
        if not len(audio):
            raise AudioError("the audio given has 0 bytes; give the whole of an audio file")
        with TemporaryDirectory(prefix="speech_xl-") as folder:
            path = Path(folder) / "audio"
            path.write_bytes(audio)
            with opened(NamedAudio(path, "audio")) as file:
                yield file
        return
    path, name = (audio.path, audio.name) if isinstance(audio, NamedAudio) else (audio, str(audio))
    if "://" in name and not Path(path).exists():
        raise AudioError(f"{name} is an address; download the file and give its path")
    file = AudioFile.of(path, name)
    for remark in file.remarks():
        warnings.warn(f"{file.name}: {remark}", stacklevel=3)
    yield file


def is_file(audio: Any) -> bool:
    """Whether this is a whole file, not an array. Raises ValueError where it is neither."""
    if isinstance(audio, (str, Path, NamedAudio, AudioFile, bytes, bytearray, memoryview)):
        return True
    if isinstance(audio, (np.ndarray, Tensor)):
        return False
    raise ValueError(
        f"audio: got {type(audio).__name__}; give a path, the bytes of a file, or an array or tensor with its rate"
    )


def as_mono(samples: np.ndarray | Tensor) -> np.ndarray:
    """Samples [samples] or [channels, samples], float from -1 to 1 or int16 or int32, as float32 [samples].

    Channels are averaged. Raises ValueError for other shapes and types, and numbers that aren't finite.
    """
    if isinstance(samples, np.ndarray) and any(stride < 0 for stride in samples.strides):
        samples = samples.copy()  # backwards, which torch can't read
    try:
        tensor = torch.as_tensor(samples).detach().cpu()
    except (TypeError, ValueError) as error:
        raise ValueError(f"audio of type {samples.dtype}: give numbers from -1 to 1, or int16 or int32") from error
    if tensor.dtype in FULL_SCALE:
        tensor = tensor.double() / FULL_SCALE[tensor.dtype]
    if not tensor.is_floating_point():
        raise ValueError(f"audio of type {samples.dtype}: give numbers from -1 to 1, or int16 or int32")
    if tensor.dim() not in (1, 2) or (tensor.dim() == 2 and not 1 <= len(tensor) <= MOST_CHANNELS):
        raise ValueError(f"audio of shape {list(tensor.shape)}: give [samples] or [channels, samples]")
    mono = tensor.float() if tensor.dim() == 1 else tensor.float().mean(0)
    if not mono.isfinite().all():
        raise ValueError("audio with samples that are not finite numbers: leave them out, or set them to 0")
    return mono.numpy()


def heard_chunks(audio: Audio, rate: float | None, intake: Intake, progress: Progress | None) -> Iterator[Tensor]:
    """What a listener is to hear of this audio next, float32 [S] at 16 kHz; `intake` goes from one call to the next.

    A file ends the arrays before it. `progress` is called once a chunk was heard, of files. Raises as `opened` does,
    and ValueError where an array or its rate can't be used.
    """
    if not is_file(audio):
        yield intake.push(audio, rate)  # pyright: ignore[reportArgumentType]
        return
    if rate is not None:
        raise ValueError(f"rate: got {rate}; a file says its rate itself, leave it out")
    with opened(audio) as file:  # pyright: ignore[reportArgumentType]
        yield intake.flush()
        heard = 0
        for chunk in file.chunks():
            yield chunk
            heard += len(chunk)
            if progress is not None:
                progress(heard / SAMPLE_RATE, file.seconds)


class Intake:
    """Arrays of any rate, one behind the other, as float32 [S] at 16 kHz; the chunks' sizes make no difference.

    What the resampling filter needs more of is held back, some milliseconds, until more comes or `flush`. A chunk of
    another rate ends what came before it.
    """

    def __init__(self) -> None:
        self.rate, self.taken, self.given = SAMPLE_RATE, 0, 0  # of one rate: samples in, and samples out
        self.resampler = Resampler(SAMPLE_RATE)

    def push(self, samples: np.ndarray | Tensor, rate: int | float | None) -> Tensor:
        """Raises ValueError where the rate is missing or out of range, or the samples can't be used (`as_mono`)."""
        if rate is None:
            raise ValueError("rate: missing; an array needs its samples a second, such as rate=16000")
        rate = whole("rate", int(number("rate", rate, least=LEAST_RATE, unit="Hz")), least=LEAST_RATE)
        mono = as_mono(samples)
        before = self._begin(rate) if rate != self.rate else torch.zeros(0)
        self.taken += len(mono)
        return torch.cat([before, self._give(self.resampler.push(mono))])

    def flush(self) -> Tensor:
        """The rest of what came before, which has ended."""
        return self._begin(self.rate)

    def _begin(self, rate: int) -> Tensor:
        rest = self._give(self.resampler.flush())
        self.rate, self.taken, self.given = rate, 0, 0
        self.resampler = Resampler(rate)
        return rest

    def _give(self, out: np.ndarray) -> Tensor:
        """A rest of audio is no longer than it was, as of a file."""
        out = out[: round(self.taken / self.rate * SAMPLE_RATE) - self.given]
        self.given += len(out)
        return torch.from_numpy(out)

    def copy(self) -> Intake:
        other = copy(self)
        other.resampler = copy(self.resampler)
        return other

    # What it holds back, for a file

    def state(self) -> tuple[Tensor, dict[str, int]]:
        """Held samples [S] and counts, which `from_state` takes."""
        counts = {name: getattr(self.resampler, name) for name in ("first", "done")}
        counts |= {name: getattr(self, name) for name in ("rate", "taken", "given")}
        return torch.from_numpy(self.resampler.held.copy()), counts

    @classmethod
    def from_state(cls, held: Tensor, counts: dict[str, Any]) -> Intake:
        """Raises KeyError or ValueError where a count is missing or no whole number."""
        made = cls()
        made.rate = whole("rate", counts["rate"], least=LEAST_RATE)
        made.resampler = Resampler(made.rate)
        made.resampler.held = held.cpu().numpy()
        made.taken, made.given = whole("taken", counts["taken"]), whole("given", counts["given"])
        made.resampler.first, made.resampler.done = whole("first", counts["first"]), whole("done", counts["done"])
        return made
