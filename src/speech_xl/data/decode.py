"""An audio file from its first to its last sample, in blocks, whatever its header says.

libsndfile (soundfile) opens most kinds; PyAV, which brings FFmpeg, MP4, M4A, AAC, WebM, video and others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import gcd
from pathlib import Path
from shlex import quote
from typing import Any

import av
import numpy as np
import soundfile
import torch
from lhotse.augmentation import Resample
from torch import Tensor

from speech_xl import SAMPLE_RATE
from speech_xl.data.channels import ChannelEnergy, to_mono
from speech_xl.data.containers import View, full_views, wav_data

BLOCK_SECONDS = 30.0
BLOCK_SAMPLES = 1 << 23  # of all channels, most of a block: a small file may hold many channels at a high rate
RATES = (100, 1_000_000)  # samples a second; beyond, a filter to 16 kHz takes all memory
SLACK_SECONDS = 0.01  # by which a header may be wrong without a word
PADDING_SECONDS = 0.1  # that AAC and others may decode to at both ends, beside what their container declares
UNREAD = 65_536  # bytes behind the audio that need a word: tags are shorter
# Containers that FFmpeg may open. Its playlists (HLS, concat, DASH and others) name further files and addresses: of a
# file that somebody else made they would read what lies on this machine.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,amr,amrnb,amrwb,avi,flv,wv,ape,mp3,ogg,flac,wav,w64,caf,aiff,au,"
    "ac3,eac3,dts,mpegts,mpeg,tta,tak,mpc,mpc8,truehd,nut,mxf,rm,voc,gsm,loas,dv,oma,shn,spdif"
)


class AudioError(RuntimeError):
    """Audio can't be used; the message names the file and the mend."""


class AudioTooLong(AudioError):
    """Audio is longer than it may be."""


class _Forward(soundfile.SoundFile):
    """Read from beginning to end: seeking, which soundfile does after every read, fails where a length is unknown."""

    def seekable(self) -> bool:
        return False


