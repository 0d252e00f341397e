"""Lines of a user's benchmark, JSON Lines or CSV, as plain rows of keys and values; each fault named by line."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from speech_xl.data.audio_folder import read_text

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
CLOSE = 0.8  # similarity, 0 to 1, of a key to a known one from which on it is taken for a slip of the pen
SHORTEST_KEY = 4  # letters: uid, qid and idx are close to id and mean something else


def rows_of(path: Path, audio_keys: Collection[str], example: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file, line N", row) for each row of a .csv file, or of a file with a JSON object a line.

    audio_keys: of which a CSV needs one as a column. example: a row, for the messages.

    Raises ValueError with file, line and the mend.
    """
    text = read_text(path)
    return _csv_rows(path, text, audio_keys) if path.suffix.lower() == ".csv" else _json_rows(path, text, example)


def json_of(text: str) -> Any:
    """A JSON value. Raises ValueError where it is none, or an object has a key twice, of which json keeps the last."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"no JSON ({error})") from error


def check_keys(place: str, keys: Collection[str], known: Sequence[str]) -> None:
    """Raises ValueError for a key that isn't known and nearly is: it would change the question without a word."""
    for key in keys:
        if (meant := _meant(key, tuple(known))) is not None:
            raise ValueError(
                f"{place}: key {key!r} is unknown, and nearly {meant!r}; write {meant!r}, or give a key of your own "
                "another name"
            )


@lru_cache(maxsize=4096)
def _meant(key: str, known: tuple[str, ...]) -> str | None:
    """The known key that another one is a slip of. A known key with more words (question_id) is none."""
    plain = key.strip().casefold()
    if key in known or any(plain.startswith(f"{one}_") or plain.endswith(f"_{one}") for one in known):
        return None
    if plain in known:
        return plain
    near = get_close_matches(plain, [one for one in known if len(one) >= SHORTEST_KEY], n=1, cutoff=CLOSE)
    return near[0] if near else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if twice := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise ValueError(f"key {twice[0]!r} is there twice; keep one of them")
    return dict(pairs)


def _json_rows(path: Path, text: str, example: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            content = json_of(line)
        except ValueError as error:
            mend = f"; write one object a line, such as {example}" if "no JSON" in str(error) else ""
            raise ValueError(f"{place}: {error}{mend}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{place}: got {line[:60]!r}; write one object a line, such as {example}")
        yield place, content


def _csv_rows(path: Path, text: str, audio_keys: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))  # a transcript of hours is longer
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(f"{path}, line {reader.line_num}", cells) for cells in reader if cells]
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: no CSV ({error}); close every quote; double those within a text"
        ) from error
    finally:
        csv.field_size_limit(limit)
    if not lines:
        return
    (place, columns), *rows = lines
    _check_columns(place, columns, audio_keys)
    for place, cells in rows:
        if len(cells) > len(columns):
            raise ValueError(f"{place}: has more cells than the first line; put texts with commas into quotes")
        yield place, {key: value for key, value in zip(columns, cells, strict=False) if value}


def _check_columns(place: str, columns: Sequence[str], audio_keys: Collection[str]) -> None:
    for mark, name in SEPARATORS.items():
        if any(part.strip() in audio_keys for column in columns if mark in column for part in column.split(mark)):
            raise ValueError(
                f"{place}: columns must be separated by commas; found {name} in {','.join(columns)[:80]!r}; save the "
                "file with commas, and put texts with commas into quotes"
            )
    if twice := [column for column, count in Counter(columns).items() if count > 1 and column]:
        raise ValueError(f"{place}: column {twice[0]!r} is there twice; keep one of them")
