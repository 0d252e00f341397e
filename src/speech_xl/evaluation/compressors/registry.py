"""Every compressor by name: how it is made, on which stage's weights it runs, and what must be installed for it.

A new compressor is a class in this folder and one line here; `--compressor NAME` and every comparison then know it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Literal

from speech_xl.evaluation.compressors.audiomarathon import FORM, is_setting, setting
from speech_xl.evaluation.compressors.compressor import Compressor, Uncompressed
from speech_xl.evaluation.compressors.eviction import PRESSES, Eviction
from speech_xl.evaluation.compressors.frame_reduction import (
    MeanPooled,
    RandomFrames,
    SimilarFrames,
    Truncation,
    UniformStride,
)
from speech_xl.evaluation.compressors.summarization import APPENDED, Summarization

Role = Literal["base", "sst", "appended", "pooled"]
ROLES: tuple[Role, ...] = ("base", "sst", "appended", "pooled")
EXTRAS = {"baselines": "kvpress"}  # extra of this package -> the module that it brings


@dataclass(frozen=True)
class Registered:
    """A line of the registry.

    name     in tables
    make     makes the compressor
    weights  the stage whose weights a comparison runs it on: "base" (trained without compression), "sst" (SSTs
             interleaved), "appended" (SSTs at the end of each interval) or "pooled" (`MeanPooling`)
    extra    the optional dependencies that it needs, as in ``pip install -e ".[baselines]"``; None: none
    """

    name: str
    make: Callable[[], Compressor]
    weights: Role = "base"
    extra: str | None = None

    @property
    def key(self) -> str:
        """Its name on a command line, without spaces."""
        return re.sub(r"\W+", "_", self.name)

    def check_installed(self) -> None:
        """Raise ImportError with the remedy where what it needs isn't installed; imports nothing."""
        if self.extra is not None and find_spec(EXTRAS[self.extra]) is None:
            raise ImportError(
                f"{self.name} comes from {EXTRAS[self.extra]}, which isn't installed: pip install -e '.[{self.extra}]'"
            )


REGISTRY = (
    Registered("full KV", Uncompressed),
    Registered("truncation", Truncation),
    Registered("uniform stride", UniformStride),
    Registered("random", RandomFrames),
    Registered("mean pooling", MeanPooled),
    Registered("similarity merging", SimilarFrames),
    *(Registered(press, partial(Eviction, press), extra="baselines") for press in PRESSES),
    Registered("SnapKV, query-aware", partial(Eviction, "SnapKV", query_aware=True), extra="baselines"),
    Registered("mean pooling, trained", partial(MeanPooled, trained=True), weights="pooled"),
    Registered(APPENDED, partial(Summarization, APPENDED), weights="appended"),
    Registered("SSTs", Summarization, weights="sst"),
)


def find(name: str, key: str) -> Registered:
    """The compressor of that name, as in tables or as on a command line, whatever the case of its letters.

    Settings of AudioMarathon have a share and a layer in their names, and no line in `REGISTRY` (audiomarathon.py).

    key: what the user gave the name to, for the message. Raises ValueError, which lists all names, where there is none.
    """
    if is_setting(name):
        title, make, extra = setting(name, key)
        return Registered(title, make, extra=extra)
    wanted = re.sub(r"\W+", "_", name).lower()
    for line in REGISTRY:
        if line.key.lower() == wanted:
            return line
    raise ValueError(
        f"{key}: there is no compressor {name!r}; there are {', '.join(line.key for line in REGISTRY)}, and {FORM}"
    )
