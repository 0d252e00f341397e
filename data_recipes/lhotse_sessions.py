"""LhotseCorpus: what lhotse's recipes read, as sessions with a transcription item each, written once."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import Cut
from lhotse.utils import fastcopy

from data_recipes.long_form import Count, Transcribe, at_16_khz, check_limit, report, written
from data_recipes.prepared import is_prepared, making, mark_prepared, require_prepared, settings_folder, split_facts
from speech_xl.checks import number
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.items import Coverage
from speech_xl.data.sessions import read_split

VERSION = 1  # raise it when the sessions made from the same settings change
Manifests = Mapping[str, tuple[Iterable[Recording], Iterable[SupervisionSegment]]]


class LhotseCorpus(Corpus):
    """A corpus that lhotse has a recipe of. Its manifests are written once, in a folder below `root` named by the
    settings; take that folder away where the corpus has more files than it had.

    Args:
        root: where manifests are written, and where the corpus is downloaded to if no `corpus_dir` is given.
        corpus_dir: an existing corpus, laid out as lhotse's recipe reads it.
        prompt: text after the audio. Null: the model's own transcription instruction.
        limit: the most recordings (or stretches) a split. Null: all.
        tokens_per_second: with a prompt, the most tokens of a transcript, a second of audio.
        max_gap_seconds: where set, a recording becomes as many sessions as there are stretches in which every segment
            follows within so many seconds of the one before. Null: whole recordings.
        min_seconds: shorter sessions are left out.

    Raises FileNotFoundError where the corpus isn't there, and ValueError where lhotse can't read it.
    """

    published: Mapping[str, int] = {}

    def __init__(
        self,
        root: str | None = None,
        corpus_dir: str | None = None,
        prompt: str | None = None,
        limit: int | None = None,
        tokens_per_second: float = 16.0,
        max_gap_seconds: float | None = None,
        min_seconds: float = 0.0,
    ) -> None:
        what = type(self).__name__
        if max_gap_seconds is not None:
            number(f"{what}.max_gap_seconds", max_gap_seconds, least=0, unit="seconds")
        self.root = Path(root if root is not None else f"data/{self.name}")
        self.corpus_dir = Path(corpus_dir) if corpus_dir is not None else None
        self.ask = Transcribe(self.name, prompt, tokens_per_second)
        self.limit = check_limit(what, limit)
        self.max_gap_seconds = max_gap_seconds
        self.min_seconds = number(f"{what}.min_seconds", min_seconds, least=0, unit="seconds")

    def options(self) -> dict[str, Any]:
        """What the sessions depend on beside the settings of every such corpus."""
        return {}

    @abstractmethod
    def download(self) -> Path:
        """The downloaded corpus's folder."""

    @abstractmethod
    def manifests(self, corpus: Path) -> Manifests:
        """Recordings and supervisions of the splits there are, from lhotse."""

    @property
    def folder(self) -> Path:
        settings = {
            "version": VERSION,
            "corpus_dir": str(self.corpus_dir.resolve()) if self.corpus_dir is not None else None,
            "ask": [self.ask.prompt, self.ask.tokens_per_second],
            "sessions": [self.limit, self.max_gap_seconds, self.min_seconds],
            **self.options(),
        }
        return settings_folder(self.root, "sessions", settings)

    def check(self) -> None:
        if self.corpus_dir is not None and not self.corpus_dir.is_dir() and not is_prepared(self.folder):
            raise FileNotFoundError(
                f"{type(self).__name__}: corpus_dir {self.corpus_dir} is missing; give the corpus's folder, or leave "
                "corpus_dir out to download it"
            )

    def prepare(self) -> None:
        self.check()
        with making(self.folder) as needed:
            if needed:
                self._make()

    def cuts(self, split: str) -> CutSet:
        self._require(split)
        return at_16_khz(read_split(self.folder, split))

    def coverage(self, split: str) -> Coverage | None:
        self._require(split)
        return Coverage(**_facts(self.folder)[split]["coverage"])

    def splits(self) -> list[str]:
        """Those that the corpus has, after `prepare`."""
        folder = require_prepared(self.folder)
        return [split for split in SPLITS if split in _facts(folder)]

    def _require(self, split: str) -> None:
        check_split(split, self.name)
        if split not in self.splits():
            there = ", ".join(self.splits())
            raise ValueError(f"{type(self).__name__}: there is no {split} split here, only {there}; use another corpus")

    def _make(self) -> None:
        corpus = self.download() if self.corpus_dir is None else self.corpus_dir
        manifests = self.manifests(corpus)
        facts, cuts = {}, {}
        for split, (recordings, supervisions) in manifests.items():
            published = {"ASR": self.published[split]} if split in self.published else {}
            count = Count(published if self.max_gap_seconds is None else {}, self.limit)
            cuts[split] = list(self._sessions(recordings, supervisions, count))
            facts[split] = split_facts(cuts[split]) | {"coverage": count.coverage().to_json()}
            report(self.name, split, count.coverage())
        if not any(cuts.values()):
            raise ValueError(f"{type(self).__name__}: {corpus} holds no recording with supervisions; unpack it again")
        written(cuts, self.folder)
        mark_prepared(self.folder, self.options(), {split: facts[split] for split, some in cuts.items() if some})

    def _sessions(
        self, recordings: Iterable[Recording], supervisions: Iterable[SupervisionSegment], count: Count
    ) -> Iterator[Cut]:
        spoken: dict[str, list[SupervisionSegment]] = {}
        for one in supervisions:
            spoken.setdefault(one.recording_id, []).append(one)
        for recording in sorted(recordings, key=lambda one: one.id):
            if recording.id not in spoken:
                count.lacks("ASR", "transcript missing")
                continue
            cut = session(recording, spoken[recording.id])
            if unknown := len(spoken[recording.id]) - len(cut.supervisions):
                count.lacks("ASR", "segments without text, in recordings that are here", unknown)
            for part in [cut] if self.max_gap_seconds is None else stretches(cut, self.max_gap_seconds):
                if part.duration < self.min_seconds:
                    count.leaves_out("ASR", f"shorter than {self.min_seconds:g} s")
                elif part.supervisions and count.keeps("ASR"):
                    yield self.ask(part)


def session(recording: Recording, supervisions: Iterable[SupervisionSegment]) -> Cut:
    """A whole recording with the supervisions that have text, in the order of time."""
    cut = recording.to_cut()
    channel = getattr(cut, "channel", 0)
    heard = (fastcopy(one, channel=channel) for one in supervisions if one.text and one.text.strip())
    cut.supervisions = sorted(heard, key=lambda one: (one.start, one.end))
    return cut


def stretches(cut: Cut, max_gap_seconds: float) -> list[Cut]:
    """A session parted where no supervision is for more than `max_gap_seconds`; ids get the number of the part."""
    groups: list[list[SupervisionSegment]] = []
    end = -float("inf")
    for one in cut.supervisions:
        if one.start - end > max_gap_seconds:
            groups.append([])
        groups[-1].append(one)
        end = max(end, one.end)
    parts = []
    for place, group in enumerate(groups):
        start, last = max(0.0, group[0].start), min(cut.duration, max(one.end for one in group))
        part = cut.truncate(offset=start, duration=last - start)
        kept = {one.id for one in group}
        part.supervisions = [one for one in part.supervisions if one.id in kept]
        parts.append(part.with_id(f"{cut.id}-{place:04d}"))
    return parts


def _facts(folder: Path) -> dict[str, Any]:
    """What `mark_prepared` wrote of each split."""
    return json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["facts"]
