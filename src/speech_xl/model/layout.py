"""The layout: which token stands where, as four integer arrays, for both execution paths.

A sample reads ``[prefix] X'_1 X'_2 .. X'_m [suffix]`` where ``X'_i`` is interval i with its SSTs interleaved: one after
every ``ratio`` frames and one after a shorter remainder (Speech-XL, arXiv 2602.05373; interleaving after Activation
Beacon, arXiv 2401.03462). One-pass training and interval-by-interval streaming both read these arrays, so they cannot
disagree about order, positions or visibility.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Kind(IntEnum):
    """What a token is. ``KEPT`` is a frame of an uncompressed interval: its KV is never pruned."""

    PAD = -1
    PREFIX = 0
    FRAME = 1
    SST = 2
    SUFFIX = 3
    KEPT = 4


@dataclass(frozen=True)
class Layout:
    """One sample's layout; every array is int64 of shape [T].

    kind      a `Kind`
    interval  -1 for the prefix, i for the tokens of interval i, m (the number of intervals) for the suffix
    position  RoPE position (scheme ``original``: where the token was inserted)
    source    index into the prefix ids, the frame matrix or the suffix ids; 0 for SSTs
    """

    kind: np.ndarray
    interval: np.ndarray
    position: np.ndarray
    source: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def kept(self) -> int:
        """Audio tokens whose KV outlives its interval: SSTs and uncompressed frames."""
        return int(np.isin(self.kind, (Kind.SST, Kind.KEPT)).sum())

    @property
    def frames(self) -> int:
        """Speech frames of the sample."""
        return int(np.isin(self.kind, (Kind.FRAME, Kind.KEPT)).sum())


def interleave(length: int, ratio: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Kinds and frame offsets of one interval of `length` frames.

    `ratio` >= 1 puts an SST after every `ratio` frames and after a shorter remainder, ``ceil(length / ratio)`` in all;
    None leaves the interval uncompressed. Returns (kind, offset), int64; an SST's offset is 0.
    Raises ValueError for a ratio below 1 or an empty interval.
    """
    if length < 1:
        raise ValueError(f"an interval needs at least one frame, got {length}")
    if ratio is None:
        return np.full(length, Kind.KEPT, dtype=np.int64), np.arange(length, dtype=np.int64)
    if ratio < 1:
        raise ValueError(f"compression ratio {ratio}: must be an integer >= 1 (or None for no compression)")
    ssts = -(-length // ratio)
    frame = np.arange(length, dtype=np.int64)
    kind = np.full(length + ssts, Kind.SST, dtype=np.int64)
    offset = np.zeros(length + ssts, dtype=np.int64)
    place = frame + frame // ratio  # every full group before a frame has pushed it one place to the right
    kind[place] = Kind.FRAME
    offset[place] = frame
    return kind, offset


def build_layout(prefix: int, intervals: Sequence[int], ratios: Sequence[int | None], suffix: int) -> Layout:
    """Layout of one sample: `prefix` tokens, `intervals` (frames each) at `ratios`, `suffix` tokens."""
    if len(intervals) != len(ratios):
        raise ValueError(f"{len(intervals)} intervals but {len(ratios)} ratios: one ratio per interval is needed")
    kinds, numbers, sources = [np.full(prefix, Kind.PREFIX)], [np.full(prefix, -1)], [np.arange(prefix)]
    start = 0
    for number, (length, ratio) in enumerate(zip(intervals, ratios, strict=True)):
        kind, offset = interleave(length, ratio)
        kinds.append(kind)
        numbers.append(np.full(len(kind), number))
        sources.append(np.where(kind == Kind.SST, 0, offset + start))
        start += length
    kinds.append(np.full(suffix, Kind.SUFFIX))
    numbers.append(np.full(suffix, len(intervals)))
    sources.append(np.arange(suffix))
    kind = np.concatenate(kinds).astype(np.int64)
    return Layout(
        kind=kind,
        interval=np.concatenate(numbers).astype(np.int64),
        position=np.arange(len(kind), dtype=np.int64),
        source=np.concatenate(sources).astype(np.int64),
    )


def interval_frames(ends: Sequence[float], frames: int, rate: float) -> list[int]:
    """Interval lengths in frames from interval ends in seconds, at `rate` frames a second.

    The last interval takes whatever frames remain, so none is lost to rounding; an interval that holds no frame
    (shorter than one) vanishes into its neighbour. The lengths add up to `frames`.
    """
    borders = [min(frames, round(end * rate)) for end in ends[:-1]] + [frames]
    lengths = np.diff([0, *np.maximum.accumulate(borders)])
    return [int(length) for length in lengths if length > 0]


@dataclass(frozen=True)
class LayoutBatch:
    """Layouts of a batch, right-padded: every tensor is int64 [B, T], padding has kind `Kind.PAD`."""

    kind: Tensor
    interval: Tensor
    position: Tensor
    source: Tensor

    @classmethod
    def collate(cls, layouts: Sequence[Layout], device: torch.device | str = "cpu") -> "LayoutBatch":
        longest = max(len(layout) for layout in layouts)

        def stack(name: str, fill: int) -> Tensor:
            rows = np.full((len(layouts), longest), fill, dtype=np.int64)
            for row, layout in zip(rows, layouts, strict=True):
                row[: len(layout)] = getattr(layout, name)
            return torch.from_numpy(rows).to(device)

        return cls(stack("kind", Kind.PAD), stack("interval", -1), stack("position", 0), stack("source", 0))


def allowed(kind: Tensor, interval: Tensor) -> Tensor:
    """One-pass attention mask, bool [B, 1, T, T], True where query (rows) may see key (columns).

    ``k <= q and not padding(k) and (kind[k] != FRAME or interval[k] == interval[q])``: a compressed interval's frames
    are seen from within it alone; the rest of the past is seen by all. Padding queries see themselves, because an
    attention row without any key is undefined.
    """
    length = kind.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=kind.device).tril()
    same = interval[:, :, None] == interval[:, None, :]
    visible = (kind != Kind.FRAME)[:, None, :] | same
    mask = causal & visible & (kind != Kind.PAD)[:, None, :]
    return (mask | torch.eye(length, dtype=torch.bool, device=kind.device))[:, None]
