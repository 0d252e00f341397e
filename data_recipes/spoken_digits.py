"""Free Spoken Digit Dataset (CC BY-SA 4.0): random sessions of spoken digits with exact truth."""

from __future__ import annotations

import logging
import math
import random
import re
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut
from lhotse.utils import resumable_download

from data_recipes.grammar import number_words
from data_recipes.prepared import (
    folder_with,
    is_prepared,
    making,
    mark_prepared,
    named_files,
    parallel_map,
    read_mono,
    require_prepared,
    settings_folder,
    split_facts,
)
from data_recipes.session_truths import Asked, question
from speech_xl.checks import number, whole
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.sessions import Utterance, assemble_session, draw_pauses, read_split, write_split

logger = logging.getLogger(__name__)
VERSION = 2  # raise it when the sessions made from the same settings change
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"
WAV_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)\.wav")
MEN = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")  # metadata.py of the published corpus
ORDINALS = ("first", "second", "third")
SHORTEST_PAUSE = 0.05  # seconds
PUBLISHED_TEST = range(0, 5)
DEV = range(5, 10)
OTHER_TEST = range(10, 15)


@dataclass(frozen=True)
class Digit:
    """One recording: the digit, who said it, and its samples at 16 kHz."""

    digit: int
    speaker: str
    samples: np.ndarray


