"""The embedded corpus: long-form sessions spoken by espeak-ng, made offline on first use, with exact truth."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut
from lhotse.serialization import deserialize_item
from tqdm import tqdm

from data_recipes.espeak import Spoken, read_chunk, speak_chunk
from data_recipes.grammar import make_caption, make_questions
from data_recipes.prepared import only_one
from data_recipes.session_plan import LOWEST_SPAN_SECONDS, SHORTEST_SECONDS, Line, SessionPlan, plan_session
from speech_xl.checks import number, whole
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.sessions import SAMPLE_RATE, Utterance, assemble_session, read_split, write_split
from speech_xl.storage.files import write_text

log = logging.getLogger(__name__)

VERSION = 3  # raise when the making changes, so that an old folder is not taken for the new corpus
_CHUNK = 16  # sessions spoken by one espeak-ng process; part of the result, see espeak.py


class EmbeddedSpeech(Corpus):
    """Spoken sessions of 1 to 4 speakers telling facts, with questions and captions.

    Voices and sentences are disjoint between the splits, for every seed. The corpus lies in `root/<fingerprint>`,
    where the fingerprint names the arguments that change its content, so other arguments never mix with it.

    Args:
        root: folder for the audio and the manifests.
        train_hours: hours of training sessions, pauses included.
        dev_sessions: sessions of the dev split.
        test_sessions: sessions of the test split.
        seed: another seed gives other sessions.
        jobs: espeak-ng processes at a time; does not change the corpus.
        min_seconds: shortest session.
        max_seconds: longest session.
    """

    name = "embedded"

    def __init__(
        self,
        root: str = "data/embedded",
        train_hours: float = 4.0,
        dev_sessions: int = 40,
        test_sessions: int = 60,
        seed: int = 0,
        jobs: int = 2,
        min_seconds: float = 20.0,
        max_seconds: float = 180.0,
    ) -> None:
        number("EmbeddedSpeech.train_hours", train_hours, least=0.001)
        for key, count in (("dev_sessions", dev_sessions), ("test_sessions", test_sessions), ("jobs", jobs)):
            whole(f"EmbeddedSpeech.{key}", count, least=1)
        whole("EmbeddedSpeech.seed", seed)
        number("EmbeddedSpeech.min_seconds", min_seconds, least=SHORTEST_SECONDS)
        number("EmbeddedSpeech.max_seconds", max_seconds, least=min_seconds + LOWEST_SPAN_SECONDS)
        self.jobs = jobs
        self.arguments = {
            "version": VERSION,
            "train_hours": float(train_hours),
            "dev_sessions": dev_sessions,
            "test_sessions": test_sessions,
            "seed": seed,
            "min_seconds": float(min_seconds),
            "max_seconds": float(max_seconds),
        }
        self.fingerprint = hashlib.sha256(json.dumps(self.arguments, sort_keys=True).encode()).hexdigest()[:12]
        self.folder = Path(root) / self.fingerprint

    @property
    def _marker(self) -> Path:
        return self.folder / "corpus.json"  # written last: where it is, the corpus is whole

    def cuts(self, split: str) -> CutSet:
        check_split(split, self.name)
        if not self._marker.is_file():
            raise FileNotFoundError(f"{self._marker} is missing: the corpus is not whole; call prepare() first")
        return read_split(self.folder, split)

    def prepare(self) -> None:
        """Speak and write what is not there yet; an interrupted making goes on where it stopped."""
        if self._marker.is_file():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with only_one(self.folder.with_suffix(".lock")):
            if not self._marker.is_file():
                self._make()

    def _make(self) -> None:
        log.info("making the embedded corpus in %s", self.folder)
        chunks = list(self._chunks())
        sessions = sum(len(chunk) for _, _, chunk in chunks)
        made: dict[str, list[MonoCut]] = {split: [] for split in SPLITS}
        with ThreadPoolExecutor(self.jobs) as pool, tqdm(total=sessions, desc="speaking", unit="session") as bar:
            results = [pool.submit(self._make_chunk, *chunk, bar) for chunk in chunks]
            try:
                for (split, _, _), result in zip(chunks, results, strict=True):
                    made[split] += result.result()
            except BaseException:  # also Ctrl-C: don't speak the rest first
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for split, cuts in made.items():
            write_split(self.folder, split, cuts)
        shutil.rmtree(self._parts)
        self._write_marker(made)

    @property
    def _parts(self) -> Path:
        return self.folder / "parts"  # what is made so far, a file a chunk

    def _plans(self, split: str) -> Iterator[SessionPlan]:
        """A split's sessions in order; for train as many as fill its hours by their planned durations."""
        shortest, longest = self.arguments["min_seconds"], self.arguments["max_seconds"]
        seconds, index = 0.0, 0
        while (
            seconds < self.arguments["train_hours"] * 3600
            if split == "train"
            else index < self.arguments[f"{split}_sessions"]
        ):
            plan = plan_session(f"{split}-{index:05d}", split, self.arguments["seed"], shortest, longest)
            seconds += plan.planned_seconds
            index += 1
            yield plan

    def _chunks(self) -> Iterator[tuple[str, int, list[SessionPlan]]]:
        for split in SPLITS:
            plans = list(self._plans(split))
            for index, start in enumerate(range(0, len(plans), _CHUNK)):
                yield split, index, plans[start : start + _CHUNK]

    def _make_chunk(self, split: str, index: int, plans: list[SessionPlan], bar: tqdm) -> list[MonoCut]:
        done = self._parts / f"{split}_{index:04d}.jsonl"
        if done.is_file():
            cuts = [deserialize_item(json.loads(line)) for line in done.read_text().splitlines()]
        else:
            chunk = self._parts / f"{split}_{index:04d}.npz"
            lines = [line for plan in plans for line in plan.lines + plan.reserve]
            speak_chunk([line.request for line in lines], chunk)
            spoken = iter(read_chunk(chunk))
            cuts = []
            for plan in plans:
                pairs = [(line, next(spoken)) for line in plan.lines], [(line, next(spoken)) for line in plan.reserve]
                cuts.append(self._assemble(split, plan, *pairs))
            write_text(done, "".join(json.dumps(cut.to_dict()) + "\n" for cut in cuts))
            chunk.unlink()
        bar.update(len(plans))
        return cuts

    def _assemble(self, split: str, plan: SessionPlan, spoken_lines: list[_Said], reserve: list[_Said]) -> MonoCut:
        """Keep to the bounds of a session's duration, then write its audio and its truth."""

        def seconds() -> float:
            return sum(len(spoken.samples) for _, spoken in spoken_lines) / SAMPLE_RATE + sum(
                plan.pauses[: len(spoken_lines) + 1]
            )

        while seconds() < self.arguments["min_seconds"] and reserve:
            spoken_lines.append(reserve.pop(0))
        facts = [index for index, (line, _) in enumerate(spoken_lines) if line.sentence.kind == "fact"]
        while seconds() > self.arguments["max_seconds"] and facts:
            del spoken_lines[facts.pop()]  # the last one; introductions and numbers stay
        sentences = [line.sentence for line, _ in spoken_lines]
        return assemble_session(
            plan.id,
            [
                Utterance(
                    at_level(spoken.samples, line.level_db),
                    line.sentence.text,
                    line.speaker,
                    line.gender,
                    word_starts=spoken.word_starts,
                )
                for line, spoken in spoken_lines
            ],
            plan.pauses[: len(spoken_lines) + 1],
            self.folder / "audio" / split / f"{plan.id}.flac",
            noise_rms=plan.noise_rms,
            custom={
                "questions": make_questions(sentences, random.Random(f"questions-{plan.id}")),
                "caption": make_caption(sentences),
            },
        )

    def _write_marker(self, made: dict[str, list[MonoCut]]) -> None:
        hours = {split: round(sum(cut.duration for cut in cuts) / 3600, 3) for split, cuts in made.items()}
        sessions = {split: len(cuts) for split, cuts in made.items()}
        write_text(self._marker, json.dumps({**self.arguments, "hours": hours, "sessions": sessions}, indent=2) + "\n")


_Said = tuple[Line, Spoken]


def at_level(samples: np.ndarray, level_db: float) -> np.ndarray:
    """Scaled to an RMS of `level_db` below full scale, less where its peak would clip."""
    rms, peak = float(np.sqrt(np.mean(samples**2))), float(np.abs(samples).max())
    return samples * np.float32(min(10 ** (level_db / 20) / max(rms, 1e-6), 0.95 / max(peak, 1e-6)))
