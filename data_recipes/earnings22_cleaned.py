"""Earnings22-Cleaned-AA: six earnings calls of 14 to 22 minutes whose transcripts were corrected by hand.

Licence: Earnings-22, of which it is a part, is CC BY-SA 4.0; the card of the cleaned set may say more.
Source: https://huggingface.co/datasets/ArtificialAnalysis/Earnings22-Cleaned-AA (about 100 MB).
Citation: Del Rio et al., "Earnings-22: A Practical Benchmark for Accents in the Wild", arXiv 2203.15591, 2022; the
cleaned transcripts are Artificial Analysis'.

The card shows six rows of JSON with `id`, `duration` (seconds), `transcript`, `language`, `url` (such as
"audio/NAME.mp3"), `dataset` and `file_name` ("NAME.mp3"). This recipe hasn't been run on the data itself, whose files
may have other names. It takes any ``.jsonl``, ``.json`` (a list) or ``.csv`` in the folder or in ``data/`` whose rows
have a transcript (`transcript`, `text`, `transcription` or `sentence`) and an audio file (`url`, `file_name`, `audio`
or `path`, relative to the folder or to ``audio/``). It doesn't read parquet.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import Cut

from data_recipes.hub import download_dataset
from data_recipes.long_form import Count, Transcribe, at_16_khz, check_limit, inside, logger, report, written
from speech_xl.data.audio_folder import read_text
from speech_xl.data.corpus import Corpus, check_split
from speech_xl.data.items import Coverage

NAME = "earnings22_cleaned"
REPOSITORY = "ArtificialAnalysis/Earnings22-Cleaned-AA"
TEXTS = ("transcript", "text", "transcription", "sentence")
FILES = ("url", "file_name", "audio", "path")
PUBLISHED = 6
TOLERANCE_SECONDS = 1.0  # by which a recording's length may differ from the row's duration


def download_earnings22_cleaned(target_dir: str | Path = ".", force_download: bool = False) -> Path:
    """Download the data set from the Hugging Face Hub and return its folder; a broken download goes on."""
    folder = Path(target_dir) / "Earnings22-Cleaned-AA"
    download_dataset(REPOSITORY, folder, None, force_download)
    return folder


def prepare_earnings22_cleaned(
    corpus_dir: str | Path, output_dir: str | Path | None = None, limit: int | None = None
) -> dict[str, CutSet]:
    """The cuts of "test", the only split; also written to `output_dir`. Raises as `Earnings22Cleaned` does."""
    corpus = Earnings22Cleaned(corpus_dir=str(corpus_dir), limit=limit)
    corpus.check()
    return written({"test": list(corpus.cuts("test"))}, output_dir)


class Earnings22Cleaned(Corpus):
    """Earnings22-Cleaned-AA: six calls, a recording a session, all in "test"; see the module for layout and licence.

    Args:
        root: where it is downloaded to if no `corpus_dir` is given.
        corpus_dir: an existing copy of the Hub's folder.
        prompt: text after the audio. Null: the model's own transcription instruction.
        limit: the most recordings. Null: all.
        tokens_per_second: with a prompt, the most tokens of a transcript, a second of audio.

    Raises FileNotFoundError where the folder has no rows, and ValueError that names file and line for a row without a
    transcript or a file name, or with a path that leads out of the folder. A recording that isn't here is counted in
    `coverage`.
    """

    name = NAME

    def __init__(
        self,
        root: str = "data/earnings22_cleaned",
        corpus_dir: str | None = None,
        prompt: str | None = None,
        limit: int | None = None,
        tokens_per_second: float = 16.0,
    ) -> None:
        self.root = Path(root)
        self.corpus_dir = Path(corpus_dir) if corpus_dir is not None else None
        self.ask = Transcribe(NAME, prompt, tokens_per_second)
        self.limit = check_limit("Earnings22Cleaned", limit)
        self._found: tuple[list[Cut], Coverage] | None = None

    def check(self) -> None:
        if self.corpus_dir is not None and not self.corpus_dir.is_dir():
            raise FileNotFoundError(
                f"Earnings22Cleaned: corpus_dir {self.corpus_dir} is missing; give the folder of the data set, or "
                "leave corpus_dir out to download it"
            )

    def prepare(self) -> None:
        self.check()
        if self.corpus_dir is None:
            download_earnings22_cleaned(self.root)

    def cuts(self, split: str) -> CutSet:
        return at_16_khz(self._read(split)[0])

    def coverage(self, split: str) -> Coverage | None:
        return self._read(split)[1]

    def _read(self, split: str) -> tuple[list[Cut], Coverage]:
        if check_split(split, self.name) != "test":
            raise ValueError(f"Earnings22Cleaned has no {split} split, only test; train on another corpus")
        if self._found is None:
            folder = self.root / "Earnings22-Cleaned-AA" if self.corpus_dir is None else self.corpus_dir
            count, cuts = Count({"ASR": PUBLISHED}, self.limit), []
            for place, row in _rows(folder):
                audio = _audio(folder, row, place)
                if not audio.is_file():
                    count.lacks("ASR", "audio file missing")
                elif count.keeps("ASR"):
                    cuts.append(self.ask(_cut(audio, row, place), about={"duration": row.get("duration")}))
            if not cuts:
                raise FileNotFoundError(f"{folder}: none of its rows' audio files is here; download it again")
            if len({cut.id for cut in cuts}) < len(cuts):
                raise ValueError(f"{folder}: two rows have the same id; keep one file of rows")
            self._found = cuts, count.coverage()
            report(self.name, split, count.coverage())
        return self._found


def _rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file, line N", row) of the first file that holds rows with transcripts."""
    files = [
        path
        for place in (folder, folder / "data")
        for kind in ("jsonl", "json", "csv")
        for path in place.glob(f"*.{kind}")
    ]
    for path in sorted(files):
        rows = list(_read_rows(path))
        if rows and any(key in rows[0][1] for key in TEXTS):
            yield from rows
            return
    raise FileNotFoundError(
        f"Earnings22Cleaned: {folder} has no .jsonl, .json or .csv with a column {' or '.join(TEXTS)} (found: "
        f"{', '.join(path.name for path in files) or 'none of these files'}); download https://huggingface.co/datasets/{REPOSITORY}"
    )


