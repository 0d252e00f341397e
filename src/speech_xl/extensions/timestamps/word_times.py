"""Word times: when each word of an utterance begins, so that transcripts can carry time marks inside utterances too.

They stand in a supervision's custom fields, in seconds after its own start: lhotse moves supervisions with the cut they
are in, but not their alignments.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from lhotse import CutSet, MonoCut, SupervisionSegment
from lhotse.utils import fastcopy
from lightning.pytorch.utilities import rank_zero_warn

from speech_xl.checks import number
from speech_xl.data.corpus import SPLITS, check_split
from speech_xl.data.manifest_lines import json_lines
from speech_xl.data.sessions import WORD_STARTS
from speech_xl.data.transforms import CutTransform
from speech_xl.storage.files import write_text


def pieces(said: SupervisionSegment, words: bool) -> list[tuple[float, str]]:
    """(second of the cut, text): with `words` each word where its time is known, else the utterance as one piece.

    Raises ValueError where there aren't as many times as words.
    """
    text = said.text or ""
    starts = (said.custom or {}).get(WORD_STARTS)
    if starts is None or not words:
        return [(said.start, text)]
    spoken = text.split()
    if len(spoken) != len(starts):
        raise ValueError(
            f"supervision {said.id}: {len(starts)} times in {WORD_STARTS!r} for {len(spoken)} words; align again"
        )
    return [(said.start + start, word) for start, word in zip(starts, spoken, strict=True)]


def times_path(folder: str | Path, split: str) -> Path:
    """Where a split's word times stand: a line a supervision, ``{"id": str, "starts": [seconds]}``."""
    return Path(folder) / f"{split}.jsonl"


def write_times(folder: str | Path, split: str, times: Mapping[str, Sequence[float]]) -> Path:
    """Supervision id -> seconds after its start, one a word; the file is whole or not there."""
    path = times_path(folder, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ({"id": name, "starts": [round(start, 3) for start in starts]} for name, starts in times.items())
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    return path


def read_times(path: Path) -> dict[str, list[float]]:
    """What `write_times` wrote. Raises ValueError with file and line where that is something else."""
    times = {}
    for place, entry in json_lines(path):
        if (
            not isinstance(entry, dict)
            or not isinstance(entry.get("id"), str)
            or not isinstance(entry.get("starts"), list)
        ):
            raise ValueError(
                f'{place}: got {str(entry)[:80]}; a line is {{"id": text, "starts": [seconds]}}; align again'
            )
        for start in entry["starts"]:
            number(f"{place}: starts of {entry['id']}", start, least=0, unit="seconds")
        times[entry["id"]] = entry["starts"]
    return times


class WordTimes(CutTransform):
    """Adds the word times that `extensions.timestamps.align` found. Utterances without any stay whole.

    Args:
        folder: of train.jsonl, dev.jsonl and test.jsonl. A split without such a file has no word times.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def check(self, not_yet: Collection[Path] = ()) -> None:
        if self.folder not in not_yet and not any(times_path(self.folder, split).is_file() for split in SPLITS):
            raise FileNotFoundError(
                f"WordTimes: {self.folder} has no train.jsonl, dev.jsonl or test.jsonl; make them with "
                f"python -m speech_xl.extensions.timestamps.align RUN/stage1 {self.folder}, or leave WordTimes out of "
                "data.transforms"
            )

    def __call__(self, cuts: CutSet, split: str) -> CutSet:
        path = times_path(self.folder, check_split(split, "WordTimes"))
        if not path.is_file():
            return cuts
        times = read_times(path)
        rows = list(cast(Iterable[MonoCut], cuts))
        said = [s.id for cut in rows for s in cut.supervisions]
        if without := sum(name not in times for name in said):
            rank_zero_warn(
                f"{path}: {without} of the {len(said)} utterances of the split {split} have no word times there and "
                "stay whole; times go with the sessions they were found in: align again after changing those"
            )
        return CutSet.from_cuts(with_times(cut, times) for cut in rows)


def with_times(cut: MonoCut, times: Mapping[str, Sequence[float]]) -> MonoCut:
    """The cut with word times at the supervisions that have any."""
    said = [
        fastcopy(s, custom={**(s.custom or {}), WORD_STARTS: list(times[s.id])}) if s.id in times else s
        for s in cut.supervisions
    ]
    return fastcopy(cut, supervisions=said)
