"""Mini LibriSpeech (CC BY 4.0) on lhotse's own recipe: chapters as long-form sessions, or single utterances."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Literal

from lhotse import CutSet, MonoCut
from lhotse.recipes.librispeech import download_librispeech

from data_recipes.librispeech_utterances import (
    LibriSpeechUtterance,
    Session,
    chapter_sessions,
    mix_sessions,
    read_genders,
    read_part,
    share_speakers,
)
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
from data_recipes.session_truths import reading_truths
from speech_xl.checks import number, whole
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.sessions import Utterance, assemble_session, read_split, write_split

logger = logging.getLogger(__name__)
VERSION = 1  # raise it when the sessions made from the same settings change
DEV_PARTS = ("dev-clean-2", "dev-clean")  # Mini LibriSpeech's own, and the whole corpus's


class MiniLibriSpeech(Corpus):
    """Read English: train-clean-5 for training, dev-clean-2 (or dev-clean) shared out between dev and test.

    The dev part's speakers are sorted by sex, then by id, and go to dev and test in turn, so the two splits have no
    speaker in common and about the same number of women and men. Text is lower case.

    Args:
        root: where sessions are written, and where the corpus is downloaded to if no `corpus_dir` is given (450 MB).
        corpus_dir: an existing corpus: the LibriSpeech folder itself, or the folder it lies in.
        unit: "session": consecutive utterances of a chapter, joined without added pauses (a recording begins and ends
            with about a quarter of a second of its own). "utterance": every utterance by itself, its audio used
            where it lies.
        max_seconds: the longest session; null: whole chapters. An utterance longer than this is a session of its own.
        mixed: the share of sessions whose utterances are dealt anew into sessions of two or three speakers taking
            turns. No utterance is used twice. Only for unit "session".
        train_part: the part of LibriSpeech for training, for example "train-clean-100" of the whole corpus.
        dev_part: the part for dev and test; null: dev-clean-2 where it exists, else dev-clean.
        base_url: where the archives are downloaded from.
        seed: draws the mixed sessions and the words asked for.
    """

    name = "mini_librispeech"

    def __init__(
        self,
        root: str = "data/mini_librispeech",
        corpus_dir: str | None = None,
        unit: Literal["session", "utterance"] = "session",
        max_seconds: float | None = 60.0,
        mixed: float = 0.25,
        train_part: str = "train-clean-5",
        dev_part: str | None = None,
        base_url: str = "https://www.openslr.org/resources",
        seed: int = 0,
    ) -> None:
        if unit not in ("session", "utterance"):
            raise ValueError(f"MiniLibriSpeech: unit is {unit!r}; use session or utterance")
        if max_seconds is not None:
            number("MiniLibriSpeech.max_seconds (null: whole chapters)", max_seconds, above=0)
        number("MiniLibriSpeech.mixed", mixed, least=0, most=1)
        whole("MiniLibriSpeech.seed", seed)
        self.root = Path(root)
        self.corpus_dir = Path(corpus_dir) if corpus_dir is not None else None
        self.unit, self.max_seconds, self.mixed = unit, max_seconds, mixed
        self.train_part, self.dev_part, self.base_url, self.seed = train_part, dev_part, base_url, seed
        self.settings = {
            "version": VERSION,
            "corpus_dir": str(self.corpus_dir.resolve()) if self.corpus_dir is not None else None,
            "unit": unit,
            "parts": [train_part, dev_part],
            "seed": seed,
        }
        if unit == "session":
            self.settings |= {"max_seconds": max_seconds, "mixed": mixed}
        self.folder = settings_folder(self.root, unit, self.settings)

    def cuts(self, split: str) -> CutSet:
        check_split(split, self.name)
        return read_split(require_prepared(self.folder), split)

    def check(self) -> None:
        if self.corpus_dir is not None and not is_prepared(self.folder):
            self._existing_corpus(self.corpus_dir)

    def prepare(self) -> None:
        with making(self.folder) as needed:
            if needed:
                self._make()

    def _make(self) -> None:
        utterances, facts = self.utterances()
        for split in SPLITS:
            cuts = self._make_split(split, utterances[split])
            write_split(self.folder, split, cuts)
            facts[split] = split_facts(cuts)
            logger.info("%s %s: %s", self.name, split, facts[split])
        mark_prepared(self.folder, self.settings, facts)

    def utterances(self) -> tuple[dict[str, list[LibriSpeechUtterance]], dict[str, dict]]:
        """The utterances of each split, no speaker in two; and by part the ids that lack audio or transcript."""
        corpus = self._downloaded_corpus() if self.corpus_dir is None else self._existing_corpus(self.corpus_dir)
        genders = read_genders(corpus)
        dev_part = self.dev_part or _dev_part(corpus)
        train, train_unpaired = read_part(corpus, self.train_part, genders)
        dev, dev_unpaired = read_part(corpus, dev_part, genders)
        if both := {r.speaker for r in train} & {r.speaker for r in dev}:
            raise ValueError(
                f"{corpus}: speaker {min(both)} is in {self.train_part} and in {dev_part}; name other parts"
            )
        utterances = {"train": train}
        utterances["dev"], utterances["test"] = share_speakers(dev, dev_part)
        return utterances, {self.train_part: train_unpaired, dev_part: dev_unpaired}

    def _make_split(self, split: str, utterances: list[LibriSpeechUtterance]) -> list[MonoCut]:
        rng = random.Random(f"{self.seed}-{split}")
        if self.unit == "session":
            sessions = chapter_sessions(utterances, self.max_seconds)
            sessions = mix_sessions(sessions, self.mixed, rng, self.max_seconds, f"{split}-mixed")
            cuts = parallel_map(lambda s: self._write(split, s), sessions, f"{self.name} {split}", "session")
        else:
            cuts = [utterance.cut() for utterance in utterances]
        several = self.unit == "session" and self.mixed > 0  # else the answer is always one
        truths = reading_truths({cut.id: cut.supervisions for cut in cuts}, rng, ask_count=several)
        for cut in cuts:
            cut.custom = truths[cut.id]
        return cuts

    def _write(self, split: str, session: Session) -> MonoCut:
        spoken = [Utterance(read_mono(r.recording), r.text, r.speaker, r.gender) for r in session.utterances]
        path = self.folder / "audio" / split / f"{session.id}.flac"
        return assemble_session(session.id, spoken, [0.0] * (len(spoken) + 1), path)

    def _existing_corpus(self, corpus_dir: Path) -> Path:
        for folder in (corpus_dir, corpus_dir / "LibriSpeech"):
            if (folder / self.train_part).is_dir():
                return folder
        raise FileNotFoundError(
            f"MiniLibriSpeech: corpus_dir {corpus_dir} has no {self.train_part} (nor LibriSpeech/{self.train_part}); "
            "give the LibriSpeech folder or the one it lies in, or leave corpus_dir out to download the corpus"
        )

    def _downloaded_corpus(self) -> Path:
        parts = (self.train_part, self.dev_part or DEV_PARTS[0])
        # lhotse deletes and downloads a part it did not unpack itself. One that somebody put here by hand is used as it
        # is; an archive beside it means that lhotse was at it and was interrupted.
        missing = [
            part
            for part in parts
            if not (self.root / "LibriSpeech" / part).is_dir() or (self.root / f"{part}.tar.gz").exists()
        ]
        try:
            return download_librispeech(self.root, dataset_parts=missing, base_url=self.base_url)
        except OSError as error:
            raise OSError(
                f"MiniLibriSpeech: cannot download {' and '.join(missing)} from {self.base_url} ({error}); check the "
                "network, or fetch the archives from https://www.openslr.org/31 yourself, unpack them and give their "
                "folder as corpus_dir"
            ) from error


def _dev_part(corpus: Path) -> str:
    for part in DEV_PARTS:
        if (corpus / part).is_dir():
            return part
    raise FileNotFoundError(
        f"MiniLibriSpeech: {corpus} has neither {' nor '.join(DEV_PARTS)}; unpack one, or set dev_part"
    )
