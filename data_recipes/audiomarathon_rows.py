"""AudioMarathon's rows: each task's own JSON, or files found in its folders, to audio paths, questions and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data_recipes.audiomarathon_layout import IN_WAV
from data_recipes.benchmark_items import path_inside, text_of

LETTERS = "ABCDE"
SCENES = (
    *("airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall"),
    *("street_pedestrian", "street_traffic", "tram"),
)
CHOICE_KEYS = [f"choice_{letter.lower()}" for letter in LETTERS]
NOT_ABOUT = {"path", "audio_path", "question", "options", "choices", "answer", "answer_gt", *CHOICE_KEYS}
MEND = "unpack or download the file again"
NO_TRANSCRIPT = "no transcript"
STRAY_ANSWER = "answer is none of the choices"


@dataclass(frozen=True)
class Record:
    """One row of a task.

    audio     path below the corpus folder
    name      path below the task's own folder, the same wherever the archives are unpacked
    question  "" where the row has none
    answer    as published: a letter or a choice's text
    choices   letter -> text
    about     all else that the row has
    fault     why it can't be asked; None: it can
    """

    audio: str
    name: str
    question: str
    answer: str
    choices: Mapping[str, str]
    about: Mapping[str, Any]
    fault: str | None = None


def manifest_records(task: str, manifest: Path, corpus_dir: Path) -> Iterator[Record]:
    """The rows of a task's JSON, in its order: a list, or {"tasks": list}.

    Raises ValueError with file and row where one can't be read, or its audio path leads out of the folder.
    """
    try:
        content = json.loads(manifest.read_bytes(), parse_constant=lambda _: None)  # NaN, where nothing is known
    except json.JSONDecodeError as error:
        raise ValueError(f"{manifest}:{error.lineno}: cannot be read ({error.msg}); {MEND}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{manifest}: cannot be read ({error}); {MEND}") from error
    rows = content.get("tasks") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{manifest}: holds no list of rows; {MEND}")
    for number, row in enumerate(rows, 1):
        where = f"{manifest}: row {number}"
        if not isinstance(row, dict):
            raise ValueError(f"{where}: a {type(row).__name__}, and no object; {MEND}")
        yield _record(task, row, where, manifest.parent, corpus_dir)


def _record(task: str, row: dict[str, Any], where: str, folder: Path, corpus_dir: Path) -> Record:
    path = path_inside(row.get("audio_path", row.get("path")), where)
    audio = folder / path
    if task in IN_WAV and ((folder / "wav" / path).is_file() or not audio.is_file()):
        audio = folder / "wav" / path
    choices = choices_of(row, where)
    published = row.get("answer_gt", row.get("answer"))
    if published is None:
        raise ValueError(f"{where}: has no answer; {MEND}")
    answer = text_of(published, f"{where}: answer")
    question = text_of(row.get("question", ""), f"{where}: question").strip()
    if not question:
        raise ValueError(f"{where}: has no question; {MEND}")
    about = {key: value for key, value in row.items() if key not in NOT_ABOUT}
    if task == "SCR":
        about["level"] = next((level for level in ("high", "middle") if level in path), None)
    known = {*choices, *(text.strip().casefold() for text in choices.values())}
    fault = None if {answer.strip().upper(), answer.strip().casefold()} & known else STRAY_ANSWER
    return Record(audio.relative_to(corpus_dir).as_posix(), path, question, answer, choices, about, fault)


def choices_of(row: Mapping[str, Any], where: str) -> dict[str, str]:
    """Letter -> text, from "options" (a list), "choices" (letter -> text), or "choice_a", "choice_b" and so on.

    Raises ValueError, which begins with `where`, where there are fewer than two, a letter is left out, or a text is
    missing.
    """
    if isinstance(row.get("options"), list):
        found = dict(zip(LETTERS, row["options"], strict=False))
        complete = len(row["options"]) <= len(LETTERS)
    elif isinstance(row.get("choices"), dict):
        found = {str(letter).strip().upper(): text for letter, text in row["choices"].items()}
        complete = len(found) == len(row["choices"])
    else:
        found = {key[-1].upper(): row[key] for key in CHOICE_KEYS if row.get(key) is not None}
        complete = True
    if not complete or len(found) < 2 or "".join(sorted(found)) != LETTERS[: len(found)]:
        raise ValueError(
            f"{where}: has the choices {', '.join(found) or 'none'}; two to five, from A on, are needed; {MEND}"
        )
    return {letter: text_of(found[letter], f"{where}: choice {letter}") for letter in sorted(found)}


def scene_in_name(path: str) -> str | None:
    """The scene that a TAU file name begins with, such as "metro_station" of "metro_station-lisbon-1.wav"; None where
    it begins with none. The longest one counts, since metro is also the first word of metro_station."""
    stem = PurePosixPath(path).stem.lower()
    for scene in sorted(SCENES, key=len, reverse=True):
        if stem.startswith(scene) and not stem[len(scene) : len(scene) + 1].isalpha():
            return scene
    return None


def real_and_fake(folder: Path, corpus_dir: Path) -> list[Record]:
    """The files in the folders real and fake, sorted by path; a file's folder is its answer."""
    return [
        Record(
            path.relative_to(corpus_dir).as_posix(), f"{label}/{path.name}", "", label, {"A": "real", "B": "fake"}, {}
        )
        for label in ("real", "fake")
        for path in sorted((folder / label).glob("*.wav"))
    ]


def long_chapters(folder: Path, corpus_dir: Path) -> list[Record]:
    """The .flac files below a folder of LibriSpeech-Long, sorted by path, with their transcripts."""
    found = []
    for path in sorted(folder.rglob("*.flac")):
        text = transcript_of(path)
        fault = None if text else NO_TRANSCRIPT
        name = path.relative_to(folder).as_posix()
        found.append(Record(path.relative_to(corpus_dir).as_posix(), name, "", text or "", {}, {}, fault))
    return found


def transcript_of(path: Path) -> str | None:
    """The text in the .txt file of the same name, else that of the file's line in a .trans.txt of its folder; None
    where there is neither."""
    own = path.with_suffix(".txt")
    try:
        if own.is_file():
            return " ".join(own.read_text(encoding="utf-8").split())
        for table in sorted(path.parent.glob("*.trans.txt")):
            for line in table.read_text(encoding="utf-8").splitlines():
                name, _, text = line.strip().partition(" ")
                if name == path.stem:
                    return " ".join(text.split())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: its transcript cannot be read ({error}); {MEND}") from error
    return None
