"""A lhotse manifest's items with their lines: a JSONL may begin with a byte-order mark and have blank lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from lhotse.serialization import decode_json_line, deserialize_item, load_manifest

BOM = b"\xef\xbb\xbf"
MEND = "write it with lhotse's CutSet.to_file()"


def manifest_items(path: Path) -> Iterator[tuple[str, Any]]:
    """(place, item) of every entry; a JSONL's place is ``file:line``, that of other formats the file.

    Raises ValueError with the place where the file, or a line of it, can't be read.
    """
    if ".jsonl" not in path.suffixes:
        try:
            items = list(cast(Iterable[Any], load_manifest(path)))
        except Exception as error:  # of the decompression, of JSON or YAML, or of lhotse
            raise ValueError(_unreadable(path, error)) from error
        yield from ((str(path), item) for item in items)
        return
    for place, content in json_lines(path):
        if not isinstance(content, dict):
            raise ValueError(f"{place} cannot be read (a {type(content).__name__}, and no object); {MEND}")
        try:
            item = deserialize_item(content)
        except Exception as error:  # a field that is missing, or of another type than lhotse reads
            raise ValueError(_unreadable(f"{place}: {content.get('id', 'an item without id')}", error)) from error
        yield place, item


def json_lines(path: Path, mend: str = MEND) -> Iterator[tuple[str, Any]]:
    """(``file:line``, content) of every line of a JSONL that isn't blank, be it compressed with gzip or not.

    mend: what to do about a file that can't be read, for the message.

    Raises ValueError with the place where the file, or a line of it, can't be read.
    """
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            for number, line in enumerate(file, 1):
                text = cast(bytes, line).removeprefix(BOM if number == 1 else b"").strip()
                if text:
                    yield f"{path}:{number}", decode_json_line(text.decode())
    except (
        OSError,
        EOFError,
        ValueError,
        RecursionError,
    ) as error:  # of the file or its decompression; of UTF-8 or JSON
        raise ValueError(_unreadable(f"{path}:{number}" if number else path, error, mend)) from error


def _unreadable(place: Path | str, error: Exception, mend: str = MEND) -> str:
    # json counts lines within the one it was given.
    why = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
    return f"{place} cannot be read ({type(error).__name__}: {why}); {mend}"
