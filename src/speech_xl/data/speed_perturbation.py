"""Speed perturbation (Ko et al., Interspeech 2015): every training session also faster and slower, pitch included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from lhotse import CutSet, MonoCut
from lhotse.utils import fastcopy

from speech_xl.checks import number
from speech_xl.data.sessions import WORD_STARTS
from speech_xl.data.transforms import CutTransform


class SpeedPerturbation(CutTransform):
    """The train split is there once more at each speed; dev and test are left as they are.

    Audio is resampled by lhotse when it is read, so nothing is written; encoder frames are cached for each speed.
    Behind `WordTimes`, not before it: its times belong to the sessions as they were recorded.

    Args:
        speeds: factors, such as 0.9 (slower) and 1.1 (faster).
    """

    def __init__(self, speeds: Sequence[float] = (0.9, 1.1)) -> None:
        for place, speed in enumerate(speeds):
            if number(f"SpeedPerturbation.speeds[{place}]", speed, least=0.5, most=2) == 1:
                raise ValueError(
                    f"SpeedPerturbation.speeds[{place}]: got {speed}; the recorded speed is there by itself"
                )
        if len(set(speeds)) < len(speeds):
            raise ValueError(f"SpeedPerturbation: speeds {list(speeds)} has one of them twice")
        self.speeds = tuple(speeds)

    def __call__(self, cuts: CutSet, split: str) -> CutSet:
        if split != "train":
            return cuts
        recorded = list(cast(Iterable[MonoCut], cuts))
        return CutSet.from_cuts([*recorded, *(at_speed(cut, speed) for speed in self.speeds for cut in recorded)])


def at_speed(cut: MonoCut, speed: float) -> MonoCut:
    """The cut as it sounds `speed` times as fast, under another id; times of supervisions and words go with it."""
    fast = cast(MonoCut, cut.perturb_speed(speed))
    supervisions = []
    for one in fast.supervisions:
        starts = (one.custom or {}).get(WORD_STARTS)
        moved = None if starts is None else {WORD_STARTS: [round(start / speed, 3) for start in starts]}
        supervisions.append(fastcopy(one, custom={**(one.custom or {}), **moved}) if moved else one)
    return fastcopy(fast, supervisions=supervisions)
