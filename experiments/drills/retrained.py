"""A finished stage is trained anew and killed at once: its folder must not pass the first training for the second."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from experiments.drills.rows import Drill, Row
from experiments.drills.runs import Setup, end_group

FIRST, SECOND = 4.0, 2.0  # seconds of an interval in the two trainings
CASES = (
    "weights and config of a stage belong together after the kill",
    "--ckpt_path last doesn't pass the first training off as the second",
    "without --overwrite a finished stage is left alone",
)


def names() -> list[str]:
    return list(CASES)


def setup(place: Path, seconds: float, seed: int) -> Setup:
    partition = {"class_path": "FixedWindows", "init_args": {"seconds": seconds}}
    return Setup(place, "retrained", "stage2", 4, 4, data={"partition": partition, "seed": seed})


def run(place: Path, cases: Sequence[str]) -> Iterator[Row]:
    """The cases hang together, so that all are run whichever are asked for."""
    first = setup(place, FIRST, 0)
    first.clear()
    done = first.run()
    if done.status:
        raise RuntimeError(f"the first training fails: {done.message}")
    weights, config = first.folder / "weights.safetensors", first.folder / "tensorboard" / "config.yaml"
    trained, configured = weights.read_bytes(), config.read_bytes()
    second = setup(place, SECOND, 9)
    refused = second.run()
    same = weights.is_file() and weights.read_bytes() == trained and config.read_bytes() == configured
    good = refused.refused and "--overwrite" in refused.message and same
    rows = [Row(CASES[2], good, "refused" if refused.refused else "failed", refused.message)]
    killed_at_first_batch(second)
    kept = weights.is_file()
    seconds = interval_of(config)
    rows.append(
        Row(
            CASES[0],
            not kept or seconds == FIRST,
            "passed" if not kept or seconds == FIRST else "mixed",
            f"weights of the first training there: {kept}; the config says intervals of {seconds:g} s",
        )
    )
    after = second.run("--ckpt_path", "last")
    passed_off = weights.is_file() and weights.read_bytes() == trained
    good = (after.refused or after.status == 0) and not passed_off
    rows.append(Row(CASES[1], good, "refused" if after.refused else "went on" if good else "mixed", after.message))
    order = [CASES.index(row.case) for row in rows]
    yield from (row for _, row in sorted(zip(order, rows, strict=True), key=lambda pair: pair[0]) if row.case in cases)


def killed_at_first_batch(second: Setup) -> None:
    """Train the stage anew, and kill it before it has written a checkpoint."""
    second.log.unlink(missing_ok=True)
    process = second.start("--overwrite")
    while process.poll() is None and not second.events("batch"):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    end_group(process)


def interval_of(config: Path) -> float:
    """Seconds of an interval as the stage's config has them; 0 where there is no config."""
    if not config.is_file():
        return 0.0
    content: dict[str, Any] = yaml.safe_load(config.read_text())
    return float(content["data"]["partition"]["init_args"]["seconds"])


def summary(rows: Sequence[Row]) -> dict[str, int]:
    return {"retrained": len(rows), "retrained_passed": sum(row.ok for row in rows)}


DRILL = Drill("retrained", "a finished stage trained anew and killed", 2, names, run, summary)