@dataclass(frozen=True)
class AudioFile:
    """A file that was decoded once, to know what is in it.

    name            what messages call it
    rate            samples a second, as they are in the file
    energy          of its channels, and how many samples were decoded
    header_seconds  what its header says, None where it says nothing
    views           of libsndfile, to be read one after another; None where PyAV reads it
    unread          bytes behind the audio
    """

    path: str
    name: str
    rate: int
    energy: ChannelEnergy
    header_seconds: float | None
    views: tuple[View, ...] | None
    unread: int = 0

    @classmethod
    def of(cls, path: str | Path, name: str | None = None, most_seconds: float | None = None) -> AudioFile:
        """Raises AudioError where it is missing, empty, damaged, or of a kind that nothing here opens.

        name          what messages call it; None: its path
        most_seconds  of audio that it may have: of a longer one no more is decoded, and AudioTooLong raised; None: any
        """
        path, name = str(path), str(path) if name is None else name
        if not Path(path).is_file():
            raise AudioError(f"{name} {'is no file' if Path(path).exists() else 'is missing'}; name an audio file")
        try:
            if not Path(path).stat().st_size:
                raise AudioError(f"{name} is empty (0 bytes); restore it, or leave it out")
            found = _with_libsndfile(path, name, most_seconds)
        except soundfile.LibsndfileError as error:
            found = _with_av(path, name, error, most_seconds)
        except OSError as error:
            raise AudioError(f"{name} can't be read ({error.strerror}); name an audio file") from error
        if not found.energy.samples:
            raise AudioError(f"{name} holds no audio; leave it out")
        if not found.energy.finite:
            raise AudioError(f"{name} holds samples that are not numbers; leave it out, or repair it")
        return found

    @property
    def seconds(self) -> float:
        """Of audio, as decoded."""
        return self.energy.samples / self.rate

    def remarks(self) -> list[str]:
        """What who hears it should know, a sentence each."""
        found = []
        slack = PADDING_SECONDS if self.views is None else SLACK_SECONDS
        if self.header_seconds is not None and abs(self.header_seconds - self.seconds) > slack:
            found.append(f"its header says {self.header_seconds:.1f} s, {self.seconds:.1f} s decoded and heard")
        if self.unread > UNREAD:
            found.append(
                f"{self.unread:,} bytes behind its audio are not heard; if they are audio, {_convert(self.name)}"
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
            with view.open(self.path) as raw:
                yield from _blocks(raw, self.name, None)

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


def _with_libsndfile(path: str, name: str, most_seconds: float | None) -> AudioFile:
    """By its header, and where that leaves bytes unread, by all that is known about such files."""
    with open(path, "rb") as raw, _Forward(raw) as file:
        kind, rate, channels, frames = file.format, file.samplerate, file.channels, file.frames
    header = _header_seconds(path, frames / rate)
    most = _most_samples(name, rate, most_seconds)
    energy, unread = _measure(path, name, [View()], channels, most)
    found = AudioFile(path, name, rate, energy, header, (View(),), unread)
    if not unread or not (views := full_views(path, kind)) or views == [View()]:
        return found
    energy, unread = _measure(path, name, views, channels, most)
    more = energy.samples - found.energy.samples > SLACK_SECONDS * rate
    return AudioFile(path, name, rate, energy, header, tuple(views), unread) if more else found


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


def _most_samples(name: str, rate: int, most_seconds: float | None) -> float:
    """Of a channel. Raises AudioError for a rate out of range."""
    least, most = RATES
    if not least <= rate <= most:
        if not rate:  # what FFmpeg takes for audio by the file's name alone
            raise AudioError(f"{name} can't be read as audio; name an audio file, or {_convert(name)}")
        raise AudioError(f"{name} has {rate:,} samples a second; from {least:,} to {most:,} are read")
    return float("inf") if most_seconds is None else most_seconds * rate


def _check_length(name: str, energy: ChannelEnergy, most: float) -> None:
    if energy.samples > most:
        raise AudioTooLong(f"{name} is too long: more than is left to hear; cut it")


def _measure(path: str, name: str, views: list[View], channels: int, most: float) -> tuple[ChannelEnergy, int]:
    """Energy over all views, and the bytes that the last one left unread. Raises AudioTooLong beyond `most` samples."""
    energy, unread = ChannelEnergy(channels), 0
    for view in views:
        with view.open(path) as raw:
            for block in _blocks(raw, name, channels):
                energy.add(block)
                _check_length(name, energy, most)
            unread = raw.unread
    return energy, unread


def _blocks(raw: Any, name: str, channels: int | None) -> Iterator[np.ndarray]:
    with _Forward(raw) as file:
        if channels not in (None, file.channels):
            raise AudioError(f"{name} goes on with {file.channels} channels in place of {channels}; {_convert(name)}")
        count, decoded = max(1, min(round(BLOCK_SECONDS * file.samplerate), BLOCK_SAMPLES // file.channels)), 0
        while decoded < file.frames:  # asked for more, libsndfile would read on and throw it away
            try:
                block = file.read(min(count, file.frames - decoded), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                first, last = (round(one / file.samplerate, 1) for one in (decoded, min(decoded + count, file.frames)))
                where = f"between {first:g} s and {last:g} s" if decoded else f"within the first {last:g} s"
                raise AudioError(
                    f"{name} is damaged {where} ({error.error_string}); restore it, or convert what can be saved: "
                    f"{_ffmpeg(name)}"
                ) from error
            if not len(block):
                return
            decoded += len(block)
            yield block


def _with_av(path: str, name: str, error: Exception, most_seconds: float | None) -> AudioFile:
    """By PyAV. Raises AudioError where it can't open the file either."""
    try:
        with open(path, "rb") as file, av.open(file, options={"format_whitelist": CONTAINERS}) as container:
            if not container.streams.audio:
                raise AudioError(f"{name} has no audio stream; name an audio file")
            stream = container.streams.audio[0]
            rate, channels = stream.codec_context.sample_rate, stream.codec_context.layout.nb_channels
            declared = float(stream.duration * stream.time_base) if stream.duration is not None else None
        energy = ChannelEnergy(channels)
        most = _most_samples(name, rate, most_seconds)
        for block in av_blocks(path):
            energy.add(block)
            _check_length(name, energy, most)
    # OSError of what is empty, ValueError of what FFmpeg takes for a stream without channels
    except (av.FFmpegError, OSError, ValueError) as failure:
        raise AudioError(
            f"{name} can't be read as audio ({getattr(error, 'error_string', error)}); name an audio file, or "
            f"{_convert(name)}"
        ) from failure
    return AudioFile(path, name, rate, energy, declared, None)


def av_blocks(path: str) -> Iterator[np.ndarray]:
    """The first audio stream of a file that PyAV opens, float32 [N, C] at its own rate."""
    with open(path, "rb") as file, av.open(file, options={"format_whitelist": CONTAINERS}) as container:
        context = container.streams.audio[0].codec_context
        resampler = av.AudioResampler(format="fltp", layout=context.layout.name, rate=context.sample_rate)
        for frame in container.decode(audio=0):
            for out in resampler.resample(frame):
                yield out.to_ndarray().T
        for out in resampler.resample(None):
            yield out.to_ndarray().T


def _convert(name: str) -> str:
    return f"convert it: {_ffmpeg(name)}"


def _ffmpeg(name: str) -> str:
    """A command for a shell."""
    return f"ffmpeg -i {quote(name)} {quote(f'{Path(name).stem}.converted.flac')}"
