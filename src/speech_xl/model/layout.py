"""The layout: which token stands where, as four integer arrays, for both execution paths.

A sample reads ``[prefix] X'_1 X'_2 .. X'_m [suffix]`` where ``X'_i`` is interval i with its SSTs interleaved: one after
every ``ratio`` frames and one after a shorter remainder (Speech-XL, arXiv 2602.05373; interleaving after Activation
Beacon, arXiv 2401.03462). One-pass training and interval-by-interval streaming both read these arrays, so they cannot
disagree about order, positions or visibility.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from speech_xl.model.positions import POSITIONS, PRUNED, Kind, Scheme

Placement = Literal["interleaved", "appended"]
View = tuple[int, int]  # first and last interval that a suffix sees
NEVER = 1 << 30  # later than any interval
EVERYTHING = (-1, NEVER)  # a view


@dataclass(frozen=True)
class Layout:
    """One sample's layout; every array is int64 of shape [T], but for positions that lie between integers.

    kind            a `Kind`
    interval        -1 for the prefix, i for the tokens of interval i, m + j for suffix j (m: the number of intervals)
    position        RoPE position while its interval is heard; float64 in scheme ``interpolated``
    position_after  RoPE position once its interval is over, for what is kept; `position` for everything else
    source          index into the prefix ids, the frame matrix or the suffix ids; of an SST the frame at its center
    group_size      how many frames an SST stands for; 0 for everything else
    view            [T, 2], first and last interval of the audio that a token may see; -1 and `NEVER` but for suffixes
    """

    kind: np.ndarray
    interval: np.ndarray
    position: np.ndarray
    position_after: np.ndarray
    source: np.ndarray
    group_size: np.ndarray
    view: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def next(self) -> int:
        """The position of a token that follows the last one."""
        return int(self.position_after[-1]) + 1 if len(self) else 0

    @property
    def kept(self) -> int:
        """Audio tokens whose KV outlives its interval: SSTs and uncompressed frames."""
        return int(np.isin(self.kind, (Kind.SST, Kind.UNCOMPRESSED)).sum())

    @property
    def frames(self) -> int:
        """Speech frames of the sample."""
        return int(np.isin(self.kind, (*PRUNED, Kind.UNCOMPRESSED)).sum())


def place_ssts(
    length: int, ratio: int | None, placement: Placement = "interleaved"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds, frame offsets and group sizes of one interval of `length` frames.

    `ratio` >= 1 puts an SST after every `ratio` frames and after a shorter remainder, ``ceil(length / ratio)`` in all;
    ``appended`` puts as many behind all frames instead. None leaves the interval uncompressed. Returns (kind, offset,
    group size), int64; an SST's offset is that of the frame at the center of its own, its group size how many they are.
    Raises ValueError for a ratio below 1 or an empty interval.
    """
    if length < 1:
        raise ValueError(f"an interval needs at least one frame, got {length}")
    if ratio is None:
        frames = np.arange(length, dtype=np.int64)
        return np.full(length, Kind.UNCOMPRESSED, dtype=np.int64), frames, np.zeros_like(frames)
    if ratio < 1:
        raise ValueError(f"compression ratio {ratio}: must be an integer >= 1 (or None for no compression)")
    frame = np.arange(length, dtype=np.int64)
    first = frame[::ratio]  # of the frames that each SST stands for
    size = np.minimum(ratio, length - first)
    kind = np.full(length + len(first), Kind.SST, dtype=np.int64)
    offset, group_size = np.zeros_like(kind), np.zeros_like(kind)
    # Every full group before a frame has pushed it one place to the right.
    place = frame + frame // ratio if placement == "interleaved" else frame
    kind[place] = Kind.FRAME
    offset[place] = frame
    offset[kind == Kind.SST] = first + (size - 1) // 2
    group_size[kind == Kind.SST] = size
    return kind, offset, group_size


