"""Kinds of tokens, and where each stands for RoPE: four schemes, pure functions of kinds, intervals and group sizes."""

from enum import IntEnum
from typing import Literal

import numpy as np

Scheme = Literal["original", "compact", "interpolated", "shared"]


class Kind(IntEnum):
    """What a token is. ``UNCOMPRESSED`` is a frame of an uncompressed interval: its KV is never pruned. ``CARRIED`` is
    one that the next interval of audio still sees, and nothing after it."""

    PAD = -1
    PREFIX = 0
    FRAME = 1
    SST = 2
    SUFFIX = 3
    UNCOMPRESSED = 4
    CARRIED = 5


PRUNED = (Kind.FRAME, Kind.CARRIED)  # kinds of audio whose KV doesn't stay


def original_positions(kind: np.ndarray, interval: np.ndarray, group_size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each token was inserted, for good: an hour at 12.5 Hz takes 45,000 positions and one more per SST."""
    place = np.arange(len(kind), dtype=np.int64)
    return place, place


def compact_positions(kind: np.ndarray, interval: np.ndarray, group_size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Memory is packed to 0, 1, ... before each interval, whose tokens go on from there (Activation Beacon).

    An SST so stands at one position while its interval is heard and at another, its place in memory, ever after. A
    frame that is carried on stands as far from the next interval as when it was heard, be it below 0.
    """
    kept = ~np.isin(kind, PRUNED)
    packed = np.cumsum(kept) - 1  # each kept token's place in memory
    starts = np.flatnonzero(np.diff(interval, prepend=interval[:1] - 1))  # the first token of every interval
    bounds = np.append(starts, len(kind))
    first = np.repeat(starts, np.diff(bounds))
    held = np.cumsum(kept) - kept  # kept tokens before this one
    place = held[first] + np.arange(len(kind)) - first
    ends = np.repeat(bounds[1:], np.diff(bounds)) - 1
    after = np.where(kind == Kind.CARRIED, packed[ends] - (ends - np.arange(len(kind))), place)
    return place.astype(np.int64), np.where(kept, packed, after).astype(np.int64)


def interpolated_positions(
    kind: np.ndarray, interval: np.ndarray, group_size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Memory stands at integers and a group's frames between them: frame t of the g before SST j at j-1 + (t+1)/(g+1).

    Ours. Every token has one position, and any length fits, as with ``compact``.
    """
    kept = ~np.isin(kind, PRUNED)
    packed = np.cumsum(kept) - 1.0
    group = np.cumsum(kept) - kept  # frames of one group share the number of the SST that ends it
    ends = np.flatnonzero(kept)
    sizes = np.diff(ends, prepend=-1) - 1 if len(ends) else np.zeros(0)
    index = np.arange(len(kind)) - np.concatenate([[0], ends + 1])[group]  # t
    between = group - 1 + (index + 1) / (np.append(sizes, 0)[group] + 1)
    place = np.where(kept, packed, between)
    return place, place


def shared_positions(kind: np.ndarray, interval: np.ndarray, group_size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An SST takes the position of the last frame that it stands for; frames stand where they stand uncompressed.

    Frame i of the audio so stands at prefix + i, whatever the ratios, and text right behind the last frame. Appended
    SSTs stand there too, and not all at the interval's end: one embedding at one position, they would be nearly one
    token. Such an SST sees frames at later positions than its own; what is kept stands as with interleaved ones.
    """
    sst = kind == Kind.SST
    place = np.cumsum(~sst) - 1
    spoken_for = np.cumsum(np.where(sst, group_size, (~np.isin(kind, PRUNED)).astype(np.int64))) - 1
    place = np.where(sst, spoken_for, place).astype(np.int64)
    return place, place


POSITIONS = {
    "original": original_positions,
    "compact": compact_positions,
    "interpolated": interpolated_positions,
    "shared": shared_positions,
}
