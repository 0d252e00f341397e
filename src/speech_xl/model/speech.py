"""What goes into the backbone, speech frames and ratios, and what comes out: a training pass's loss, answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from speech_xl.model.layout import LayoutBatch

R = TypeVar("R")
Ratios = Sequence[Sequence[int | None]]  # [row][interval]; None leaves an interval uncompressed


@dataclass
class Speech:
    """Speech as the LLM sees it: frames [B, N, D], lengths int64 [B], frames per interval [row][interval], and the
    token scores [B, N, V + 1] of an adapter that has them."""

    frames: Tensor
    lengths: Tensor
    intervals: list[list[int]]
    scores: Tensor | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def throughout(self, ratio: R) -> list[list[R]]:
        """One ratio for every interval."""
        return [[ratio] * len(row) for row in self.intervals]


@dataclass
class OnePass:
    """What a training pass yields. The loss is a sum, so that the caller can divide by the weight of a global batch:
    its number of label tokens, each counted by its row's weight.

    labels, states    where they were asked for
    distillation_sum  a loss on the label tokens beside the cross entropy, summed and weighted alike
    """

    loss_sum: Tensor
    label_weight: float
    label_tokens: int
    tokens: int
    kept_kv_tokens: int
    labels: "Labels | None" = None
    states: "TokenStates | None" = None
    distillation_sum: Tensor | float = 0.0


@dataclass
class Labels:
    """What a training pass says at the label tokens, in the order of rows and of places within: logits [L, V], and what
    each counts in the loss [L]."""

    logits: Tensor
    weights: Tensor


@dataclass
class TokenStates:
    """Final hidden states [B, T, D] of a training pass, and the layout of its tokens."""

    hidden: Tensor
    layout: LayoutBatch


@dataclass
class GeneratedText:
    """What was generated for a question.

    finished         False where the token limit ended it rather than the model, or where it is to say when words were
                     spoken and the audio goes on after `reached_seconds`
    reached_seconds  the last time the tokenizer can write; None where all of the audio can be written down
    new_tokens       its tokens, the one that ends it included
    """

    text: str
    finished: bool
    reached_seconds: float | None = None
    new_tokens: int = 0

    @classmethod
    def joined(cls, texts: Sequence["GeneratedText"], join: Callable[[Sequence[str]], str]) -> "GeneratedText":
        """The answers about one audio's windows, in order, as one. join: makes one text of theirs"""
        reached = next((one.reached_seconds for one in texts if one.reached_seconds is not None), None)
        text = join([one.text for one in texts])
        return cls(text, all(one.finished for one in texts), reached, sum(one.new_tokens for one in texts))
