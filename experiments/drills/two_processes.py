"""Two processes (gloo, on CPUs): they train, evaluate and resume as one does; strategies; a process that dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from experiments.drills.rows import Drill, Row
from experiments.drills.two_evaluating import evaluating
from experiments.drills.two_resuming import dying, resuming
from experiments.drills.two_training import epoch_end, strategies, training

# What belongs together is run together: its cases, and what runs them.
PARTS: tuple[tuple[tuple[str, ...], Callable[[Path], Iterator[Row]]], ...] = (
    (tuple(f"training: {stage} as one process that accumulates" for stage in ("stage1", "stage2", "stage3")), training),
    (("training: an epoch's uneven end, each session once",), epoch_end),
    (("evaluating: validate as one process", "evaluating: test as one process"), evaluating),
    (("resuming: killed and resumed, bit-equal", "resuming: with one process, and it says so"), resuming),
    (
        (
            *(f"strategy: ddp, {stage}" for stage in ("stage1", "stage2", "stage3")),
            "strategy: ddp, a curriculum that begins uncompressed",
            *(f"strategy: {name}" for name in ("ddp_spawn", "fsdp", "ModelParallelStrategy")),
        ),
        strategies,
    ),
    (("dying: one process is killed, the other ends",), dying),
)


def names() -> list[str]:
    return [case for cases, _ in PARTS for case in cases]


def run(place: Path, cases: Sequence[str]) -> Iterator[Row]:
    for part, rows in PARTS:
        if any(case in cases for case in part):
            yield from (row for row in rows(place) if row.case in cases)


def summary(rows: Sequence[Row]) -> dict[str, int]:
    return {"two_processes": len(rows), "two_processes_passed": sum(row.ok for row in rows)}


DRILL = Drill("two_processes", "two processes train, evaluate and resume as one", 10, names, run, summary)
