"""The drills' record: one results file, in which each drill has a section that its next run replaces."""

from __future__ import annotations

import fcntl
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.drills.rows import Row
from experiments.measurements.record import ROOT, commit_of_tree, record

DATA = {
    "reliability": "embedded corpus of 14 short sessions with the repository's tiny models; tones with random models",
    "serving": "utterances of LibriSpeech dev-clean, each of another chapter, with the shipped stage",
}


def merge(
    path: Path, drill: str, rows: Sequence[Row], summary: Mapping[str, int | float], place: Path, seconds: float
) -> None:
    """Put a drill's rows into the results file at `path`, and its figures into the summary; other drills' stay.

    place: the drill's folder, whose path is left out of messages. Several drills may write at once.
    """
    section = {
        "command": f"python -m experiments.drills {drill}",
        "commit": commit_of_tree(),
        "seconds": round(seconds),
        "summary": dict(summary),
        "rows": [as_json(row, place) for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with (Path(tempfile.gettempdir()) / f"speech_xl_drills_{path.stem}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        drills = {**sections(path), drill: section}
        merged = {key: value for name in sorted(drills) for key, value in drills[name]["summary"].items()}
        items = sum(len(one["rows"]) for one in drills.values())
        command = f"python -m experiments.drills {drill if drill == path.stem else 'all'}"
        data = DATA.get(path.stem, DATA["reliability"])
        record(path.stem, merged, command, data, items, folder=path.parent, drills=dict(sorted(drills.items())))


def sections(path: Path) -> dict[str, Any]:
    """The drills' sections of a results file; none where there is no file."""
    return json.loads(path.read_text())["drills"] if path.is_file() else {}


def as_json(row: Row, place: Path) -> dict[str, Any]:
    """A row for the record, without the paths of this machine."""
    message = row.message.replace(str(place), "DRILL").replace(str(ROOT), "CLONE")[:300]
    entry = {"case": row.case, "ok": row.ok, "outcome": row.outcome, "message": message}
    return entry | ({"facts": dict(row.facts)} if row.facts else {})
