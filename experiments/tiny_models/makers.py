"""Makers of tiny LLMs for experiment files: `make: TinyLLM` reads a corpus, `make: TinyLLMContinued` reads on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

from experiments.tiny_models.pretraining_texts import readings_of, texts_of
from experiments.tiny_models.pseudo_frames import FRAME_RATE
from experiments.tiny_models.tiny_llm import QUESTIONS, pretrain
from experiments.tiny_models.tiny_llm_weights import write_stage
from experiments.tiny_models.tokenizer import TINY, VOCABULARY, make_tokenizer, write_config
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.run.makers import Maker
from speech_xl.run.run_folder import WEIGHTS

TOKENIZER = ("config.json", "tokenizer.json", "tokenizer_config.json")


class TinyLLM(Maker):
    """A tokenizer and a tiny LLM that has read the transcripts of the corpus in `data`, asked as they are there.

    Args:
        timestamps_seconds: seconds that timestamps reach to.
        timestamps_step_seconds: from one timestamp to the next.
        vocabulary: tokens, about.
        steps: optimizer steps.
        frames: pseudo frames in a step, about.
        longest: words of the longest texts.
        lr: highest learning rate.
        words: words have timestamps of their own, not utterances.
        blends: share of the random words that nobody says, for a corpus to whose words people will add theirs.
        questions: share of steps that answer questions.
        frame_rate: speech frames a second, by the adapter's stride.
        begin: folder of the tiny LLM whose weights it begins with; null: random ones.
        seed: another seed gives other weights.
    """

    needs_corpus = True
    rehearsal: ClassVar[dict[str, Any]] = {"steps": 2}

    def __init__(
        self,
        timestamps_seconds: int,
        timestamps_step_seconds: float,
        vocabulary: int = VOCABULARY,
        steps: int = 2500,
        frames: int = 1200,
        longest: int = 400,
        lr: float = 1.2e-3,
        words: bool = False,
        blends: float = 0.0,
        questions: float = QUESTIONS,
        frame_rate: float = FRAME_RATE,
        begin: str | None = str(TINY),
        seed: int = 0,
    ) -> None:
        self.timestamps = (timestamps_seconds, timestamps_step_seconds)
        self.vocabulary, self.words, self.blends = vocabulary, words, blends
        self.training = {
            "steps": steps, "frames": frames, "longest": longest, "highest": lr, "seed": seed, "questions": questions,
            "begin": None if begin is None else Path(begin), "rate": frame_rate,
        }  # fmt: skip

    def make(self, out: Path, start: Path | None, data: SpeechDataModule | None) -> None:
        assert data is not None
        tokenizer = make_tokenizer(texts_of(data.corpus), self.vocabulary, *self.timestamps)
        tokenizer.save_pretrained(out)
        write_config(tokenizer, out)
        readings = readings_of(data.corpus, self.words, self.blends)
        pretrain(out, readings, **self.training)


class TinyLLMContinued(Maker):
    """The LLM of the stage in `from` reads on, such as questions; the stage's weights with it, to start from.

    Args:
        llm: folder of the stage's LLM, with its configuration and tokenizer.
        steps, frames, longest, lr, words, questions, frame_rate, seed: as of `TinyLLM`.
    """

    needs_corpus = True
    starts_from_stage = True
    gives_weights = True
    rehearsal: ClassVar[dict[str, Any]] = {"steps": 2}

    def __init__(
        self,
        llm: str,
        steps: int = 1200,
        frames: int = 1200,
        longest: int = 400,
        lr: float = 1.2e-3,
        words: bool = False,
        questions: float = QUESTIONS,
        frame_rate: float = FRAME_RATE,
        seed: int = 0,
    ) -> None:
        self.llm, self.words = Path(llm), words
        self.training = {
            "steps": steps, "frames": frames, "longest": longest, "highest": lr, "seed": seed, "questions": questions,
            "rate": frame_rate,
        }  # fmt: skip

    def make(self, out: Path, start: Path | None, data: SpeechDataModule | None) -> None:
        assert data is not None and start is not None
        for name in TOKENIZER:
            shutil.copy(self.llm / name, out / name)
        weights = start / WEIGHTS
        readings = readings_of(data.corpus, self.words, 0.0)
        llm = pretrain(out, readings, begin=weights, **self.training)
        write_stage(llm, weights, out)
