"""JSON Lines that a process may have been killed in, or may still be writing: each line with what it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class JsonLine(NamedTuple):
    """A line that isn't blank.

    number   in its file, from 1
    raw      its bytes, the line end included
    content  the JSON value; None where it is none
    cut_off  whether it is no JSON and lacks its line end, as only a last line can
    """

    number: int
    raw: bytes
    content: Any
    cut_off: bool


def json_lines(path: Path) -> Iterator[JsonLine]:
    """Every line of a file that isn't blank."""
    for number, raw in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not raw.strip():
            continue
        try:
            yield JsonLine(number, raw, json.loads(raw), False)
        except (ValueError, RecursionError):
            yield JsonLine(number, raw, None, not raw.endswith(b"\n"))
