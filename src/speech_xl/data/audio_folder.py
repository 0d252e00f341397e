"""AudioFolder: a folder of recordings with a transcript beside each, as a corpus; nothing to convert first."""

from __future__ import annotations

import csv
import html
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lightning.pytorch.utilities import rank_zero_warn

from speech_xl import SAMPLE_RATE
from speech_xl.checks import number
from speech_xl.data.corpus import SPLITS, Corpus, check_split

AUDIO = (".flac", ".wav", ".mp3", ".ogg", ".opus")
TABLES = ("metadata.csv", "metadata.jsonl")
SPLIT_FOLDERS = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "test": "test"}
TEXT_COLUMNS = ("transcription", "text", "sentence")
CUE = re.compile(r"^\s*((?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3})\s+-->\s+((?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3})")


@dataclass(frozen=True)
class Transcript:
    """What is known of one recording: utterances as (start, end, text), in seconds; end None is the recording's."""

    utterances: list[tuple[float, float | None, str]]
    speaker: str | None = None
    gender: str | None = None
    language: str | None = None


class AudioFolder(Corpus):
    """Recordings below a folder, each a session, with a transcript from one of:

    * a file beside it: ``talk.txt`` (its words), or ``talk.srt`` or ``talk.vtt`` (subtitles: utterances with times,
      which excerpts for training are cut by);
    * ``metadata.csv`` or ``metadata.jsonl`` in the folder, in the form of Hugging Face's AudioFolder: `file_name`,
      `transcription` (or `text`), and `speaker`, `gender`, `language` where they are known.

    Folders ``train``, ``dev`` (or ``validation``) and ``test`` in it are the splits. Without them, recordings are
    shared out by a checksum of their names, so that a new recording moves no other.

    Args:
        folder: where the recordings are.
        dev_share: share of the recordings for validation, where there are no folders of splits.
        test_share: share for the test.
        name: of the corpus, in logs and folders.

    Raises FileNotFoundError where the folder is missing, and ValueError that names a recording without a transcript, a
    transcript that can't be read, or a split without recordings.
    """

    def __init__(
        self, folder: str, dev_share: float = 0.1, test_share: float = 0.1, name: str = "audio_folder"
    ) -> None:
        self.folder, self.name = Path(folder), name
        self.dev_share = number("AudioFolder.dev_share", dev_share, above=0, below=1)
        self.test_share = number("AudioFolder.test_share", test_share, above=0, below=1)
        number("AudioFolder.dev_share + test_share", dev_share + test_share, below=1)

    def check(self) -> None:
        if not self.folder.is_dir():
            raise FileNotFoundError(f"AudioFolder: folder {self.folder} is missing; give the folder of the recordings")

    def prepare(self) -> None:
        """There is nothing to make; what is wrong with the folder shows before training starts."""
        self.check()
        splits = self._splits()
        for split in SPLITS:
            if not splits[split]:
                raise ValueError(
                    f"AudioFolder: {self.folder}: none of {sum(map(len, splits.values()))} recordings is for the split "
                    f"{split!r}; add recordings, raise {split}_share, or make a folder {self.folder / split}"
                )

    def cuts(self, split: str) -> CutSet:
        return CutSet.from_cuts(self._cut(path) for path in self._splits()[check_split(split, self.name)])

    def _splits(self) -> dict[str, list[Path]]:
        """The recordings of each split, in the order of their names."""
        recordings = sorted(path for path in self.folder.rglob("*") if path.suffix.lower() in AUDIO)
        named = {path.name for path in self.folder.iterdir() if path.is_dir() and path.name in SPLIT_FOLDERS}
        splits: dict[str, list[Path]] = {split: [] for split in SPLITS}
        outside = []
        for path in recordings:
            place = path.relative_to(self.folder)
            if not named:
                splits[self._drawn(place.as_posix())].append(path)
            elif place.parts[0] in named:
                splits[SPLIT_FOLDERS[place.parts[0]]].append(path)
            else:
                outside.append(place)
        if outside:
            rank_zero_warn(
                f"AudioFolder: {self.folder}: {len(outside)} recordings such as {outside[0]} lie in none of the "
                f"folders {', '.join(sorted(named))} and are left out"
            )
        return splits

    def _drawn(self, name: str) -> str:
        share = zlib.crc32(name.encode()) / 2**32
        if share < self.dev_share:
            return "dev"
        return "test" if share < self.dev_share + self.test_share else "train"

    def _cut(self, path: Path) -> MonoCut:
        session = path.relative_to(self.folder).with_suffix("").as_posix()
        recording = Recording.from_file(path, recording_id=session)
        known = self._transcript(path)
        if late := [start for start, _, _ in known.utterances if start >= recording.duration]:
            raise ValueError(
                f"AudioFolder: {path} is {recording.duration:.2f} s long and its transcript has an utterance at "
                f"{late[0]:.2f} s; give the transcript of this recording"
            )
        supervisions = [
            SupervisionSegment(
                id=f"{session}-{place:04d}",
                recording_id=session,
                start=start,
                duration=min(recording.duration if end is None else end, recording.duration) - start,
                text=text,
                speaker=known.speaker,
                gender=known.gender,
                language=known.language,
            )
            for place, (start, end, text) in enumerate(known.utterances)
        ]
        cut = MonoCut(session, 0.0, recording.duration, 0, supervisions=supervisions, recording=recording)
        return cut if cut.sampling_rate == SAMPLE_RATE else cast(MonoCut, cut.resample(SAMPLE_RATE))

    def _transcript(self, path: Path) -> Transcript:
        for suffix in (".srt", ".vtt"):
            if (subtitles := path.with_suffix(suffix)).is_file():
                return Transcript(cues(subtitles))
        if (words := path.with_suffix(".txt")).is_file():
            text = " ".join(read_text(words).split())
            return Transcript([(0.0, None, text)] if text else [])  # an empty file: nobody speaks
        for folder in (path.parent, *path.parent.parents):
            for table in (folder / name for name in TABLES):
                if table.is_file() and (row := _rows(table).get(path.relative_to(folder).as_posix())):
                    return _of_row(row, table)
            if folder == self.folder:
                break
        raise ValueError(
            f"AudioFolder: {path} has no transcript; put {path.stem}.txt, .srt or .vtt beside it, or a line for it "
            f"into {self.folder / 'metadata.csv'} (file_name,transcription)"
        )


