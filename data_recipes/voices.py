"""The voices of the embedded corpus: espeak-ng accents times variants, whole pairs held out for dev and test."""

from __future__ import annotations

import random
from dataclasses import dataclass

ACCENTS = {  # name -> voice file of espeak-ng
    "en-us": "gmw/en-US",
    "en-gb": "gmw/en",
    "en-gb-scotland": "gmw/en-GB-scotland",
    "en-gb-x-rp": "gmw/en-GB-x-rp",
    "en-029": "gmw/en-029",
    "en-us-nyc": "gmw/en-US-nyc",
    "en-gb-x-gbcwmd": "gmw/en-GB-x-gbcwmd",
    "en-gb-x-gbclan": "gmw/en-GB-x-gbclan",
}
# the clear ones of espeak-ng's variants: no whisper, croak, robot, and none with a speed of its own
VARIANTS = {
    "F": "f1 f2 f3 f4 f5 Alicia Annie aunty belinda linda steph".split(),
    "M": "m1 m2 m3 m4 m6 m7 m8 Denis Lee michel miguel travis".split(),
}
HELD_OUT = {"dev": 10, "test": 16}
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
