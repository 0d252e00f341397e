"""What recipes of benchmarks share: rows of items to one cut an audio file, and the count of what is not here."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from lhotse import Recording, SupervisionSegment
from lhotse.cut.data import DataCut

from speech_xl import SAMPLE_RATE
from speech_xl.data.audio_faults import look_at
from speech_xl.data.items import KEY, Coverage, Item

NO_ANSWER = "no answer in the row"
NO_ROW = "not among the rows of the file"
SHORT = "short of the published count after filtering"  # of tasks whose published count is one after the filters


def chosen(key: str, names: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """These names in the order of `known`; None: all. Raises ValueError for an unknown name, or none at all."""
    if names is None:
        return list(known)
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise ValueError(f"{key}: got {wrong[0] if wrong else names!r}; use some of {', '.join(known)}")
    return [name for name in known if name in names]


@dataclass(frozen=True)
class Row:
    """One item and the audio it is about: a path below the corpus folder, with "/" between its parts."""

    audio: str
    item: Item


Choice = Callable[[Sequence[Row]], tuple[Sequence[Row], Mapping[str, Mapping[str, int]]]]


@dataclass
class SplitRows:
    """The rows of a split, read from a benchmark's own files, before anything is known of their audio.

    rows       in the benchmark's order. The same item id may be there several times
    published  items by task, as in `Coverage`, once the benchmark's rules have left out theirs
    missing    task -> reason -> rows that can't be asked, whatever their audio
    filtered   task -> rule -> rows that the benchmark's rules leave out
    choose     further rules, which need to know what audio is here: rows -> rows that stay, and task -> rule -> rows
               left out. None: there are none
    """

    rows: list[Row] = field(default_factory=list)
    published: dict[str, int] = field(default_factory=dict)
    missing: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    filtered: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    choose: Choice | None = None


def path_inside(path: Any, where: str) -> str:
    """A relative path of a row, with "/" between its parts, without "." parts.

    Raises ValueError, which begins with `where`, where it is no text or leads out of the corpus folder.
    """
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise ValueError(f"{where}: the audio path is {path!r:.80}; a path relative to the corpus folder is needed")
    parts = PurePosixPath(path.replace("\\", "/"))
    if parts.is_absolute() or PureWindowsPath(path).drive or ".." in parts.parts or not parts.parts:
        raise ValueError(
            f"{where}: the audio path {path!r:.200} leads out of the corpus folder; take the row out, or write a "
            "relative path without '..'"
        )
    return parts.as_posix()


def text_of(value: Any, where: str) -> str:
    """A text that may be published as a JSON number or as a list of one: 2 and 2.0 are "2".

    Raises ValueError, which begins with `where`, for anything else.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return str(int(value)) if value == int(value) else str(value)
    raise ValueError(f"{where}: got {value!r:.80}; a text, a number, or a list of one of them is needed")


def cuts_of(found: SplitRows, folder: Path, limit: int | None, label: str) -> tuple[list[DataCut], Coverage]:
    """One cut an audio file that is here, with its items, in the rows' order; and how much is here.

    Rows whose audio is missing or damaged are counted by reason, and so are published ones that no row is here of: the
    items here and those missing are at least as many as published. Audio keeps its rate: cuts of another one than
    16 kHz are resampled when they are read.

    limit: the most items a task, spread evenly over those here. label: for the progress bar.
    """
    recordings, faults = look_at(folder, (row.audio for row in found.rows), f"{label}: looking at audio files")
    missing = {task: Counter(reasons) for task, reasons in found.missing.items()}
    filtered = {task: Counter(rules) for task, rules in found.filtered.items()}
    here: list[Row] = []
    for row in numbered(found.rows):
        if row.audio in recordings:
            here.append(row)
        else:
            missing.setdefault(row.item.task, Counter())[faults[row.audio]] += 1
    if found.choose is not None:
        chosen, left_out = found.choose(here)
        for task, rules in left_out.items():
            filtered.setdefault(task, Counter()).update(rules)
        here = list(chosen)
    by_task: dict[str, list[Row]] = {}
    for row in here:
        by_task.setdefault(row.item.task, []).append(row)
    for task, count in found.published.items():
        short = count - len(by_task.get(task, ())) - sum(missing.get(task, Counter()).values())
        if short > 0:
            missing.setdefault(task, Counter())[SHORT if filtered.get(task) else NO_ROW] += short
    coverage = Coverage(
        published=dict(found.published),
        here={task: len(rows) for task, rows in by_task.items()},
        missing={task: dict(reasons) for task, reasons in missing.items() if reasons},
        filtered={task: dict(rules) for task, rules in filtered.items() if rules},
        limit=limit,
    )
    items: dict[str, list[Item]] = {}
    for rows in by_task.values():
        for row in spread(rows, limit):
            items.setdefault(row.audio, []).append(row.item)
    return [_cut(recordings[audio], some) for audio, some in items.items()], coverage


def numbered(rows: Iterable[Row]) -> Iterable[Row]:
    """The same rows; an item id that was there before gets "#2", "#3" and so on."""
    seen: Counter[str] = Counter()
    for row in rows:
        seen[row.item.id] += 1
        count = seen[row.item.id]
        yield row if count == 1 else replace(row, item=replace(row.item, id=f"{row.item.id}#{count}"))


def spread(rows: Sequence[Row], limit: int | None) -> Sequence[Row]:
    """At most `limit` rows, evenly over all."""
    if limit is None or limit >= len(rows):
        return rows
    return [rows[place * len(rows) // limit] for place in range(limit)]


def _cut(recording: Recording, items: Sequence[Item]) -> DataCut:
    """The whole recording with its items. An item without a prompt is its transcript, which is a supervision too."""
    cut = recording.to_cut()
    cut.supervisions = [
        SupervisionSegment(f"{item.id}", recording.id, 0.0, recording.duration, cut.channel, item.answer, item.language)
        for item in [one for one in items if one.prompt is None and one.answer.strip()][:1]
    ]
    cut.custom = {KEY: [item.to_json() for item in items]}
    return cut if cut.sampling_rate == SAMPLE_RATE else cut.resample(SAMPLE_RATE)
