"""An epoch gone on with under other batches or on other ranks: which sessions of it were trained on already."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from lhotse import CutSet

from speech_xl.data.loaders import TrainSampling

REGROUPED = ("max_duration", "quadratic_duration", "num_buckets", "world_size", "seed")
"""Settings that part the same sessions of an epoch into other batches, and change nothing else."""


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Key -> both values, of what decides the order of batches and is not what it was."""
    return {
        key: f"{key} was {value} and is {now.get(key)}"
        for key, value in before.items()
        if str(value) != str(now.get(key))
    }


def can_go_on(before: Mapping[str, Any], changed: Mapping[str, str]) -> bool:
    """Whether the sessions left of a running epoch are known: the same sessions (and excerpts), batched otherwise."""
    plain = not isinstance(before.get("max_duration"), str)  # earlier versions wrote all values as text
    excerpts = before.get("excerpt") not in (None, "None")
    return plain and set(changed) <= set(REGROUPED) and not (excerpts and "seed" in changed)


def trained_on(cuts: CutSet, epoch: int, sampling: TrainSampling, parts: Sequence[Mapping[str, Any]]) -> set[str]:
    """Ids of the cuts in the batches of `parts`: each a share of the epoch drawn under settings of its own, `batches`
    of them on every rank, from what the parts before had left."""
    seen: set[str] = set()
    for part in parts:
        fields = {key: part[key] for key in REGROUPED if key != "world_size"}
        drawn = dataclasses.replace(sampling, **fields)
        ids: set[str] = set()
        for rank in range(part["world_size"]):
            sampler = drawn.sampler(cuts, epoch, seen, part["world_size"], rank)
            ids |= {cut.id for batch in itertools.islice(sampler, part["batches"]) for cut in batch}
        seen |= ids
    return seen
