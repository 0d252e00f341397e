"""What a generated answer may be: how many tokens, and which token may come next. The backbone owns its rules."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LogitsProcessor

from speech_xl.checks import number
from speech_xl.extensions.timestamps.monotonic import timestamp_processors
from speech_xl.model.prompt import Prompt

SPARE_TOKENS = 32  # an answer may have so many whatever the length of the audio
SHORT_ANSWERS = ("qa",)  # tasks whose answers don't grow with the audio


@dataclass(frozen=True)
class DecodingRules:
    """Limits of generated answers.

    max_tokens_per_second  tokens an answer may have for a second of audio, beside `SPARE_TOKENS`
    longest_gap            seconds from one timestamp of an answer to the next at most, None for any
    """

    max_tokens_per_second: float = 8.0
    longest_gap: float | None = None

    def __post_init__(self) -> None:
        number("model.max_tokens_per_second", self.max_tokens_per_second, above=0)
        if self.longest_gap is not None:
            number("model.longest_gap", self.longest_gap, above=0)

    def limit(self, task: str, seconds: float) -> int:
        """Most tokens an answer about so many seconds of audio may have."""
        return math.ceil(SPARE_TOKENS + (0 if task in SHORT_ANSWERS else self.max_tokens_per_second * seconds))

    def processors(
        self, prompt: Prompt, instructions: Sequence[str], seconds: Sequence[float], device: torch.device
    ) -> list[LogitsProcessor]:
        """What the next token of answers to these instructions must obey, each about so many seconds of audio."""
        return timestamp_processors(prompt, instructions, seconds, self.max_tokens_per_second, device, self.longest_gap)
