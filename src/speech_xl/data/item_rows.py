"""Rows of a user's benchmark: audio with a question and its answer, or with a transcript; each fault named by line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

from speech_xl.checks import whole
from speech_xl.data.corpus import SPLITS
from speech_xl.data.cut_checks import check_text
from speech_xl.data.item_tables import check_keys, json_of, rows_of

AUDIO_KEYS = ("audio", "file_name")
QUESTION_KEYS = ("question", "prompt")
TRANSCRIPT_KEYS = ("transcript", "transcription", "text", "sentence")
KEYS = (
    *AUDIO_KEYS,
    *QUESTION_KEYS,
    *TRANSCRIPT_KEYS,
    "answer",
    "choices",
    "task",
    "language",
    "max_tokens",
    "split",
    "id",
)
SPLIT_NAMES = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}
EXAMPLE = '{"audio": "talk.flac", "question": "Who speaks?", "answer": "B", "choices": ["a man", "a woman"]}'


@dataclass(frozen=True)
class ItemRow:
    """One row. `place` is "file, line N"; `answer` of a question with choices is the true one's label; `rest` holds the
    keys that have no meaning here."""

    place: str
    audio: str
    question: str | None
    answer: str | None
    transcript: str | None
    choices: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
    language: str | None = None
    max_tokens: int | None = None
    split: str | None = None
    id: str | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)


def read_item_rows(path: Path) -> list[ItemRow]:
    """The rows of a JSON Lines or CSV file. Raises ValueError with file, line, key, value and the mend."""
    rows = [_row(place, content) for place, content in rows_of(path, AUDIO_KEYS, EXAMPLE)]
    if not rows:
        raise ValueError(f"{path}: holds no rows; write lines such as {EXAMPLE}")
    return rows


def _row(place: str, content: Mapping[str, Any]) -> ItemRow:
    check_keys(place, content, KEYS)
    audio = _text(place, content, *AUDIO_KEYS)
    if audio is None:
        raise ValueError(f"{place}: names no audio; write its path under {AUDIO_KEYS[0]!r}")
    parts = PurePosixPath(audio)
    if parts.is_absolute() or ".." in parts.parts or "\\" in audio or "\0" in audio:
        raise ValueError(
            f"{place}: audio: {audio!r} leads out of the folder; give a path relative to it, without .., or set "
            "audio_dir"
        )
    question, answer = _text(place, content, *QUESTION_KEYS), _plain(place, "answer", content.get("answer"))
    transcript = _text(place, content, *TRANSCRIPT_KEYS)
    choices = _choices(place, content.get("choices"))
    if question is None and (answer is not None or choices):
        raise ValueError(
            f"{place}: has {'an answer' if answer else 'choices'} and no question; write it under 'question'"
        )
    if question is not None and answer is None:
        raise ValueError(f"{place}: question {question[:40]!r} has no answer; write it under 'answer'")
    if question is None and transcript is None:
        raise ValueError(f"{place}: asks nothing; give a question and its answer, or a transcript")
    return ItemRow(
        place=place,
        audio=parts.as_posix(),  # a.wav and ./a.wav are one recording
        question=question,
        answer=_label(place, answer, choices) if answer is not None and choices else answer,
        transcript=transcript,
        choices=choices,
        task=_text(place, content, "task"),
        language=_text(place, content, "language"),
        max_tokens=_tokens(place, content.get("max_tokens")),
        split=_split(place, _text(place, content, "split")),
        id=_plain(place, "id", content.get("id")),
        rest={key: value for key, value in content.items() if key not in KEYS},
    )


def _text(place: str, content: Mapping[str, Any], *keys: str) -> str | None:
    """The value of the only one of these keys that is there."""
    there = [key for key in keys if content.get(key) is not None]
    if len(there) > 1:
        raise ValueError(f"{place}: has {' and '.join(there)}, which mean the same; keep one of them")
    if not there:
        return None
    check_text(f"{place}: {there[0]}", content[there[0]])
    return content[there[0]]


def _plain(place: str, key: str, value: Any) -> str | None:
    """A text, or a number as a text: JSON of others has both."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if value is not None:
        check_text(f"{place}: {key}", value)
    return cast("str | None", value)


def _tokens(place: str, value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)  # of a CSV
    return None if value is None else whole(f"{place}: max_tokens", value, least=1)


def _split(place: str, name: str | None) -> str | None:
    if name is not None and name not in SPLIT_NAMES:
        raise ValueError(f"{place}: split: got {name!r}; use one of {', '.join(SPLITS)}, or leave it out (test)")
    return None if name is None else SPLIT_NAMES[name]


def _choices(place: str, value: Any) -> dict[str, str]:
    """Label -> text, of a mapping, a list (A, B, C and on) or, in a CSV, either as JSON or texts with | between."""
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = json_of(value) if value.lstrip()[:1] in ("[", "{") else value.split("|")
        except ValueError as error:
            raise ValueError(f'{place}: choices: {error}; write ["fog", "rain"], or fog|rain') from error
    if isinstance(value, list):
        value = dict(zip(map(label_of, range(len(value))), value, strict=True))
    if not isinstance(value, Mapping) or len(value) < 2:
        raise ValueError(f"{place}: choices: got {value!r:.60}; give a list of two texts or more, or labels with texts")
    choices = {label.strip(): _plain(place, f"choices[{label!r}]", text) for label, text in value.items()}
    if bad := [label for label, text in choices.items() if text is None or not label]:
        raise ValueError(f"{place}: choices: label {bad[0]!r} has no text, or is empty; give both")
    texts = [str(text).strip().casefold() for text in choices.values()]
    if twice := [text for text in texts if texts.count(text) > 1]:
        raise ValueError(f"{place}: choices: {twice[0]!r} is there twice; give each choice a text of its own")
    return {label: str(text) for label, text in choices.items()}


def label_of(place: int) -> str:
    """A, B, ..., Z, AA, AB, ...: the label of the choice at a place, from 0."""
    label = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        label = chr(ord("A") + letter) + label
    return label


def _label(place: str, answer: str, choices: Mapping[str, str]) -> str:
    """The label of the true choice: the answer is one (as written, else in another case), or is a choice's text."""
    folded = answer.strip().casefold()
    for found in (
        [label for label in choices if label == answer.strip()],
        [label for label, text in choices.items() if text.strip().casefold() == folded],
        [label for label in choices if label.casefold() == folded],
    ):
        if len(found) == 1:
            return found[0]
    raise ValueError(
        f"{place}: answer: got {answer[:60]!r}, which is none of the choices; give a label ({', '.join(choices)}) or a "
        "choice's text"
    )
