"""Time marks rise: a transcript's next mark is later than its last and no later than the audio, and whole.

Whisper decodes under the same rule (arXiv 2212.04356; ApplyTimestampRules in its decoding.py). A decoder that has lost
its place can't go back to where it was, so it can't go round in circles. Nor can it go on for longer than the audio
that is left has room for.
"""

import math
import re
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from speech_xl.extensions.timestamps.marks import time_mark
from speech_xl.model.decoding_rules import TAIL_SECONDS
from speech_xl.model.prompt import Prompt

SPARE = 8  # tokens
TICK = 1e-4  # seconds by which a mark may miss a window's border by rounding
_SECOND = re.compile(r"\d+(\.\d+)?\]")  # a mark without its opening


class MonotonicTimestamps(LogitsProcessor):
    """For a tokenizer that writes marks as one and the same opening token and a token for the second.

    opening            id of the token that opens a mark
    seconds            float32 [V], the second a token stands for, -1 for all others
    ends               length of each row's audio in seconds
    tokens_per_second  an answer ends where more tokens have followed its last mark than the audio after it has room for
    end_id             the token that ends an answer
    max_gap_seconds    seconds from one mark to the next, or from the beginning to the first, at most
    spans              window of each row: its marks lie within, and where the likeliest next one lies behind it the
                       answer ends with the mark of the window's end. None: no window
    asked              ids before the answer that hold marks of a question
    """

    def __init__(
        self,
        opening: int,
        seconds: Tensor,
        ends: Sequence[float],
        tokens_per_second: float,
        end_id: int,
        max_gap_seconds: float = math.inf,
        spans: Sequence[tuple[float, float] | None] | None = None,
        asked: int = 0,
    ) -> None:
        starts, stops = zip(*(span or (0.0, math.inf) for span in spans or [None] * len(ends)), strict=True)
        self.starts, self.stops = (torch.tensor(some, device=seconds.device) for some in (starts, stops))
        self.asked = asked if spans is not None else 0
        self.opening, self.seconds, self.ends = opening, seconds, torch.tensor(ends, device=seconds.device)
        self.tokens_per_second, self.end_id, self.max_gap_seconds = tokens_per_second, end_id, max_gap_seconds

    @property
    def reached(self) -> list[float | None]:
        """Of each row, the last second that can be written where its audio goes on for more than a step of marks after
        it; None where it doesn't. What is said later can't be written down."""
        known = self.seconds[self.seconds >= 0].sort().values
        last, step = float(known[-1]), float(known[-1] - known[max(0, len(known) - 2)])
        return [last if end > last + max(step, 1e-3) else None for end in self.ends.tolist()]

    @classmethod
    def of(
        cls,
        prompt: Prompt,
        ends: Sequence[float],
        tokens_per_second: float,
        device: torch.device,
        max_gap_seconds: float | None = None,
        spans: Sequence[tuple[float, float] | None] | None = None,
        asked: int = 0,
    ) -> "MonotonicTimestamps | None":
        """The rule for this prompt's tokenizer; None where it spells marks in other than two tokens."""
        opening, seconds = marks_of(prompt.tokenizer)
        if opening is None:
            return None
        gap = math.inf if max_gap_seconds is None else max_gap_seconds
        return cls(opening, seconds.to(device), ends, tokens_per_second, prompt.end_id, gap, spans, asked)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B, V] of the next token after ids [B, T], with marks that don't rise ruled out."""
        marked = torch.nn.functional.pad(self.seconds[input_ids[:, self.asked :]], (1, 0), value=-1.0)
        last = marked.amax(1)[:, None]
        starts, stops = self.starts[:, None], self.stops[:, None] - TICK
        end = self.ends[:, None].minimum(last.maximum(starts) + self.max_gap_seconds)
        may = (self.seconds > last) & (self.seconds <= end) & (self.seconds >= starts - TICK) & (self.seconds < stops)
        behind = (self.seconds > last) & (self.seconds <= end) & (self.seconds >= stops)
        closing = (self.seconds - self.stops[:, None]).abs() < TICK
        closable = closing.any(1) & behind.any(1)
        any_may = may.any(1) | closable
        # A second stands in an opened mark and nowhere else, and an opened mark is closed: else, where the second that
        # it is after is ruled out, it would go on with a word.
        opened = (input_ids[:, -1] == self.opening) & any_may
        out = (self.seconds >= 0).repeat(len(marked), 1)
        out[:, self.opening] = ~any_may
        out = torch.where(opened[:, None], ~may, out)
        out = torch.cat([out, opened[:, None].expand(-1, scores.shape[1] - out.shape[1])], 1)  # rows beyond the tokens
        marks = scores[:, : len(self.seconds)]
        likeliest_behind, likeliest = (marks.masked_fill(~some, -torch.inf).amax(1) for some in (behind, may))
        closed = opened & closable & ((likeliest_behind > likeliest) | ~may.any(1))
        scores = scores.masked_fill(out, -torch.inf)
        scores = torch.where(closed[:, None], _only(closing, scores), scores)
        since = (
            marked.flip(1).ge(0).int().argmax(1)
        )  # tokens after the last mark; 0 with none, which has the whole limit
        until = self.ends.minimum(self.stops + TAIL_SECONDS)  # what begins last in a window may go on behind it
        over = since > self.tokens_per_second * (until.floor() + 1 - last[:, 0]) + SPARE
        over |= last[:, 0] >= stops[:, 0]
        ended = torch.zeros_like(closing)
        ended[:, self.end_id] = True
        return torch.where(over[:, None], _only(ended, scores), scores)


def _only(tokens: Tensor, scores: Tensor) -> Tensor:
    """Scores [B, V] that leave only `tokens`, bool [B, K] of the first K."""
    out = torch.full_like(scores, -torch.inf)
    out[:, : tokens.shape[1]].masked_fill_(tokens, 0.0)
    return out


@cache
def marks_of(tokenizer: PreTrainedTokenizerBase) -> tuple[int | None, Tensor]:
    """The token that opens this tokenizer's marks, None where no mark is two tokens; and the second each token stands
    for, float32 [V], -1 for all that are no second."""
    seconds = torch.full((len(tokenizer),), -1.0)
    openings = set()
    for token, number in tokenizer.get_vocab().items():
        if not _SECOND.fullmatch(token):
            continue
        ids = tokenizer(f"[{token}", add_special_tokens=False)["input_ids"]
        if len(ids) == 2 and ids[1] == number:
            openings.add(ids[0])
            seconds[number] = float(token[:-1])
    return openings.pop() if len(openings) == 1 else None, seconds


def unknown_marks(prompt: Prompt, step: float) -> str | None:
    """What is wrong where the tokenizer writes some time marks in two tokens but not those of this step."""
    opening, seconds = marks_of(prompt.tokenizer)
    if opening is None or len(prompt.tokenizer(time_mark(step, step), add_special_tokens=False)["input_ids"]) == 2:
        return None
    known = seconds[seconds >= 0].sort().values
    return (
        f"data.transcript: step_seconds={step}: this LLM has tokens for timestamps, in steps of "
        f"{float(known[1] - known[0]):.3g} s; set that, or make an LLM with others (experiments/tiny_models)"
    )
