"""Transcript: how a corpus's transcripts are written and asked for. Plain text, unless another class is given."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lhotse.cut import Cut

from speech_xl.data.session_part import session_offset
from speech_xl.data.windows import TICK, Span, Windows

if TYPE_CHECKING:
    import torch
    from transformers import LogitsProcessor

    from speech_xl.model.prompt import Prompt

ASR_INSTRUCTION = "transcribe the speech"
_SPAN = re.compile(r" until \[?(\d+(?:\.\d+)?)(?:\]| s) from \[?(\d+(?:\.\d+)?)(?:\]| s)$")


class Transcript:
    """Base type, and plain text: the supervisions' texts in time order, joined by spaces.

    windows  how transcripts are asked for stretch by stretch; None: all in one answer
    """

    instruction = ASR_INSTRUCTION
    """What asks for such a transcript."""
    step_seconds: float | None = None
    """Steps of the timestamps in it; None where it has none."""
    by_words = False
    """Whether its timestamps say when words begin, not utterances alone."""

    def __init__(self, windows: Windows | None = None) -> None:
        self.windows = windows

    def text(self, cut: Cut, span: Span | None = None) -> str:
        """The transcript of a cut whose supervisions all have a text; of a span, what begins to be spoken in it.

        span: seconds of the session, as its timestamps count them.
        """
        return " ".join(text for _, text in self.within(self.spoken(cut), span))

    def spoken(self, cut: Cut) -> list[tuple[float, str]]:
        """(second of the session, text) of what can be told apart: here the utterances, in order."""
        offset = session_offset(cut)
        return [(offset + s.start, s.text or "") for s in sorted(cut.supervisions, key=lambda s: s.start)]

    def longest(self, cut: Cut) -> float:
        """Seconds of the longest of what can be told apart: here of an utterance."""
        return max((s.duration for s in cut.supervisions), default=0.0)

    def within(self, spoken: Sequence[tuple[float, str]], span: Span | None) -> list[tuple[float, str]]:
        """Those that begin in a span, by the step that their times are written in."""
        if span is None:
            return list(spoken)
        first, last = (round(second / self.grid) for second in span)
        return [one for one in spoken if first <= max(0, math.floor(one[0] / self.grid + TICK)) < last]

    @property
    def grid(self) -> float:
        """Seconds that the borders of windows are multiples of."""
        return self.step_seconds or 1.0

    def asking_for(self, span: Span) -> str:
        """The instruction that asks for the transcript of a window. Its first second comes last, just before the
        answer: from there the answer goes on as it goes on from its own timestamps, which is easier to learn."""
        return f"{self.instruction} until {self.second(span[1])} from {self.second(span[0])}"

    def second(self, second: float) -> str:
        """A second, as instructions write it."""
        return f"{round(second, 3):g} s"

    def span_of(self, instruction: str) -> Span | None:
        """The window that an instruction asks for; None where it asks for something else."""
        if not instruction.startswith(f"{self.instruction} until ") or not (found := _SPAN.search(instruction)):
            return None
        span = float(found[2]), float(found[1])
        return span if self.asking_for(span) == instruction else None

    def view(
        self, span: Span | None, intervals: Sequence[int], rate: float, offset: float = 0.0
    ) -> tuple[int, int] | None:
        """First and last interval, of those with so many frames, that the answer about a window sees; None: all.

        rate: frames a second; offset: the second of the session at which the intervals begin
        """
        if span is None or self.windows is None:
            return None
        return self.windows.view((span[0] - offset, span[1] - offset), intervals, rate)

    def instructions(self, seconds: float, reach: float | None = None) -> list[str]:
        """What asks for all of so many seconds of audio: an instruction a window, or one."""
        if self.windows is None:
            return [self.instruction]
        spans = self.windows.spans(0.0, seconds, self.grid)
        return [self.asking_for(span) for span in spans if reach is None or span[0] <= reach]

    def joined(self, texts: Sequence[str]) -> str:
        """The transcripts of windows, in order, as one."""
        return " ".join(text for text in texts if text)

    def words(self, transcript: str) -> str:
        """What is spoken, of a transcript."""
        return transcript

    def last_second(self, transcript: str) -> float | None:
        """The last second that a transcript names; None where it names none."""
        return None

    def timed(self, transcript: str) -> list[tuple[float, str]]:
        """(second, what is spoken from it on), in the order of the text; of text without timestamps all of it at 0."""
        words = self.words(transcript)
        return [(0.0, words)] if words.strip() else []

    def processors(
        self,
        prompt: Prompt,
        instructions: Sequence[str],
        seconds: Sequence[float],
        tokens_per_second: float,
        device: torch.device,
    ) -> list[LogitsProcessor]:
        """What the next token of answers to these instructions must obey, each about so many seconds of audio."""
        return []

    def unsuited(self, prompt: Prompt) -> str | None:
        """What is wrong with this way of writing for an LLM's tokenizer; None where nothing is."""
        return None


PLAIN = Transcript()
