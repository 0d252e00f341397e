"""What the mini benchmarks share: sessions of synthetic and recorded utterances, planned with items; coverage."""

from __future__ import annotations

import json
import logging
import math
import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import CutSet, MonoCut, Recording
from lhotse.utils import fastcopy

from data_recipes.embedded import at_level
from data_recipes.espeak import Request, read_chunk, speak_chunk
from data_recipes.prepared import (
    is_prepared,
    making,
    mark_prepared,
    parallel_map,
    read_mono,
    require_prepared,
    settings_folder,
    split_facts,
)
from speech_xl.checks import number, whole
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.items import KEY, Coverage, Item
from speech_xl.data.sessions import Utterance, assemble_session, read_split, write_split

logger = logging.getLogger(__name__)
CHUNK = 16  # sessions spoken by one espeak-ng process; part of the result, see espeak.py
TRANSCRIPTION_TOKENS = 4096  # the most of an answer; ten minutes of speech are about 3,000
SHORT_TOKENS = 32


@dataclass(frozen=True)
class Part:
    """One utterance of a session: what espeak-ng is to speak, or where its recording lies."""

    source: Request | Path | Recording
    text: str
    speaker: str
    gender: str | None
    language: str = "English"
    level_db: float | None = None
    """RMS in dB below full scale; None: as it is recorded."""


@dataclass(frozen=True)
class MiniPlan:
    """A session before its audio is made. `pauses` are seconds, one more than parts."""

    id: str
    parts: Sequence[Part]
    pauses: Sequence[float]
    items: Sequence[Item]
    words: bool
    """Whether its supervisions hold what is said; without, training can't ask for a transcript."""


