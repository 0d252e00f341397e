"""An audio file from its first to its last sample, in blocks, whatever its header says.

libsndfile (soundfile) opens most kinds; PyAV, where the extra `media` is installed, MP4, M4A, AAC, WebM and others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from lhotse.augmentation import Resample
from torch import Tensor

from speech_xl import SAMPLE_RATE
from speech_xl.data.channels import ChannelEnergy, to_mono
from speech_xl.data.containers import View, full_views, wav_data

BLOCK_SECONDS = 30.0
SLACK_SECONDS = 0.01  # by which a header may be wrong without a word
UNREAD = 65_536  # bytes behind the audio that need a word: tags are shorter
MAGIC = (
    (4, b"ftyp", "an MP4 or M4A file"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (0, b"\xff\xf1", "an AAC file"),
    (0, b"\xff\xf9", "an AAC file"),
    (0, b"\x30\x26\xb2\x75", "a WMA file"),
    (0, b"#!AMR", "an AMR file"),
    (8, b"AVI ", "an AVI file"),
    (0, b"FLV", "an FLV file"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MAC ", "a Monkey's Audio file"),
)


class AudioError(RuntimeError):
    """Audio can't be used; the message names the file and the mend."""


class _Forward(soundfile.SoundFile):
    """Read from beginning to end: seeking, which soundfile does after every read, fails where a length is unknown."""

    def seekable(self) -> bool:
        return False


@dataclass(frozen=True)
class AudioFile:
    """A file that was decoded once, to know what is in it.

    rate            samples a second, as they are in the file
    energy          of its channels, and how many samples were decoded
    header_seconds  what its header says, None where it says nothing
    views           of libsndfile, to be read one after another; None where PyAV reads it
    unread          bytes behind the audio
    """

    path: str
    rate: int
    energy: ChannelEnergy
    header_seconds: float | None
    views: tuple[View, ...] | None
    unread: int = 0

    @classmethod
    def of(cls, path: str | Path) -> AudioFile:
        """Raises AudioError where it is missing, empty, damaged, or of a kind that nothing here opens."""
        path = str(path)
        if not Path(path).is_file():
            raise AudioError(f"{path} {'is no file' if Path(path).exists() else 'is missing'}; name an audio file")
        try:
            found = _with_libsndfile(path)
        except soundfile.LibsndfileError as error:
            found = _with_av(path, error)
        except OSError as error:
            raise AudioError(f"{path} can't be read ({error.strerror}); name an audio file") from error
        if not found.energy.samples:
            raise AudioError(f"{path} holds no audio; leave it out")
        if not found.energy.finite:
            raise AudioError(f"{path} holds samples that are not numbers; leave it out, or repair it")
        return found

    @property
    def seconds(self) -> float:
        """Of audio, as decoded."""
        return self.energy.samples / self.rate

    def remarks(self) -> list[str]:
        """What who hears it should know, a sentence each."""
        found = []
        if self.header_seconds is not None and abs(self.header_seconds - self.seconds) > SLACK_SECONDS:
            found.append(f"its header says {self.header_seconds:.1f} s, {self.seconds:.1f} s decoded and heard")
        if self.unread > UNREAD:
            found.append(
                f"{self.unread:,} bytes behind its audio are not heard; if they are audio, {_convert(self.path)}"
            )
        if (alone := self.energy.alone()) is not None:
            found.append(f"its channels cancel when mixed, so channel {alone + 1}, the loudest, is heard alone")
        if nothing := self.energy.no_speech(self.rate):
            found.append(nothing)
        return found

    def blocks(self) -> Iterator[np.ndarray]:
        """All of it, float32 [N, C] at its own rate, some seconds at a time."""
        if self.views is None:
            yield from av_blocks(self.path)
        for view in self.views or ():
            yield from _read(self.path, view)

    def chunks(self) -> Iterator[Tensor]:
        """All of it at 16 kHz, float32 [S], one channel, resampled as a whole would be."""
        resampler, alone, left = Resampler(self.rate), self.energy.alone(), round(self.seconds * SAMPLE_RATE)
        mono = (to_mono(block, alone) for block in self.blocks())
        for piece in chain(map(resampler.push, mono), (resampler.flush() for _ in range(1))):
            yield torch.from_numpy(piece[:left])
            left -= min(left, len(piece))


