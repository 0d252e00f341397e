"""Flat start: symbols laid evenly over the time their utterance takes, to begin where CTC would search long.

Recognisers with hidden Markov models have begun so since before CTC: an even alignment is wrong in places and right
often enough. It needs to be known when an utterance begins and ends, which lhotse's supervisions say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spoken:
    """One utterance: from `start` to `end` in frames, its symbols, and how long each is beside the others."""

    start: float
    end: float
    symbols: Sequence[int]
    sizes: Sequence[float]


def flat_labels(utterances: Sequence[Spoken], length: int, silence: int) -> Tensor:
    """A symbol for each of `length` frames, `silence` where nobody speaks: int64 [length]."""
    labels = torch.full((length,), silence)
    for spoken in utterances:
        whole = max(sum(spoken.sizes), 1e-9)
        done = 0.0
        for symbol, size in zip(spoken.symbols, spoken.sizes, strict=True):
            borders = (spoken.start + (spoken.end - spoken.start) * part / whole for part in (done, done + size))
            first, last = (min(max(round(border), 0), length) for border in borders)
            labels[first:last] = symbol
            done += size
    return labels
