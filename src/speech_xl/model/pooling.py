"""Speech with fewer frames: what baselines hand to the LLM in place of SSTs. Pure functions on frames."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speech_xl.model.frame_code import FrameCode
from speech_xl.model.groups import Groups
from speech_xl.model.speech import Speech


def group_means(frames: Tensor, sizes: Sequence[int], code: FrameCode) -> Tensor:
    """Means [S, D] of neighbouring frames [n, D], ``sizes[s]`` of them each, which add up to n.

    As an SST of the same frames, a mean has the code of the frame at their center: a mean of codes is none.
    """
    groups = Groups.of_sizes(sizes, frames.device)
    return code.onto_groups(groups.means(frames), frames[groups.center])


def even_sizes(length: int, ratio: int) -> list[int]:
    """Groups of `ratio` frames and a shorter remainder: ``ceil(length / ratio)`` of them, as many as SSTs."""
    return [min(ratio, length - first) for first in range(0, length, ratio)]


def shorten(speech: Speech, ratios: Sequence[Sequence[int]], change: Callable[[Tensor, int], Tensor]) -> Speech:
    """Every interval's frames [n, D] through `change` at its own ratio; the intervals stay, with fewer frames each."""
    rows, intervals = [], []
    for frames, lengths, row_ratios in zip(speech.frames, speech.intervals, ratios, strict=True):
        parts = frames[: sum(lengths)].split(list(lengths))
        short = [change(part, ratio) for part, ratio in zip(parts, row_ratios, strict=True)]
        rows.append(torch.cat(short))
        intervals.append([len(part) for part in short])
    lengths = torch.tensor([len(row) for row in rows], device=speech.lengths.device)
    return Speech(pad_sequence(rows, batch_first=True), lengths, intervals)
