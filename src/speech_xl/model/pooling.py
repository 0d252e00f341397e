"""Speech with fewer frames: what baselines hand to the LLM in place of SSTs. Pure functions on frames."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speech_xl.model.speech import Speech


def mean_pool(frames: Tensor, ratio: int) -> Tensor:
    """Means of every `ratio` frames, and of a shorter remainder: [n, D] to [ceil(n / ratio), D]."""
    group = torch.arange(len(frames), device=frames.device) // ratio
    sums = frames.new_zeros(-(-len(frames) // ratio), frames.shape[1]).index_add(0, group, frames)
    return sums / group.bincount()[:, None]


def shorten(
    speech: Speech, ratios: Sequence[Sequence[int]], change: Callable[[Tensor, int], Tensor] = mean_pool
) -> Speech:
    """Every interval's frames [n, D] through `change` at its own ratio; the intervals stay, with fewer frames each."""
    rows, intervals = [], []
    for frames, lengths, row_ratios in zip(speech.frames, speech.intervals, ratios, strict=True):
        parts = frames[: sum(lengths)].split(list(lengths))
        short = [change(part, ratio) for part, ratio in zip(parts, row_ratios, strict=True)]
        rows.append(torch.cat(short))
        intervals.append([len(part) for part in short])
    lengths = torch.tensor([len(row) for row in rows], device=speech.lengths.device)
    return Speech(pad_sequence(rows, batch_first=True), lengths, intervals)