class MiniBenchmark(Corpus):
    """Sessions of several kinds, as many of each, every one with items of a benchmark.

    Sessions of dev and test last `min_seconds` to `max_seconds`, about, and those of train from 12 s on. A kind whose
    corpus isn't given is left out, and its items are missing in the coverage.

    Args:
        root: where sessions are written.
        folders: name of the argument -> folder of a corpus, or None.
        sessions: split -> sessions of each kind.
        min_seconds, max_seconds: of dev and test.
        seed: draws the sessions. A session doesn't depend on how many others there are.
    """

    version: int
    """Raise it when the sessions made from the same settings change."""

    def __init__(
        self,
        root: str,
        folders: Mapping[str, str | None],
        sessions: Mapping[str, int],
        min_seconds: float,
        max_seconds: float,
        seed: int,
    ) -> None:
        kind = type(self).__name__
        for split, count in sessions.items():
            whole(f"{kind}.{split}_sessions", count, least=1)
        number(f"{kind}.min_seconds", min_seconds, least=SHORTEST_SECONDS, unit="seconds")
        number(f"{kind}.max_seconds (not below min_seconds)", max_seconds, least=min_seconds, unit="seconds")
        whole(f"{kind}.seed", seed)
        self.folders = {name: None if folder is None else Path(folder) for name, folder in folders.items()}
        self.sessions, self.bounds, self.seed = dict(sessions), (min_seconds, max_seconds), seed
        self.settings: dict[str, Any] = {
            "version": self.version,
            "folders": {n: None if f is None else str(f.resolve()) for n, f in self.folders.items()},
            "sessions": self.sessions,
            "seconds": list(self.bounds),
            "seed": seed,
        }
        self.root = root

    @property
    def folder(self) -> Path:
        return settings_folder(self.root, "sessions", self.settings)

    # What a benchmark says

    @abstractmethod
    def kinds(self) -> Mapping[str, Sequence[tuple[str, str]]]:
        """Kind of session -> (argument that names a corpus, task) for every item of it that needs the corpus."""

    @abstractmethod
    def read(self) -> None:
        """Read the corpora that are given."""

    @abstractmethod
    def plan(self, kind: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        """The session at a place among its kind; `seconds` is how long it is to last, about."""

    # A corpus

    def check(self) -> None:
        for name, folder in self.folders.items():
            if folder is not None and not is_prepared(self.folder) and not folder.is_dir():
                raise FileNotFoundError(
                    f"{type(self).__name__}: {name} {folder} is missing; give the corpus's folder, or null to do "
                    "without"
                )

    def prepare(self) -> None:
        with making(self.folder) as needed:
            if needed:
                self._make()

    def cuts(self, split: str) -> CutSet:
        check_split(split, self.name)
        return read_split(require_prepared(self.folder), split)

    def coverage(self, split: str) -> Coverage:
        check_split(split, self.name)
        facts = json.loads((require_prepared(self.folder) / "recipe.json").read_text(encoding="utf-8"))["facts"]
        return Coverage(**facts[split]["coverage"])

    def _here(self, kind: str) -> bool:
        return all(self.folders[name] is not None for name, _ in self.kinds()[kind])

    def _make(self) -> None:
        self.read()
        facts: dict[str, Any] = {}
        for split in SPLITS:
            plans = list(self._plans(split))
            cuts = self._make_split(split, plans)
            write_split(self.folder, split, cuts)
            coverage = self._coverage(split, [item for plan in plans for item in plan.items])
            facts[split] = split_facts(cuts) | {"answers": answers_of(plans), "coverage": coverage.to_json()}
            logger.info("%s %s: %s", self.name, split, facts[split])
        mark_prepared(self.folder, self.settings, facts)

    def _plans(self, split: str) -> Iterator[MiniPlan]:
        for place in range(self.sessions[split]):
            for kind in self.kinds():
                if self._here(kind):
                    yield self._planned(kind, split, place)

    def _make_split(self, split: str, plans: Sequence[MiniPlan]) -> list[MonoCut]:
        chunks = [plans[start : start + CHUNK] for start in range(0, len(plans), CHUNK)]
        made = parallel_map(lambda chunk: self._make_chunk(split, chunk), chunks, f"{self.name} {split}", "chunk")
        return [cut for chunk in made for cut in chunk]

    def _coverage(self, split: str, items: Sequence[Item]) -> Coverage:
        missing: dict[str, dict[str, int]] = {}
        for kind, needs in self.kinds().items():
            for name, task in needs:
                if not self._here(kind):
                    reasons = missing.setdefault(task, {})
                    reason = f"{name} is not given"
                    reasons[reason] = reasons.get(reason, 0) + self.sessions[split]
        for task, reasons in missing.items():
            logger.warning("%s %s: %s lacks items: %s", self.name, split, task, "; ".join(reasons))
        return Coverage(here=dict(Counter(item.task for item in items)), missing=missing)

    def _planned(self, kind: str, split: str, place: int) -> MiniPlan:
        rng = random.Random(f"{self.seed}-{split}-{kind}-{place}")
        low, high = self.bounds
        if split == "train":  # evenly on a logarithmic scale: most are short
            seconds = math.exp(rng.uniform(math.log(SHORTEST_SECONDS), math.log(high)))
        else:
            seconds = rng.uniform(low, high)
        return self.plan(kind, split, place, seconds, rng)

    def _make_chunk(self, split: str, plans: Sequence[MiniPlan]) -> list[MonoCut]:
        requests = [part.source for plan in plans for part in plan.parts if isinstance(part.source, Request)]
        spoken: Iterator = iter(())
        if requests:
            path = self.folder / "parts" / f"{split}-{plans[0].id}.npz"
            speak_chunk(requests, path)
            spoken = iter(read_chunk(path))
            path.unlink()
        return [self._write(split, plan, spoken) for plan in plans]

    def _write(self, split: str, plan: MiniPlan, spoken: Iterator) -> MonoCut:
        utterances = []
        for part in plan.parts:
            samples = next(spoken).samples if isinstance(part.source, Request) else read_mono(part.source)
            if part.level_db is not None:
                samples = at_level(samples, part.level_db)
            utterances.append(Utterance(samples, part.text, part.speaker, part.gender, part.language))
        path = self.folder / "audio" / split / f"{plan.id}.flac"
        custom = {KEY: [item.to_json() for item in plan.items]}
        cut = assemble_session(plan.id, utterances, plan.pauses, path, custom=custom)
        if not plan.words:
            cut.supervisions = [fastcopy(one, text=None) for one in cut.supervisions]
        return cut


SHORTEST_SECONDS = 12.0  # of a training session, about


def answers_of(plans: Sequence[MiniPlan]) -> dict[str, dict[str, int]]:
    """task -> answer -> how often it is the truth, of items with choices or a short answer."""
    found: dict[str, Counter[str]] = {}
    for plan in plans:
        for item in plan.items:
            if item.max_tokens == SHORT_TOKENS:
                found.setdefault(item.task, Counter())[item.answer] += 1
    return {task: dict(sorted(answers.items())) for task, answers in found.items()}


def choices_of(texts: Sequence[str]) -> dict[str, str]:
    """Letter -> text, from A on."""
    return {chr(ord("A") + place): text for place, text in enumerate(texts)}


def choice_prompt(question: str, choices: Mapping[str, str]) -> str:
    """A question with its choices, a letter to be answered."""
    listed = " ".join(f"{letter}: {text}" for letter, text in choices.items())
    return f"{question} {listed} answer with the letter"
