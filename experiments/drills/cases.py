"""A case of bad input: what is corrupted, what should come of it, and how a run of it is judged."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.drills.apart import run_apart
from experiments.drills.attempt import Attempt, attempt
from experiments.drills.rows import Row
from experiments.drills.trial import Corrupt, Trial
from experiments.measurements.record import ROOT
from experiments.run import main as run_experiment

Due = Literal["refused", "handled", "reported", "either"]
# What is as wanted, of what may be due: `reported` may go on if it says so, `either` needn't even do that.
WANTED: dict[Due, tuple[str, ...]] = {
    "refused": ("refused",),
    "handled": ("handled",),
    "reported": ("refused", "warned"),
    "either": ("refused", "ran"),
}
DEFINED = ("refused", "vague", "handled", "warned", "ran")  # neither traceback nor silent, and it came to an end


@dataclass(frozen=True)
class Case:
    """One bad input to `fit`.

    name     its area and what is wrong, such as "audio: empty file"
    corrupt  puts the fault into a sound trial
    names    what the error or warning must hold: file, key or cut, and the value
    due      refused: exit status 2 with a message; handled: trains; reported: refused, or a warning;
             either: refused, or trains
    seconds  when it counts as endless
    apart    run in processes of their own, which are ended together: one that would start others without end
    """

    name: str
    corrupt: Corrupt
    names: tuple[str, ...] = ()
    due: Due = "refused"
    seconds: int = 90
    apart: bool = False


def run_case(case: Case, place: Path, models: Path) -> Row:
    """Make the trial in a folder of `place`, corrupt it, run it and judge what came of it."""
    folder = place / re.sub(r"[^a-z0-9]+", "-", case.name.lower())[:60]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    trial = Trial(folder, models)
    case.corrupt(trial)
    trial.write()
    if case.apart:
        done = run_apart(trial.argv, case.seconds)
    else:
        done = attempt(lambda: run_experiment(trial.argv, ROOT / "experiments"), case.seconds, trial.memory_bytes)
    losses = trial.losses_file.read_text().split() if trial.losses_file.is_file() else []
    return judged(case.name, done, case.names, case.due, [float(loss) for loss in losses])


def judged(name: str, done: Attempt, names: Sequence[str], due: Due, losses: Sequence[float] = ()) -> Row:
    """A row of what came of a case; see `Case` for `names` and `due`."""
    outcome, message = outcome_of(done, names, due, losses)
    return Row(name, outcome in WANTED[due], outcome, message[:400])


def outcome_of(done: Attempt, names: Sequence[str], due: Due, losses: Sequence[float]) -> tuple[str, str]:
    """How it came out, in a word, and what was written about it."""
    if done.ending != "exited":
        return done.ending, done.exception
    # 2: what the user can mend in the command; 1: a training that diverged.
    if done.status in (1, 2) and done.message.startswith("error: "):
        missing = [name for name in names if name not in done.message]
        return ("vague", f"{done.message} [names no {', '.join(missing)}]") if missing else ("refused", done.message)
    if done.status:
        return "traceback", f"exit status {done.status}: {done.message or done.output[-200:]}"
    if not all(map(math.isfinite, losses)):
        return "silent", f"trained on to the end with losses {list(losses)[:4]}"
    if due == "handled":
        return "handled", ""
    lines = [line for line in done.output.splitlines() if all(name in line for name in names)]
    if due == "reported" and lines:
        return "warned", lines[0].strip()
    return ("ran", "") if due == "either" else ("silent", f"ran to its end, losses {list(losses)[:4]}")