def _read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    text = read_text(path)
    if path.suffix == ".csv":
        yield from ((f"{path}, line {n}", row) for n, row in enumerate(csv.DictReader(text.splitlines()), 2))
        return
    try:
        if path.suffix == ".json":
            content = json.loads(text)
            rows = [(f"{path}, row {n}", row) for n, row in enumerate(content if isinstance(content, list) else [], 1)]
        else:
            lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
            rows = [(f"{path}, line {n}", json.loads(line)) for n, line in lines]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: no JSON ({error}); download the file again") from error
    yield from ((place, row) for place, row in rows if isinstance(row, dict))


def _audio(folder: Path, row: dict[str, Any], place: str) -> Path:
    name = next((row[key] for key in FILES if isinstance(row.get(key), str) and row[key]), None)
    if name is None:
        raise ValueError(f"{place}: names no audio file; a row has one of {', '.join(FILES)}")
    found = [inside(start, name, place) for start in (folder, folder / "audio", folder / "data")]
    return next((path for path in found if path.is_file()), found[0])


def _cut(audio: Path, row: dict[str, Any], place: str) -> Cut:
    text = next((row[key] for key in TEXTS if isinstance(row.get(key), str) and row[key].strip()), None)
    if text is None:
        raise ValueError(f"{place}: has no transcript; a row has one of {', '.join(TEXTS)}")
    name = str(row.get("id") or audio.stem)
    cut = Recording.from_file(audio, recording_id=name).to_cut()
    if isinstance(said := row.get("duration"), (int, float)) and abs(said - cut.duration) > TOLERANCE_SECONDS:
        logger.warning("%s: %s lasts %.1f s, and the row says %.1f s", place, audio, cut.duration, said)
    language = row.get("language") or "en"
    cut.supervisions = [SupervisionSegment(name, name, 0.0, cut.duration, 0, text=text, language=language)]
    return cut
