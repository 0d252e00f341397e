"""Timestamps: transcripts that say when each utterance, or each word, begins. docs/extensions/timestamps.md.

A decoder that writes down when it is finds its way back where the same words come up again: it can go on from there.
Times among the words as in Whisper (arXiv 2212.04356, section 2.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from lhotse.cut import Cut
from transformers import LogitsProcessor

from speech_xl.checks import number
from speech_xl.data.session_part import session_offset
from speech_xl.data.transcript import Transcript
from speech_xl.data.windows import Span, Windows
from speech_xl.extensions.timestamps.marks import (
    FINEST_STEP,
    TIMED_ASR_INSTRUCTION,
    time_mark,
    timed_parts,
    without_last_mark,
    without_time_marks,
)
from speech_xl.extensions.timestamps.monotonic import MonotonicTimestamps, unknown_marks
from speech_xl.extensions.timestamps.word_times import pieces
from speech_xl.model.prompt import Prompt


class Timestamps(Transcript):
    """Transcripts such as "[0] good morning [3] hello", in training and in evaluation. WER is measured without them.

    step_seconds     times are multiples of so many seconds. Where utterances are short the step should be short too,
                     so that each has a time of its own; a time is written once
    words            words have times as well, where the corpus knows them (`align` finds them)
    max_gap_seconds  from one time of an answer to the next at most, where the corpus is known to have no longer pause:
                     a decoder that jumps ahead leaves out all that lies between. None: any
    windows          how transcripts are asked for stretch by stretch; None: all in one answer
    """

    instruction = TIMED_ASR_INSTRUCTION

    def __init__(
        self,
        step_seconds: float = 1.0,
        words: bool = False,
        max_gap_seconds: float | None = None,
        windows: Windows | None = None,
    ) -> None:
        super().__init__(windows)
        self.step_seconds: float = number("Timestamps.step_seconds", step_seconds, least=FINEST_STEP, unit="seconds")
        if max_gap_seconds is not None:
            number("Timestamps.max_gap_seconds", max_gap_seconds, above=0, unit="seconds")
        self.by_words, self.max_gap_seconds = words, max_gap_seconds

    def spoken(self, cut: Cut) -> list[tuple[float, str]]:
        offset, supervisions = session_offset(cut), sorted(cut.supervisions, key=lambda s: s.start)
        return [(offset + start, text) for s in supervisions for start, text in pieces(s, self.by_words)]

    def longest(self, cut: Cut) -> float:
        begins = [([start for start, _ in pieces(s, self.by_words)], s.end) for s in cut.supervisions]
        lasting = [after - start for starts, end in begins for start, after in pairwise([*starts, end])]
        return max(lasting, default=0.0)

    def second(self, second: float) -> str:
        return time_mark(second, self.step_seconds)

    def text(self, cut: Cut, span: Span | None = None) -> str:
        timed = self.within(self.spoken(cut), span)
        marks = [time_mark(start, self.step_seconds) for start, _ in timed]
        fresh = [mark if mark != before else "" for mark, before in zip(marks, ["", *marks], strict=False)]
        return " ".join(" ".join(f"{mark} {text}" for mark, (_, text) in zip(fresh, timed, strict=True)).split())

    def joined(self, texts: Sequence[str]) -> str:
        return super().joined([without_last_mark(text) for text in texts])

    def words(self, transcript: str) -> str:
        return without_time_marks(transcript)

    def timed(self, transcript: str) -> list[tuple[float, str]]:
        return [(second, words) for second, words in timed_parts(transcript) if words]

    def last_second(self, transcript: str) -> float | None:
        return max((second for second, _ in timed_parts(transcript)), default=None)

    def processors(
        self,
        prompt: Prompt,
        instructions: Sequence[str],
        seconds: Sequence[float],
        tokens_per_second: float,
        device: torch.device,
    ) -> list[LogitsProcessor]:
        """Times rise and lie in the window, where they are asked for and the tokenizer writes a time in two tokens."""
        spans = [self.span_of(instruction) for instruction in instructions]
        if any(span is None and said != self.instruction for span, said in zip(spans, instructions, strict=True)):
            return []
        inside, asked = None, 0
        if any(spans):  # a question says times of its own, which are none of the answer's
            inside, asked = spans, max(len(prompt.question(instruction)) for instruction in instructions)
        rule = MonotonicTimestamps.of(prompt, seconds, tokens_per_second, device, self.max_gap_seconds, inside, asked)
        return [] if rule is None else [rule]

    def unsuited(self, prompt: Prompt) -> str | None:
        return unknown_marks(prompt, self.step_seconds)