class SpokenDigits(Corpus):
    """Sessions of random digits, one to four speakers in turns, one supervision a digit.

    No recording is in two splits: indices 0 to 4 of each digit and speaker are test, as published, 5 to 9 dev, the rest
    train. Where indices 0 to 4 are missing, 10 to 14 are test. The six speakers are the same in all splits.

    Args:
        root: where sessions are written, and where the corpus is downloaded to if no `corpus_dir` is given (16 MB).
        corpus_dir: an existing corpus: a folder with the wav files, or with recordings/ or FSDD/recordings/ in it. Any
            sample rate; resampled to 16 kHz.
        train_sessions: how many sessions of the train split.
        dev_sessions: of the dev split.
        test_sessions: of the test split.
        min_digits: fewest digits of a session.
        max_digits: most digits of a session; lengths are drawn evenly on a logarithmic scale, so most are short.
        max_speakers: most speakers of a session.
        longest_pause: seconds between two digits at most; 0.05 at least.
        url: the published archive.
        seed: draws everything. A session does not depend on how many others there are.
    """

    name = "spoken_digits"

    def __init__(
        self,
        root: str = "data/spoken_digits",
        corpus_dir: str | None = None,
        train_sessions: int = 1200,
        dev_sessions: int = 60,
        test_sessions: int = 60,
        min_digits: int = 4,
        max_digits: int = 60,
        max_speakers: int = 4,
        longest_pause: float = 0.4,
        url: str = URL,
        seed: int = 0,
    ) -> None:
        self.sessions = {"train": train_sessions, "dev": dev_sessions, "test": test_sessions}
        for split, count in self.sessions.items():
            whole(f"SpokenDigits.{split}_sessions", count, least=1)
        whole("SpokenDigits.min_digits", min_digits, least=2, most=99)
        whole("SpokenDigits.max_digits (not below min_digits)", max_digits, least=min_digits, most=99)
        whole("SpokenDigits.max_speakers", max_speakers, least=1)
        whole("SpokenDigits.seed", seed)
        self.longest_pause = number("SpokenDigits.longest_pause", longest_pause, least=SHORTEST_PAUSE, unit="seconds")
        self.root = Path(root)
        self.corpus_dir = Path(corpus_dir) if corpus_dir is not None else None
        self.min_digits, self.max_digits, self.max_speakers = min_digits, max_digits, max_speakers
        self.url, self.seed = url, seed
        self.settings = {
            "version": VERSION,
            "corpus_dir": str(self.corpus_dir.resolve()) if self.corpus_dir is not None else url,
            "sessions": self.sessions,
            "digits": [min_digits, max_digits],
            "max_speakers": max_speakers,
            "longest_pause": longest_pause,
            "seed": seed,
        }
        self.folder = settings_folder(self.root, "sessions", self.settings)

    def cuts(self, split: str) -> CutSet:
        check_split(split, self.name)
        return read_split(require_prepared(self.folder), split)

    def ask(self, texts: list[str], rng: random.Random) -> list[Asked]:
        """Questions about the words of any digits, and the words that tell each answer."""
        questions = word_questions(" ".join(texts).split(), rng)
        return [Asked(text, answer, [place] if place else []) for _, text, answer, place in questions]

    def check(self) -> None:
        if self.corpus_dir is not None and not is_prepared(self.folder):
            self.recordings_folder()

    def prepare(self) -> None:
        with making(self.folder) as needed:
            if needed:
                self._make()

    def _make(self) -> None:
        splits = split_files(self.recordings_folder())
        facts = {}
        for split in SPLITS:
            digits = parallel_map(lambda f: Digit(f[0], f[1], read_mono(f[2])), splits[split], f"read {split}", "wav")
            plans = [self._plan(split, index, digits) for index in range(self.sessions[split])]
            cuts = parallel_map(lambda plan: self._write(*plan), plans, f"{self.name} {split}", "session")
            write_split(self.folder, split, cuts)
            facts[split] = {"recordings": len(digits)} | split_facts(cuts)
            logger.info("%s %s: %s", self.name, split, facts[split])
        mark_prepared(self.folder, self.settings, facts)

    def _plan(self, split: str, index: int, digits: list[Digit]) -> tuple[Path, list[Digit], list[float], dict]:
        rng = random.Random(f"{self.seed}-{split}-{index}")
        by_speaker: dict[str, list[Digit]] = {}
        for digit in digits:
            by_speaker.setdefault(digit.speaker, []).append(digit)
        low, high = math.log(self.min_digits), math.log(self.max_digits + 1)
        length = min(self.max_digits, int(math.exp(rng.uniform(low, high))))
        speakers = rng.sample(sorted(by_speaker), min(rng.randint(1, self.max_speakers), len(by_speaker), length))
        digits = [rng.choice(by_speaker[speaker]) for speaker in draw_turns(speakers, length, rng)]
        path = self.folder / "audio" / split / f"digits-{split}-{index:05d}.flac"
        truth = digit_truths([d.digit for d in digits], [d.speaker for d in digits], rng, self.max_speakers > 1)
        return path, digits, draw_pauses(rng, length, SHORTEST_PAUSE, self.longest_pause), truth

    def _write(self, path: Path, digits: list[Digit], pauses: list[float], truth: dict) -> MonoCut:
        spoken = [
            Utterance(d.samples, number_words(d.digit), d.speaker, "M" if d.speaker in MEN else None) for d in digits
        ]
        return assemble_session(path.stem, spoken, pauses, path, custom=truth)

    def recordings_folder(self) -> Path:
        """Where the recordings lie; downloads them where no `corpus_dir` is given."""
        if self.corpus_dir is None:
            return self._download()
        places = [self.corpus_dir, self.corpus_dir / "recordings", self.corpus_dir / "FSDD" / "recordings"]
        places += sorted(self.corpus_dir.glob("free-spoken-digit-dataset*/recordings"))
        if (folder := folder_with(places, WAV_NAME)) is not None:
            return folder
        raise FileNotFoundError(
            f"SpokenDigits: corpus_dir {self.corpus_dir} has no recordings named like 7_jackson_32.wav (nor have "
            "recordings/ and FSDD/recordings/ in it); give the corpus's folder, or leave corpus_dir out to download it"
        )

    def _download(self) -> Path:
        """Fetch the archive and unpack its recordings; they get their name only when all are there."""
        folder = self.root / "recordings"
        if folder.is_dir():
            return folder
        self.root.mkdir(parents=True, exist_ok=True)
        archive, part = self.root / "archive.zip", self.root / "recordings.part"
        by_hand = f"check the network, or fetch {self.url} yourself, unpack it and give its folder as corpus_dir"
        try:
            # From the beginning each time: the server can't resume an archive it packs on the fly.
            resumable_download(self.url, archive, force_download=True)
            with zipfile.ZipFile(archive) as packed:
                part.mkdir(exist_ok=True)
                for member in packed.namelist():
                    if "/recordings/" in member and (name := Path(member).name).endswith(".wav"):
                        (part / name).write_bytes(packed.read(member))
        except (OSError, zipfile.BadZipFile) as error:
            raise OSError(f"SpokenDigits: cannot download {self.url} ({error}); {by_hand}") from error
        part.replace(folder)
        archive.unlink()
        return folder


