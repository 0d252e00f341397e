"""Two processes that are killed and resumed, resumed as one, and one of two that dies."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from experiments.drills.checkpoints import checkpoint, differences
from experiments.drills.rows import Row
from experiments.drills.runs import EVERY_STEP, end_group
from experiments.drills.two_training import TWO, fitted, setup

EQUAL, ALONE = "resuming: killed and resumed, bit-equal", "resuming: with one process, and it says so"
DYING = "dying: one process is killed, the other ends"
PATIENCE = 60  # seconds in which the other must end


def resuming(place: Path) -> Iterator[Row]:
    """Both processes are killed at their sixth batch; the run goes on with two, and a copy of it with one."""
    reference, run, alone = (setup(place, name, "stage2", 8, 4) for name in ("never", "killed", "killed_alone"))
    done = fitted(reference, *TWO, *EVERY_STEP)
    if done.status:
        yield from (Row(case, False, "failed", done.message) for case in (EQUAL, ALONE))
        return
    run.clear()
    alone.clear()
    process = run.start(*TWO, *EVERY_STEP)
    while process.poll() is None and len(run.events("batch")) < 6:
        time.sleep(0.01)
    end_group(process)
    process.wait()
    shutil.copytree(run.folder, alone.folder)
    done = run.run(*TWO, *EVERY_STEP, "--ckpt_path", "last")
    if done.status:
        yield Row(EQUAL, False, "failed", done.message)
    else:
        keys = ("state_dict", "optimizer_states")
        one, other = ([checkpoint(setup.folder)[key] for key in keys] for setup in (reference, run))
        differ = differences(one, other)
        message = f"went on from step {run.events('train_begin')[-1]['step']}; {len(differ)} tensors differ"
        yield Row(EQUAL, not differ, "differs" if differ else "equal", message)
    done = alone.run(*EVERY_STEP, "--ckpt_path", "last")
    lines = [line.strip() for line in done.output.splitlines() if "world_size" in line or "process" in line]
    good = done.status == 0 and bool(lines)
    yield Row(ALONE, good, "went on" if good else "failed", lines[0] if lines else done.message)


def dying(place: Path) -> Iterator[Row]:
    """The second process is killed amid training: the first must not wait for it for ever."""
    run = setup(place, "dying", "stage2", 200, 100)
    run.clear()
    process = run.start(*TWO)
    while process.poll() is None and len(run.events("batch", rank=1)) < 3:
        time.sleep(0.05)
    for number in {event["pid"] for event in run.events("batch", rank=1)}:
        os.kill(number, signal.SIGKILL)
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < PATIENCE:
        time.sleep(0.2)
    status, seconds = process.poll(), time.monotonic() - began
    end_group(process)
    process.wait()
    good = status not in (None, 0)
    message = f"exit status {status} after {seconds:.0f} s"
    yield Row(DYING, good, "ended" if good else "waits", message)
