"""Transcript: how a corpus's transcripts are written and asked for. Plain text, unless another class is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lhotse.cut import Cut

if TYPE_CHECKING:
    import torch
    from transformers import LogitsProcessor

    from speech_xl.model.prompt import Prompt

ASR_INSTRUCTION = "transcribe the speech"


class Transcript:
    """Base type, and plain text: the supervisions' texts in time order, joined by spaces."""

    instruction = ASR_INSTRUCTION
    """What asks for such a transcript."""
    step_seconds: float | None = None
    """Steps of the timestamps in it; None where it has none."""
    by_words = False
    """Whether its timestamps say when words begin, not utterances alone."""

    def text(self, cut: Cut) -> str:
        """The transcript of a cut whose supervisions all have a text."""
        return " ".join(s.text or "" for s in sorted(cut.supervisions, key=lambda s: s.start))

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
