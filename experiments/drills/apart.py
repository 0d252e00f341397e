"""Run an experiment in a process group of its own, which is ended where it starts processes without end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from experiments.drills.attempt import Attempt
from experiments.drills.runs import environment
from experiments.measurements.record import ROOT

MOST = 12  # processes of one command; a healthy one has a few


def run_apart(argv: Sequence[str], seconds: int) -> Attempt:
    """Run experiments/run.py with `argv`; endless where it takes longer than `seconds`, or has too many processes."""
    process = subprocess.Popen(
        [sys.executable, "experiments/run.py", *argv],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    most, began = 0, time.monotonic()
    while process.poll() is None and time.monotonic() - began < seconds and most <= MOST:
        most = max(most, group_size(process.pid))
        time.sleep(0.1)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return Attempt(-1, "endless", "", f"{most} processes after {time.monotonic() - began:.0f} s")
    _, errors = process.communicate()
    traced = "Traceback (most recent call last)" in errors
    return Attempt(process.returncode, "traceback" if traced else "exited", errors, errors[-200:] if traced else "")


def group_size(group: int) -> int:
    """How many processes a process group has."""
    count = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            count += int(file.read_text().rpartition(")")[2].split()[2]) == group
    return count
