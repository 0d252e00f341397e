"""Signals and limits: max_time, steps beyond the last validation, SIGTERM, SIGUSR1 and Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.drills.checkpoints import step_of
from experiments.drills.rows import Drill, Row
from experiments.drills.runs import LONGEST, Setup, end_group

LIMIT = "00:00:00:30"  # of training, as trainer.max_time reads it: days, hours, minutes, seconds
LONG = 4000  # steps: more than any drill waits for
SENT = {"SIGTERM": 143, "SIGUSR1": 138, "SIGINT": 130}  # a signal and the exit status that it should end with
TIMED = (
    "max_time between validations: last.ckpt is of the last step",
    "max_time: the stage isn't called finished",
    "max_time: goes on from there",
    "max_time: the same command again trains for as long",
)
ODD = "max_steps no multiple of the validation interval: the last steps are kept"


def sent_name(name: str) -> str:
    return f"{name}: a checkpoint of the last step, exit status {SENT[name]}"


def names() -> list[str]:
    return [*TIMED, ODD, *(sent_name(name) for name in SENT)]


def run(place: Path, cases: Sequence[str]) -> Iterator[Row]:
    if any(name in cases for name in TIMED):
        yield from (row for row in timed(place) if row.case in cases)
    if ODD in cases:
        yield odd(place)
    for name in SENT:
        if sent_name(name) in cases:
            yield interrupted(name, place)


def begun(place: Path, name: str, steps: int = LONG, validate: int = LONG) -> Setup:
    setup = Setup(place, name, "stage2", steps, validate)
    setup.clear()
    return setup


def done_steps(setup: Setup) -> int:
    """The optimizer steps that the run has noted."""
    return max((event["step"] for event in setup.events("batch")), default=0)


def is_finished(setup: Setup) -> bool:
    return (setup.folder / "weights.safetensors").is_file()


def row(case: str, good: bool, message: str, **facts: int | bool | None) -> Row:
    return Row(case, good, "passed" if good else "failed", message, facts)


def timed(place: Path) -> Iterator[Row]:
    """A run of 30 s, then on for three steps, then by the first command again."""
    setup = begun(place, "timed")
    done = setup.run("--trainer.max_time", LIMIT)
    steps, kept, finished = done_steps(setup), step_of(setup.folder), is_finished(setup)
    facts = {"status": done.status, "steps": steps, "checkpoint": kept}
    yield row(TIMED[0], kept == steps > 0, done.message, **facts)
    yield row(TIMED[1], not finished, done.message, status=done.status, finished=finished)
    setup.steps = steps + 3
    again = setup.run("--ckpt_path", "last", "--trainer.max_time", "00:00:10:00")
    begins = [event["step"] for event in setup.events("train_begin")]
    good = again.status == 0 and begins[-1] == kept and is_finished(setup)
    yield row(TIMED[2], good, again.message, status=again.status, from_step=begins[-1])
    # A run that was stopped once more, so that the stage isn't finished when it goes on.
    setup = begun(place, "timed_again")
    setup.run("--trainer.max_time", LIMIT)
    before = done_steps(setup)
    longer = setup.run("--ckpt_path", "last", "--trainer.max_time", LIMIT)
    after = done_steps(setup)
    yield row(TIMED[3], after > before + 3, longer.message, status=longer.status, before=before, after=after)


def odd(place: Path) -> Row:
    """Seven steps, validated every five."""
    setup = begun(place, "odd", steps=7, validate=5)
    done = setup.run()
    kept = step_of(setup.folder)
    good = done.status == 0 and kept == done_steps(setup) == 7
    return row(ODD, good, done.message, status=done.status, steps=done_steps(setup), checkpoint=kept)


def interrupted(name: str, place: Path) -> Row:
    """A signal amid an epoch, long before a validation."""
    # A shell's background jobs ignore Ctrl-C, and so would what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    setup = begun(place, name.lower())
    process = setup.start()
    while process.poll() is None and len(setup.events("batch")) < 6:
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    try:
        status: int | None = process.wait(LONGEST)
    except subprocess.TimeoutExpired:
        status = None
    end_group(process)
    kept, steps = step_of(setup.folder), done_steps(setup)
    good = kept is not None and kept >= steps > 0 and not is_finished(setup) and status == SENT[name]
    message = setup.output().strip().splitlines()[-1] if setup.output().strip() else ""
    return row(sent_name(name), good, message, status=status, steps=steps, checkpoint=kept)


def summary(rows: Sequence[Row]) -> dict[str, int]:
    return {"signals": len(rows), "signals_passed": sum(one.ok for one in rows)}


DRILL = Drill("signals", "time limits, odd steps, SIGTERM, SIGUSR1, Ctrl-C", 6, names, run, summary)
