"""Time marks rise: a transcript's next mark is later than its last and no later than the audio.

Whisper decodes under the same rule (arXiv 2212.04356; ApplyTimestampRules in its decoding.py). A decoder that has lost
its place can't go back to where it was, so it can't go round in circles.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from speech_xl.data.time_marks import time_mark

LATEST = 10_000  # seconds


class RisingMarks(LogitsProcessor):
    """For a tokenizer that writes every mark as one and the same opening token and a token for the second.

    opening  id of the token that opens a mark
    seconds  int64 [V], the second a token stands for, -1 for all others
    ends     length of each row's audio in seconds
    """

    def __init__(self, opening: int, seconds: Tensor, ends: Sequence[float]) -> None:
        self.opening, self.seconds, self.ends = opening, seconds, torch.tensor(ends, device=seconds.device).floor()

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerBase, ends: Sequence[float], device: torch.device
    ) -> "RisingMarks | None":
        """The rule for this tokenizer; None where its marks are more or less than two tokens."""
        opening, seconds = marks_of(tokenizer)
        return None if opening is None else cls(opening, seconds.to(device), ends)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B, V] of the next token after ids [B, T], with marks that don't rise ruled out."""
        last = self.seconds[input_ids].amax(1)[:, None]
        end = self.ends[:, None]
        out = (self.seconds >= 0) & ((self.seconds <= last) | (self.seconds > end))
        out = torch.nn.functional.pad(out, (0, scores.shape[1] - out.shape[1]))  # LLMs may have more rows than tokens
        out[:, self.opening] = last[:, 0] >= self.ends
        return scores.masked_fill(out, -torch.inf)


@cache
def marks_of(tokenizer: PreTrainedTokenizerBase) -> tuple[int | None, Tensor]:
    """The token that opens this tokenizer's marks, None where they aren't all two tokens with one opening; and the
    second each token stands for, int64 [V], -1 for all that are no second."""
    seconds = torch.full((len(tokenizer),), -1, dtype=torch.long)
    openings = set()
    for second in range(LATEST):
        ids = tokenizer(time_mark(second), add_special_tokens=False)["input_ids"]
        if len(ids) != 2:
            break
        openings.add(ids[0])
        seconds[ids[1]] = second
    return openings.pop() if len(openings) == 1 else None, seconds
