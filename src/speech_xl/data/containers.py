"""Audio files whose headers don't say how long they are: views of them that libsndfile reads to the last sample.

libsndfile stops where a header says that the audio ends. A recorder that was killed leaves a WAV of length 0, ffmpeg
writes a FLAC or WAV into a pipe without a length, an MP3 without a Xing header is taken to be as long as its first
frame's bit rate says, and of files written one behind the other only the first is read.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNKNOWN_SIZE = b"\xff\xff\xff\xff"


@dataclass(frozen=True)
class View:
    """Bytes `start` to `stop` (None: the end) of a file behind a `prefix`, some of them replaced: {place in the file:
    bytes}."""

    start: int = 0
    stop: int | None = None
    prefix: bytes = b""
    patches: tuple[tuple[int, bytes], ...] = ()

    def open(self, path: str | Path) -> ViewedFile:
        return ViewedFile(path, self)


class ViewedFile(io.RawIOBase):
    """A view, open for reading. `unread` says how many bytes lie behind the last one that was read."""

    def __init__(self, path: str | Path, view: View) -> None:
        self.file, self.view = Path(path).open("rb"), view  # noqa: SIM115  # `close` closes it
        stop = os.fstat(self.file.fileno()).st_size if view.stop is None else view.stop
        self.size = len(view.prefix) + stop - view.start
        self.place = self.read_to = 0

    @property
    def unread(self) -> int:
        return self.size - self.read_to

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        return self.place

    def readinto(self, buffer: memoryview) -> int:
        view, ahead = self.view, len(self.view.prefix)
        count = max(0, min(len(buffer), self.size - self.place))
        data = bytearray(view.prefix[self.place : self.place + count])
        first = max(0, self.place - ahead) + view.start
        self.file.seek(first)
        data += self.file.read(count - len(data))
        for place, new in view.patches:
            for number, value in enumerate(new, start=place - first + max(0, ahead - self.place)):
                if 0 <= number < len(data) and place >= view.start:
                    data[number] = value
        buffer[: len(data)] = data
        self.place += len(data)
        self.read_to = self.place
        return len(data)

    def close(self) -> None:
        self.file.close()
        super().close()


def full_views(path: str | Path, kind: str) -> list[View]:
    """Views that together hold all the audio of a file of this libsndfile format, whatever its header says; none where
    nothing of the kind is known for it."""
    with open(path, "rb") as file:
        if kind in ("WAV", "WAVEX"):
            return _wav(file)
        if kind == "FLAC":
            return _flac(file)
        if kind == "AU":
            return [View(patches=((8, UNKNOWN_SIZE),))]
        data = file.read()
    return _mp3(data) if kind == "MP3" else _ogg(data) if kind == "OGG" else []


def wav_data(file: io.BufferedIOBase) -> tuple[int, int] | None:
    """Where a little-endian WAV says its samples are: place of the chunk's size field, and that size in bytes."""
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    for name, place, size in _chunks(file, 12):
        if name == b"data":
            return place + 4, size
    return None


def _chunks(file: io.BufferedIOBase, place: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, place, size of what it holds) of RIFF chunks from a place on, up to what isn't a chunk."""
    end = file.seek(0, os.SEEK_END)
    while place + 8 <= end:
        file.seek(place)
        name, size = struct.unpack("<4sI", file.read(8))
        if not all(32 <= letter < 127 for letter in name):
            return
        yield name, place, size
        place += 8 + size + size % 2


def _wav(file: io.BufferedIOBase) -> list[View]:
    """To the end of the file, unless whole chunks of something else follow the samples."""
    found = wav_data(file)
    if found is None:
        return []
    place, size = found
    end, after = file.seek(0, os.SEEK_END), place + 4 + size + size % 2
    if size > 0 and after <= end:
        last = after
        for _, start, length in _chunks(file, after):
            last = start + 8 + length
        if last <= end + 1 and (last > after or after == end):
            return [View()]
    return [View(patches=((4, UNKNOWN_SIZE), (place, UNKNOWN_SIZE)))]


def _flac(file: io.BufferedIOBase) -> list[View]:
    """The number of samples set to 0, which stands for unknown; with nothing else in its byte changed."""
    file.seek(0)
    head = file.read(26)
    if head[:4] != b"fLaC" or len(head) < 26:
        return []
    return [View(patches=((21, bytes([head[21] & 0xF0, 0, 0, 0, 0])),))]


def _ogg(data: bytes) -> list[View]:
    """A view for each of the files that were written one behind the other."""
    starts, before = [], False
    place = data.find(b"OggS")
    while place >= 0:
        first_page = len(data) > place + 5 and data[place + 4] == 0 and bool(data[place + 5] & 2)
        if first_page and not before:
            starts.append(place)
        before = first_page
        place = data.find(b"OggS", place + 4)
    return [View(start, stop) for start, stop in zip(starts, [*starts[1:], None], strict=True)]


# MP3: its frames are counted, and a header put before them that says how many they are

_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version, in Hz
_KBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _frame_bytes(head: bytes) -> int:
    """Length of the layer III frame that begins so; 0 where none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, rate, bits = head[1] >> 3 & 3, head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or rate == 3 or bits in (0, 15):
        return 0
    samples = 144 if version == 3 else 72
    return samples * _KBITS[version == 3][bits] * 1000 // _RATES[version][rate] + (head[2] >> 1 & 1)


def _mp3(data: bytes) -> list[View]:
    place = 0
    while data[place : place + 3] == b"ID3":
        a, b, c, d = data[place + 6 : place + 10]
        place += 10 + (a << 21 | b << 14 | c << 7 | d)
    first, frames = -1, 0
    while place < len(data) - 4:
        length = _frame_bytes(data[place : place + 4])
        if length and (place + length >= len(data) - 4 or _frame_bytes(data[place + length :][:4]) or frames):
            if first < 0:
                if b"Xing" in data[place : place + 64] or b"Info" in data[place : place + 64]:
                    place += length  # a header of the kind we make, which was wrong
                    continue
                first = place
            frames += 1
            place += length
        else:
            place = data.find(b"\xff", place + 1)
            if place < 0:
                break
    if first < 0:
        return []
    return [View(first, prefix=_xing(data[first : first + 4], frames))]


def _xing(head: bytes, frames: int) -> bytes:
    """A frame of silence that says how many follow, for frames that begin with this head."""
    frame_header = bytes([head[0], head[1] | 1, 0x80 | head[2] & 0x0C, head[3]])
    mono, first_version = head[3] >> 6 == 3, head[1] >> 3 & 3 == 3
    side = (17 if mono else 32) if first_version else (9 if mono else 17)
    info_frame = frame_header + bytes(side) + b"Xing" + struct.pack(">II", 1, frames)
    return info_frame + bytes(_frame_bytes(frame_header) - len(info_frame))