class Resampler:
    """To 16 kHz by the filter of training (lhotse's), block by block: the same as the whole at once.

    A block is resampled with what lies before and behind it, as far as the filter reaches, and starts where a sample of
    input and one of output coincide.
    """

    def __init__(self, rate: int) -> None:
        common = gcd(rate, SAMPLE_RATE)
        self.up, self.down = SAMPLE_RATE // common, rate // common
        reach = (
            10 * max(1.0, self.down / self.up) + 2
        )  # scipy's filter, in samples of input; that of torchaudio is shorter
        self.reach = int(-(-reach // self.down)) * self.down
        self.resample = Resample(rate, SAMPLE_RATE)
        self.held = np.zeros(0, np.float32)
        self.first = self.done = 0  # sample of input at which `held` begins; up to which output was given

    def push(self, block: np.ndarray) -> np.ndarray:
        """Another block [N]: the output that is final now."""
        if self.up == self.down:
            return np.ascontiguousarray(block, dtype=np.float32)
        self.held = np.concatenate([self.held, block])
        return self._give((self.first + len(self.held) - self.reach) // self.down * self.down)

    def flush(self) -> np.ndarray:
        """The rest, where the audio has ended."""
        return self._give(None) if len(self.held) else self.held

    def _give(self, until: int | None) -> np.ndarray:
        if until is not None and until <= self.done:
            return np.zeros(0, np.float32)
        start = (self.done - self.first) // self.down * self.up
        stop = None if until is None else (until - self.first) // self.down * self.up
        out = self.resample(self.held[None])[0, start:stop].astype(np.float32)
        if until is not None:
            self.done, first = until, max(0, until - self.reach)
            self.held, self.first = self.held[first - self.first :], first
        return out


def _with_libsndfile(path: str) -> AudioFile:
    """By its header, and where that leaves bytes unread, by all that is known about such files."""
    with open(path, "rb") as raw, _Forward(raw) as file:
        kind, rate, channels, frames = file.format, file.samplerate, file.channels, file.frames
    header = _header_seconds(path, frames / rate)
    energy, unread = _measure(path, [View()], channels)
    found = AudioFile(path, rate, energy, header, (View(),), unread)
    if not unread or not (views := full_views(path, kind)) or views == [View()]:
        return found
    energy, unread = _measure(path, views, channels)
    more = energy.samples - found.energy.samples > SLACK_SECONDS * rate
    return AudioFile(path, rate, energy, header, tuple(views), unread) if more else found


def _header_seconds(path: str, seconds: float) -> float | None:
    """What the header says: libsndfile corrects a WAV's to what the file has room for."""
    with open(path, "rb") as file:
        found = wav_data(file)
    if found is not None:
        size = found[1]
        info = soundfile.info(path)
        wide = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "PCM_U8": 1, "ULAW": 1, "ALAW": 1}
        if not 0 < size < 0x7FFFFFFF:
            return None  # written into a pipe, whose end nobody knew
        if info.subtype in wide:
            return size / (wide[info.subtype] * info.channels * info.samplerate)
    return seconds if seconds < 1e9 else None


def _measure(path: str, views: list[View], channels: int) -> tuple[ChannelEnergy, int]:
    """Energy over all views, and the bytes that the last one left unread."""
    energy, unread = ChannelEnergy(channels), 0
    for view in views:
        with view.open(path) as raw:
            for block in _blocks(raw, path, channels):
                energy.add(block)
            unread = raw.unread
    return energy, unread


def _read(path: str, view: View) -> Iterator[np.ndarray]:
    with view.open(path) as raw:
        yield from _blocks(raw, path, None)


def _blocks(raw: Any, path: str, channels: int | None) -> Iterator[np.ndarray]:
    with _Forward(raw) as file:
        if channels not in (None, file.channels):
            raise AudioError(f"{path} goes on with {file.channels} channels in place of {channels}; {_convert(path)}")
        count, decoded = round(BLOCK_SECONDS * file.samplerate), 0
        while decoded < file.frames:  # asked for more, libsndfile would read on and throw it away
            try:
                block = file.read(min(count, file.frames - decoded), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                after = f"damaged after {decoded / file.samplerate:.1f} s ({error.error_string})"
                raise AudioError(f"{path} is {after}; restore it, or {_convert(path)} what can be saved") from error
            if not len(block):
                return
            decoded += len(block)
            yield block


def _with_av(path: str, error: Exception) -> AudioFile:
    """By PyAV, where it is installed. Raises AudioError where it isn't, or can't open the file either."""
    with open(path, "rb") as file:
        head = file.read(16)
    what = next((name for place, magic, name in MAGIC if head[place : place + len(magic)] == magic), None)
    try:
        import av  # pyright: ignore[reportMissingImports]  # the extra `media`
    except ImportError:
        if what is None:
            raise AudioError(
                f"{path} can't be read as audio ({error}); name an audio file, or {_convert(path)}"
            ) from error
        raise AudioError(
            f"{path} is {what}, which libsndfile doesn't open: install PyAV (pip install 'speech-xl-suite[media]'), "
            f"or {_convert(path)}"
        ) from error
    try:
        with av.open(path) as container:
            if not container.streams.audio:
                raise AudioError(f"{path} has no audio stream; name an audio file")
            stream = container.streams.audio[0]
            rate, channels = stream.codec_context.sample_rate, stream.codec_context.layout.nb_channels
            declared_seconds = stream.duration * stream.time_base if stream.duration is not None else None
        energy = ChannelEnergy(channels)
        for block in av_blocks(path):
            energy.add(block)
    except (av.FFmpegError, ValueError) as failure:  # the latter of what FFmpeg takes for a stream without channels
        kind = f"{what}; " if what else ""
        raise AudioError(f"{path} can't be read as audio ({kind}{failure}); {_convert(path)}") from failure
    return AudioFile(path, rate, energy, None if declared_seconds is None else float(declared_seconds), None)


def av_blocks(path: str) -> Iterator[np.ndarray]:
    """The first audio stream of a file that PyAV opens, float32 [N, C] at its own rate."""
    import av  # pyright: ignore[reportMissingImports]  # the extra `media`

    with av.open(path) as container:
        stream = container.streams.audio[0]
        context = stream.codec_context
        resampler = av.AudioResampler(format="fltp", layout=context.layout.name, rate=context.sample_rate)
        for frame in container.decode(audio=0):
            for out in resampler.resample(frame):
                yield out.to_ndarray().T
        for out in resampler.resample(None):
            yield out.to_ndarray().T


def _convert(path: str) -> str:
    return f"convert it: ffmpeg -i {path} {Path(path).stem}.converted.flac"
