"""What a generated answer may be: how many tokens, and which token may come next. The backbone owns its rules."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from transformers import LogitsProcessor

from speech_xl.checks import number
from speech_xl.model.prompt import Prompt
from speech_xl.model.speech import GeneratedText

SPARE_TOKENS = 32  # an answer may have so many whatever the length of the audio
TAIL_SECONDS = 8.0  # of an utterance that begins at the end of a window
SHORT_ANSWERS = ("qa",)  # tasks whose answers don't grow with the audio


class TranscriptRules(Protocol):
    """What a way to write transcripts asks of the answers to its instruction; `speech_xl.data.transcript` has them."""

    def processors(
        self,
        prompt: Prompt,
        instructions: Sequence[str],
        seconds: Sequence[float],
        tokens_per_second: float,
        device: torch.device,
    ) -> list[LogitsProcessor]: ...

    def view(
        self, span: tuple[float, float] | None, intervals: Sequence[int], rate: float, offset: float = 0.0
    ) -> tuple[int, int] | None: ...

    def joined(self, texts: Sequence[str]) -> str: ...


@dataclass(frozen=True)
class DecodingRules:
    """Limits of generated answers.

    max_tokens_per_second  tokens an answer may have for a second of audio, beside `SPARE_TOKENS`
    transcript             how transcripts are written; None: plain text, which asks for nothing
    """

    max_tokens_per_second: float = 8.0
    transcript: TranscriptRules | None = None

    def __post_init__(self) -> None:
        number("model.max_tokens_per_second", self.max_tokens_per_second, above=0)

    def limit(self, task: str, seconds: float) -> int:
        """Most tokens an answer about so many seconds of audio may have."""
        return math.ceil(SPARE_TOKENS + (0 if task in SHORT_ANSWERS else self.max_tokens_per_second * seconds))

    def window_limit(self, span: tuple[float, float]) -> int:
        """Most tokens of a transcript of what begins to be spoken between two seconds; the last utterance goes on."""
        return self.limit("asr", span[1] - span[0] + TAIL_SECONDS)

    def reach(self, prompt: Prompt, instruction: str, seconds: float, device: torch.device) -> float | None:
        """The last second that an answer to an instruction can write down, where the audio goes on after it; None where
        nothing limits it."""
        rules = self.processors(prompt, [instruction], [seconds], device)
        return next((rule.reached[0] for rule in rules if hasattr(rule, "reached")), None)

    def view(
        self, span: tuple[float, float], intervals: Sequence[int], rate: float, offset: float = 0.0
    ) -> tuple[int, int] | None:
        """First and last interval that a transcript of what begins between two seconds sees; None: all of them."""
        return None if self.transcript is None else self.transcript.view(span, intervals, rate, offset)

    def joined(self, texts: Sequence[GeneratedText]) -> GeneratedText:
        """The answers about one audio's windows, in order, as one."""
        return GeneratedText.joined(texts, " ".join if self.transcript is None else self.transcript.joined)

    def processors(
        self, prompt: Prompt, instructions: Sequence[str], seconds: Sequence[float], device: torch.device
    ) -> list[LogitsProcessor]:
        """What the next token of answers to these instructions must obey, each about so many seconds of audio."""
        if self.transcript is None:
            return []
        return self.transcript.processors(prompt, instructions, seconds, self.max_tokens_per_second, device)
