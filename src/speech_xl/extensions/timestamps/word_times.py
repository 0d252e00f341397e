"""Word times: when each word of an utterance begins, so that transcripts can carry time marks inside utterances too.

They stand in a supervision's custom fields, in seconds after its own start: lhotse moves supervisions with the cut they
are in, but not their alignments.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from lhotse import CutSet, MonoCut, SupervisionSegment
from lhotse.utils import fastcopy
from lightning.pytorch.utilities import rank_zero_warn

from speech_xl.checks import number
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.manifest_lines import json_lines
from speech_xl.data.sessions import WORD_STARTS
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


class WordTimed(Corpus):
    """Another corpus with the word times that `extensions.timestamps.align` found. Utterances without any stay whole.

    Args:
        corpus: whose sessions these are.
        times: folder of train.jsonl, dev.jsonl and test.jsonl. A split without such a file has no word times.
    """

    def __init__(self, corpus: Corpus, times: str) -> None:
        self.corpus, self.times = corpus, Path(times)
        self.name = corpus.name

    def check(self) -> None:
        if not any(times_path(self.times, split).is_file() for split in SPLITS):
            raise FileNotFoundError(
                f"WordTimed: times {self.times} has no train.jsonl, dev.jsonl or test.jsonl; make them with "
                f"python -m speech_xl.extensions.timestamps.align RUN/stage1 {self.times}, or use the corpus by itself"
            )
        self.corpus.check()

    def prepare(self) -> None:
        self.check()
        self.corpus.prepare()

    def cuts(self, split: str) -> CutSet:
        cuts, path = self.corpus.cuts(check_split(split, self.name)), times_path(self.times, split)
        if not path.is_file():
            return cuts
        times = read_times(path)
        rows = list(cast(Iterable[MonoCut], cuts))
        said = [s.id for cut in rows for s in cut.supervisions]
        if without := sum(name not in times for name in said):
            rank_zero_warn(
                f"{path}: {without} of the {len(said)} utterances of {self.name}'s split {split} have no word times "
                "there and stay whole; times go with the sessions they were found in: align again after changing those"
            )
        return CutSet.from_cuts(with_times(cut, times) for cut in rows)


def with_times(cut: MonoCut, times: Mapping[str, Sequence[float]]) -> MonoCut:
    """The cut with word times at the supervisions that have any."""
    said = [
        fastcopy(s, custom={**(s.custom or {}), WORD_STARTS: list(times[s.id])}) if s.id in times else s
        for s in cut.supervisions
    ]
    return fastcopy(cut, supervisions=said)
