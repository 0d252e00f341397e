"""The voices of the embedded corpus: espeak-ng accents times variants, whole pairs held out for dev and test."""

from __future__ import annotations

import random
from dataclasses import dataclass

ACCENTS = {  # name -> voice file of espeak-ng
    "en-us": "gmw/en-US",
    "en-gb": "gmw/en",
    "en-gb-scotland": "gmw/en-GB-scotland",
    "en-gb-x-rp": "gmw/en-GB-x-rp",
    "en-us-nyc": "gmw/en-US-nyc",
    "en-gb-x-gbcwmd": "gmw/en-GB-x-gbcwmd",
    "en-gb-x-gbclan": "gmw/en-GB-x-gbclan",
}
# The clear ones of espeak-ng's variants: no whisper, croak or robot, and none with a speed of its own. Judged by the
# error rate of a general recogniser, which also ruled out the accent en-029.
VARIANTS = {
    "F": ["f1", "f2", "f3", "f4", "f5", "Annie", "belinda", "linda", "steph"],
    "M": ["m1", "m2", "m3", "m4", "m6", "m7", "m8", "Denis", "Lee", "michel"],
}
HELD_OUT = {"dev": 7, "test": 11}
"""Pairs of each gender that only this split hears."""


@dataclass(frozen=True)
class Voice:
    """One accent with one variant. `gender` is the variant's."""

    accent: str
    variant: str
    gender: str

    @property
    def espeak_name(self) -> str:
        return f"{ACCENTS[self.accent]}+{self.variant}"

    def __str__(self) -> str:
        return f"{self.accent}+{self.variant}"


def voices(split: str) -> dict[str, list[Voice]]:
    """gender -> the voices of a split; the same for every seed, so a train voice never becomes a test voice."""
    chosen = {}
    for gender, variants in VARIANTS.items():
        pairs = [Voice(accent, variant, gender) for accent in ACCENTS for variant in variants]
        random.Random(f"voices-{gender}").shuffle(pairs)
        dev, test = HELD_OUT["dev"], HELD_OUT["dev"] + HELD_OUT["test"]
        chosen[gender] = {"dev": pairs[:dev], "test": pairs[dev:test], "train": pairs[test:]}[split]
    return chosen
