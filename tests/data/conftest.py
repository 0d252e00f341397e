"""A corpus of tiny sessions with real audio files, made in a moment."""

import random
from pathlib import Path

import numpy as np
import pytest
from lhotse import CutSet

from speech_xl.data.corpus import Corpus
from speech_xl.data.sessions import Utterance, assemble_session

QUESTIONS = 6


class TinyCorpus(Corpus):
    """`sessions` of 2 to 6 tones of 0.1 to 0.4 s with 0.1 s of silence around each; the same in every run."""

    def __init__(self, folder: Path, sessions: int = 12, questions: bool = True) -> None:
        self.name = "tiny"
        self.folder = Path(folder)
        self.sessions = sessions
        self.questions = questions
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    def cuts(self, split: str) -> CutSet:
        rng = random.Random(split)
        return CutSet.from_cuts(self._session(f"{split}{i}", rng) for i in range(self.sessions))

    def _session(self, session_id: str, rng: random.Random):
        utterances = []
        for i in range(rng.randint(2, 6)):
            tone = 0.5 * np.sin(np.arange(int(16000 * rng.uniform(0.1, 0.4))) * 0.1 * (i + 1))
            utterances.append(Utterance(tone.astype(np.float32), f"word{i}", f"speaker{i % 2}", "F"))
        custom = None
        if self.questions:
            entries = [
                {"task": "qa", "question": f"q{k}", "answer": f"a{k}", "kind": "number"} for k in range(QUESTIONS)
            ]
            custom = {"questions": entries, "caption": "tones"}
        pauses = [0.1] * (len(utterances) + 1)
        return assemble_session(session_id, utterances, pauses, self.folder / f"{session_id}.flac", custom=custom)


@pytest.fixture
def tiny_corpus(tmp_path):
    """Makes a TinyCorpus in this test's folder."""
    return lambda **options: TinyCorpus(tmp_path / "tiny", **options)


@pytest.fixture
def session(tiny_corpus):
    """One session with at least three utterances."""
    return next(cut for cut in tiny_corpus().cuts("train") if len(cut.supervisions) >= 3)