def cues(path: Path) -> list[tuple[float, float | None, str]]:
    """The cues of a SubRip or WebVTT file as (start, end, text), in seconds. Raises ValueError where there are none, or
    one ends before it begins."""
    found: list[tuple[float, float | None, str]] = []
    for block in re.split(r"\n\s*\n", read_text(path).replace("\r\n", "\n")):
        lines = block.strip().split("\n")
        at = next((place for place, line in enumerate(lines) if CUE.match(line)), None)
        if at is None:
            continue  # WEBVTT's header, a note, a style
        match = CUE.match(lines[at])
        assert match is not None
        start, end = (_seconds(time) for time in match.groups())
        text = re.sub(r"<[^>]*>", "", " ".join(lines[at + 1 :])).strip()
        if path.suffix.lower() == ".vtt":
            text = html.unescape(text)  # &amp; and the like; SRT has none
        if end <= start:
            raise ValueError(f"{path}: the cue {lines[at].strip()!r} ends before it begins; mend its times")
        if text:
            found.append((start, end, text))
    if not found:
        raise ValueError(f"{path}: has no cue with times such as 00:00:01.000 --> 00:00:04.000; mend or remove it")
    return sorted(found)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file; ValueError that names it where it is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8; save it as UTF-8") from error


def _seconds(time: str) -> float:
    """Of ``hours:minutes:seconds``, hours optional, with a comma or a point."""
    total = 0.0
    for part in time.replace(",", ".").split(":"):
        total = total * 60 + float(part)
    return total


def _rows(table: Path) -> dict[str, dict[str, Any]]:
    """File name -> its row."""
    rows: dict[str, dict[str, Any]] = {}
    for place, row in _table(table):
        name = row.get("file_name")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{place}: has no file_name; each row has file_name and transcription")
        if name in rows:
            raise ValueError(f"{place}: {name} is there twice; keep one row")
        rows[name] = row | {"place": place}
    return rows


def _table(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = read_text(table).splitlines()
    if table.suffix == ".csv":
        yield from ((f"{table}:{n}", row) for n, row in enumerate(csv.DictReader(lines), 2))
        return
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{table}:{n}: no JSON ({error}); write an object a line") from error
        if not isinstance(row, dict):
            raise ValueError(f"{table}:{n}: got {line[:60]!r}; write an object a line, with file_name and text")
        yield f"{table}:{n}", row


def _of_row(row: dict[str, Any], table: Path) -> Transcript:
    text = next((row[key] for key in TEXT_COLUMNS if isinstance(row.get(key), str)), None)
    if text is None:
        raise ValueError(f"{row['place']}: has no transcription; {table.name} takes one of {', '.join(TEXT_COLUMNS)}")
    utterances: list[tuple[float, float | None, str]] = [(0.0, None, text)] if text.strip() else []
    return Transcript(utterances, *(row.get(key) or None for key in ("speaker", "gender", "language")))
