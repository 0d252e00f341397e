"""Sixteen kills: which stage, at which event, how long after it, and how checkpoints were written before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.drills.runs import DROPOUT, EVERY_STEP, EXCERPTS, Setup, flat_start

STEPS = 12
ADAPTER = {"class_path": "PosteriorAdapter", "init_args": {"stride": 2, "dropout": DROPOUT}}


def curriculum(unit: str, *schedule: tuple[int, list[int]]) -> dict[str, Any]:
    entries = [{"start": start, "ratios": ratios} for start, ratios in schedule]
    return {"class_path": "RatioCurriculum", "init_args": {"unit": unit, "schedule": entries}}


# A kind of run: its stage, and what its overlay sets beside the dropout that all have.
KINDS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "stage 1": ("stage1", {"data": {"excerpt": EXCERPTS}, "model": flat_start(4)}),
    "stage 1, channel_dropout": (
        "stage1",
        {
            "data": {"excerpt": EXCERPTS},
            "model": flat_start(4)
            | {
                "adapter": {**ADAPTER, "init_args": {**ADAPTER["init_args"], "channel_dropout": 0.2, "time_mask": 0.2}},
            },
        },
    ),
    "stage 2": ("stage2", {}),
    "stage 2, accumulating": ("stage2", {"trainer": {"accumulate_grad_batches": 2, "val_check_interval": 6}}),
    "stage 3": (
        "stage3",
        {"model": {"eval_ratios": [1, 4]}, "top": {"curriculum": curriculum("step", (0, [1, 2]), (6, [2, 4]))}},
    ),
    "stage 3, by epoch": (
        "stage3",
        {"model": {"eval_ratios": [4]}, "top": {"curriculum": curriculum("epoch", (0, [2]), (1, [4]), (2, [8]))}},
    ),
}


def setup(kind: str, place: Path, name: str, workers: int = 0, frames: Path | None = None) -> Setup:
    """The run of a kind; frames: a cache of its own for encoder frames."""
    stage, options = KINDS[kind]
    more: dict[str, Any] = {key: dict(value) for key, value in options.items()}
    more["model"] = {"adapter": ADAPTER} | more.get("model", {})
    if frames:
        more["data"] = {**more.get("data", {}), "cache_dir": str(frames)}
    return Setup(place, name, stage, STEPS, workers=workers, **more)


@dataclass(frozen=True)
class Kill:
    """One kill.

    kind        of run, of KINDS
    event       what it waits for, see `Watcher`; epoch_end: the last batch of the first epoch
    number      which event of that kind, from 0
    within      seconds after it, of which a share is drawn
    workers     processes that load data
    every_step  whether last.ckpt is written after every step, or at validations alone
    new_frames  whether the encoder's frames are computed in this run, into a cache that is killed with it
    """

    kind: str
    event: str
    number: int
    within: float
    workers: int = 0
    every_step: bool = True
    new_frames: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        return EVERY_STEP if self.every_step else ()


KILLS = [
    Kill("stage 1", "batch", 5, 0.2, every_step=False, new_frames=True),
    Kill("stage 1", "batch", 7, 0.3, workers=2),
    Kill("stage 1", "validation_begin", 1, 0.5, every_step=False),
    Kill("stage 1", "save_begin", 6, 0.03, workers=2, new_frames=True),
    Kill("stage 2", "batch", 8, 0.4, new_frames=True),
    Kill("stage 2", "validation_begin", 1, 0.6, workers=2, every_step=False),
    Kill("stage 2", "save_begin", 2, 0.1, every_step=False),
    Kill("stage 2", "save_begin", 9, 0.1, workers=2, new_frames=True),
    Kill("stage 3", "batch", 6, 0.7, new_frames=True),
    Kill("stage 3", "validation_begin", 2, 1.5, workers=2, every_step=False),
    Kill("stage 3", "save_begin", 7, 0.15),
    Kill("stage 3", "batch", 10, 0.8, workers=2, every_step=False, new_frames=True),
    Kill("stage 3, by epoch", "batch", 5, 0.3),
    Kill("stage 3, by epoch", "epoch_end", 0, 0.3),
    Kill("stage 1, channel_dropout", "batch", 6, 0.2),
    Kill("stage 2, accumulating", "batch", 15, 0.3),
]


def name_of(number: int) -> str:
    """A kill's name in the table: 07 stage 2: save_begin 9."""
    kill = KILLS[number]
    return f"{number:02d} {kill.kind}: {kill.event} {kill.number}"
