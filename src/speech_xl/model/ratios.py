"""Compression ratios: checking what a user wrote, and the reproducible draw of one ratio per interval."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Literal

from speech_xl.checks import whole


def check_ratios(ratios: Iterable[int], key: str) -> tuple[int, ...]:
    """The ratios as a tuple, or a ValueError that names `key`, the value and the mend.

    A ratio is the number of speech frames one SST stands for: a whole number from 1 (uncompressed) upwards. A ratio
    that is listed twice is drawn twice as often.
    """
    if isinstance(ratios, (str, bytes)) or not isinstance(ratios, Iterable):
        raise ValueError(f"{key}: got {ratios!r}; give a list of whole numbers from 1 upwards, for example [2, 4]")
    checked = tuple(ratios)
    if not checked:
        raise ValueError(f"{key}: the list is empty; give at least one ratio, for example [2]")
    for index, ratio in enumerate(checked):
        try:
            whole(f"{key}[{index}]", ratio, least=1)
        except ValueError as error:
            raise ValueError(f"{error}: speech frames that one SST stands for (1 is uncompressed)") from error
    return checked


def to_ratio(ratio: int) -> int | None:
    """A configured ratio as the layout has it: 1 is uncompressed."""
    return None if ratio == 1 else ratio


def draw_ratios(
    ratio_set: Sequence[int],
    n_intervals: int,
    seed: int,
    epoch: int,
    sample_id: str,
    per: Literal["interval", "sample"] = "interval",
) -> list[int]:
    """One ratio per interval of one sample, drawn uniformly from `ratio_set`.

    The draw depends on (seed, epoch, sample id) alone, so it is the same on every rank count, worker count and resume.
    `per="sample"` draws once and uses that ratio for every interval.
    """
    if per not in ("interval", "sample"):
        raise ValueError(f"per: got {per!r}; use 'interval' or 'sample'")
    if n_intervals < 0:
        raise ValueError(f"n_intervals: got {n_intervals}; a sample has 0 or more intervals")
    # Sorted: [2, 4] and [4, 2] are the same set and must give the same draw.
    choices = sorted(check_ratios(ratio_set, "ratio_set"))
    # Python seeds a string through SHA-512, whatever PYTHONHASHSEED is. The leading word keeps this stream apart from
    # the task's and the excerpt's draws of the same sample; with the same seed string they would be correlated.
    rng = random.Random(f"ratios-{seed}-{epoch}-{sample_id}")
    if per == "sample":
        return [rng.choice(choices)] * n_intervals
    return [rng.choice(choices) for _ in range(n_intervals)]