def split_files(folder: Path) -> dict[str, list[tuple[int, str, Path]]]:
    """(digit, speaker, file) of every recording, by split. Other files in the folder are named in a warning."""
    found = [
        (int(match["digit"]), match["speaker"], int(match["index"]), path)
        for match, path in named_files(folder, WAV_NAME, "7_jackson_32.wav")
    ]
    test = PUBLISHED_TEST if any(index in PUBLISHED_TEST for _, _, index, _ in found) else OTHER_TEST
    splits: dict[str, list[tuple[int, str, Path]]] = {split: [] for split in SPLITS}
    for digit, speaker, index, path in found:
        splits["test" if index in test else "dev" if index in DEV else "train"].append((digit, speaker, path))
    for split, files in splits.items():
        if not files:
            raise ValueError(
                f"{folder}: no recordings for {split}; of each digit and speaker, the indices {test.start} to "
                f"{test.stop - 1} are test, {DEV.start} to {DEV.stop - 1} dev and the others train; use "
                "the whole published corpus"
            )
    return splits


def draw_turns(speakers: list[str], length: int, rng: random.Random) -> list[str]:
    """Who says each of `length` digits: every speaker at least one turn, no two turns of one speaker in a row."""
    if len(speakers) == 1:
        return speakers * length
    order = list(speakers)
    for _ in range(rng.randint(0, max(0, length // 3 - len(speakers)))):
        order.append(rng.choice([s for s in speakers if s != order[-1]]))
    ends = [*sorted(rng.sample(range(1, length), len(order) - 1)), length]
    return [speaker for speaker, start, end in zip(order, [0, *ends], ends, strict=False) for _ in range(end - start)]


def digit_truths(digits: list[int], speakers: list[str], rng: random.Random, ask_count: bool) -> dict:
    """`custom` of a session. Kinds: "times" a digit was said (one said, one any), what came "after", speakers' "count",
    "first" and "last" digit, the "speaker" who spoke first."""
    words = [number_words(d) for d in digits]
    asked = [question(kind, text, answer) for kind, text, answer, _ in word_questions(words, rng)]
    people = len(set(speakers))
    voices = [question("count", "how many speakers are there", number_words(people))] if ask_count else []
    voices.append(question("speaker", "who spoke first", speakers[0]))
    questions = [*asked[:-2], *voices, *asked[-2:]]
    who = "one speaker says" if people == 1 else f"{number_words(people)} speakers say"
    return {"questions": questions, "caption": f"{who} {number_words(len(digits))} digits"}


def word_questions(words: list[str], rng: random.Random) -> list[tuple[str, str, str, list[int]]]:
    """(kind, question, answer, places of the words that tell it) of all that the digits' words tell by themselves."""
    asked = dict.fromkeys([rng.choice(words), number_words(rng.randrange(10))])
    places = {w: [place for place, word in enumerate(words) if word == w] for w in asked}
    questions = [("times", f"how many times was {w} said", number_words(len(places[w])), places[w]) for w in asked]
    follows = {}
    seen: Counter[str] = Counter()
    for place, word in enumerate(words[:-1]):
        if seen[word] < len(ORDINALS):
            follows[f"what came after the {ORDINALS[seen[word]]} {word}"] = place + 1
        seen[word] += 1
    for text in rng.sample(sorted(follows), min(2, len(follows))):
        questions.append(("after", text, words[follows[text]], [follows[text]]))
    questions.append(("first", "what was the first digit", words[0], [0]))
    questions.append(("last", "what was the last digit", words[-1], [len(words) - 1]))
    return questions
