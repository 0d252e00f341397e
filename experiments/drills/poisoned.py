"""Poisoned training: a batch that is not a number, a learning rate of 1e9, no memory for a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.drills.checkpoints import all_finite
from experiments.drills.rows import Drill, Row
from experiments.drills.runs import EXCERPTS, Finished, Setup, flat_start

STEP = 5  # whose batch is corrupted, of 8
SIGNS = ("nan", "not finite", "isn't finite", "infinite", "diverge")
STAGES: dict[str, dict[str, Any]] = {
    "stage1": {"data": {"excerpt": EXCERPTS}, "model": flat_start(2)},
    "stage3": {"model": {"eval_ratios": [1, 4]}},
}
HOW = {"a batch of NaN": "nan", "a learning rate of 1e9": "rate", "no memory for a batch": "memory"}
PARTS = {"stage1": ("adapter.*",), "stage3": ("sst.*", "adapter.*", "llm.*")}


def names() -> list[str]:
    return [f"{what}, {stage}" for stage in STAGES for what in HOW]


def run(place: Path, cases: Sequence[str]) -> Iterator[Row]:
    for stage in STAGES:
        for what, how in HOW.items():
            if f"{what}, {stage}" in cases:
                yield run_case(f"{what}, {stage}", stage, how, place)


def run_case(case: str, stage: str, how: str, place: Path) -> Row:
    """Train eight steps with the poison in them; noticed means reported, and it leaves only finite numbers behind."""
    options: dict[str, Any] = {key: dict(value) for key, value in STAGES[stage].items()}
    callbacks = []
    if how == "rate":
        options["model"]["trainable"] = dict.fromkeys(PARTS[stage], 1e9)
    else:
        poison = {"step": STEP, "how": how}
        callbacks = [{"class_path": "experiments.drills.callbacks.Poison", "init_args": poison}]
    setup = Setup(place, f"{how}_{stage}", stage, 8, callbacks=callbacks, **options)
    setup.clear()
    done = setup.run()
    written = [*setup.folder.glob("checkpoints/*.ckpt"), *setup.folder.glob("*.safetensors")]
    corrupted = [path.name for path in written if not all_finite(path)]
    reported = next(
        (line.strip() for line in done.output.splitlines() if any(sign in line.lower() for sign in SIGNS)), ""
    )
    facts = {"status": done.status, "files": len(written), "files_not_finite": corrupted}
    if how == "memory":
        # That memory ran out is the system's to say; what was written before it must be whole.
        good = done.status != 0 and not corrupted and "memory" in done.output
        return Row(case, good, "stopped" if done.status else "silent", done.message, facts)
    return judged(case, done, reported, corrupted, facts)


def judged(case: str, done: Finished, reported: str, corrupted: list[str], facts: dict[str, Any]) -> Row:
    """Noticed: reported, nothing corrupted was written, and it stopped or went on without the step; no traceback."""
    traced = "Traceback (most recent call last)" in done.output
    noticed = bool(reported) and not corrupted and not traced
    outcome = "traceback" if traced else "silent" if not reported else "stopped" if done.status else "left out"
    return Row(case, noticed, outcome, reported or done.message, facts | {"noticed": noticed})


def summary(rows: Sequence[Row]) -> dict[str, int]:
    cases = [row for row in rows if "noticed" in row.facts]
    return {"nan_cases": len(cases), "nan_noticed": sum(row.facts["noticed"] for row in cases)}


DRILL = Drill("poisoned", "NaN, a learning rate of 1e9, no memory", 4, names, run, summary)