def build_layout(
    prefix: int,
    intervals: Sequence[int],
    ratios: Sequence[int | None],
    suffixes: int | Sequence[int],
    scheme: Scheme = "original",
    placement: Placement = "interleaved",
    carried: int = 0,
    goes_on: bool = False,
    views: Sequence[View | None] = (),
) -> Layout:
    """Layout of one sample: `prefix` tokens, `intervals` (frames each) at `ratios`, suffixes of so many tokens each.

    Each suffix is asked on its own: it stands right behind the audio, and no other suffix sees it. With a view it sees
    what those intervals keep, and the prefix, and stands right behind them. The last `carried` frames of a compressed
    interval are seen by the next one too, where there is one; goes_on: one follows that isn't here.
    """
    if len(intervals) != len(ratios):
        raise ValueError(f"{len(intervals)} intervals but {len(ratios)} ratios: one ratio per interval is needed")
    kinds, numbers, sources = [np.full(prefix, Kind.PREFIX)], [np.full(prefix, -1)], [np.arange(prefix)]
    group_sizes = [np.zeros(prefix)]
    start = 0
    for number, (length, ratio) in enumerate(zip(intervals, ratios, strict=True)):
        kind, offset, group_size = place_ssts(length, ratio, placement)
        if goes_on or number + 1 < len(intervals):
            kind[(kind == Kind.FRAME) & (offset >= length - carried)] = Kind.CARRIED
        kinds.append(kind)
        numbers.append(np.full(len(kind), number))
        sources.append(offset + start)
        group_sizes.append(group_size)
        start += length
    lengths = np.atleast_1d(np.asarray(suffixes, dtype=np.int64))
    suffix = int(lengths.sum())
    kinds.append(np.full(suffix, Kind.SUFFIX))
    numbers.append(len(intervals) + np.repeat(np.arange(len(lengths)), lengths))
    sources.append(np.arange(suffix))
    group_sizes.append(np.zeros(suffix))
    kind, interval, source, group_size = (
        np.concatenate(x).astype(np.int64) for x in (kinds, numbers, sources, group_sizes)
    )
    position, position_after = POSITIONS[scheme](kind, np.minimum(interval, len(intervals)), group_size)
    view = np.tile(np.array([EVERYTHING], dtype=np.int64), (len(kind), 1))
    if len(lengths) > 1 or any(views):
        position, position_after = position.copy(), position_after.copy()
        first = len(kind) - suffix
        behind = position[first]
        for length, seen in zip(lengths, views or [None] * len(lengths), strict=True):
            own, begin = slice(first, first + length), behind
            if seen is not None:
                last = min(seen[1], len(intervals) - 1)
                view[own] = seen[0], last
                begin = int(position_after[np.flatnonzero((interval == last) & ~np.isin(kind, PRUNED))[-1]]) + 1
            position[own] = position_after[own] = begin + np.arange(length)
            first += length
    return Layout(kind, interval, position, position_after, source, group_size, view)


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
    """Layouts of a batch, right-padded: tensors are [B, T] as in `Layout` (view [B, T, 2]), padding is `Kind.PAD`.

    Positions between integers are float32 here, which is what RoPE is computed in.
    """

    kind: Tensor
    interval: Tensor
    position: Tensor
    position_after: Tensor
    source: Tensor
    group_size: Tensor
    view: Tensor

    @classmethod
    def collate(cls, layouts: Sequence[Layout], device: torch.device | str = "cpu") -> "LayoutBatch":
        longest = max(len(layout) for layout in layouts)

        def stack(name: str, fill: int) -> Tensor:
            whole = getattr(layouts[0], name).dtype == np.int64
            rows = np.full((len(layouts), longest), fill, dtype=np.int64 if whole else np.float32)
            for row, layout in zip(rows, layouts, strict=True):
                row[: len(layout)] = getattr(layout, name)
            return torch.from_numpy(rows).to(device)

        view = torch.tensor(EVERYTHING).repeat(len(layouts), longest, 1)
        for row, layout in zip(view, layouts, strict=True):
            row[: len(layout)] = torch.from_numpy(layout.view)
        fills = {"kind": Kind.PAD, "interval": -1, "position": 0, "position_after": 0, "source": 0, "group_size": 0}
        return cls(**{name: stack(name, fill) for name, fill in fills.items()}, view=view.to(device))

    def kept(self) -> Tensor:
        """Columns of what is seen after its interval, in order: prefix, SSTs, uncompressed and carried frames; int64
        [B, M], -1 where a row has fewer."""
        kept = (self.kind != Kind.PAD) & (self.kind != Kind.FRAME) & (self.kind != Kind.SUFFIX)
        order = torch.argsort((~kept).to(torch.uint8), dim=1, stable=True)[:, : int(kept.sum(1).max())]
        return torch.where(kept.gather(1, order), order, -1)


def in_view(view: Tensor, interval: Tensor, origin: Tensor) -> Tensor:
    """Whether queries of these intervals, with these views [..., 2], may see keys of the intervals `origin`: those of
    the prefix, of their own interval and of their view; broadcast."""
    return (origin < 0) | (origin == interval) | ((view[..., 0] <= origin) & (origin <= view[..., 1]))


def visible_intervals(layout: LayoutBatch, kept: Tensor) -> tuple[Tensor, Tensor]:
    """First and last interval whose queries may see each key, int64 [B, T + M] each.

    Keys come in two parts: every token's own, seen from its interval alone, and a copy of what is remembered (columns
    `kept` [B, M]), seen from every later interval on, or of a carried frame from the next one alone. So each token is
    seen once, and a compressed interval's other frames, which have no copy, are forgotten with it. Padding is never
    seen.
    """
    first = torch.where(layout.kind == Kind.PAD, NEVER, layout.interval)
    copies = torch.where(kept >= 0, layout.interval.gather(1, kept.clamp(min=0)) + 1, NEVER)
    carried = layout.kind.gather(1, kept.clamp(min=0)) == Kind.CARRIED
    last = torch.cat([layout.interval, torch.where(carried, copies, NEVER - 1)], dim=1)
    return torch.cat([first, copies], dim=1), last
