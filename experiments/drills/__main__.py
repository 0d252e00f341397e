"""Drills: is the suite reliable? `python -m experiments.drills kills` from a clone; --help lists the drills.

Each drill runs the real program: it kills it, damages its files, feeds it bad input, and says what came of every case.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import speech_xl
from experiments.drills import (
    at_once,
    bad_inputs,
    damaged,
    hostile,
    kills,
    poisoned,
    retrained,
    serving,
    signals,
    two_processes,
)
from experiments.drills.results import merge
from experiments.drills.rows import Drill, chosen, figure
from experiments.drills.runs import environment
from experiments.measurements.record import RESULTS, ROOT

MODULES = (kills, damaged, hostile, bad_inputs, two_processes, poisoned, at_once, signals, retrained, serving)
DRILLS: dict[str, Drill] = {module.DRILL.name: module.DRILL for module in MODULES}
ALL = "all"


def parser() -> argparse.ArgumentParser:
    lines = [f"  {drill.name:14s} {drill.about} ({drill.minutes} min)" for drill in DRILLS.values()]
    made = argparse.ArgumentParser(
        prog="python -m experiments.drills",
        description="Drill the suite: kills, damaged and hostile files, bad inputs, two processes, poisoned batches.",
        epilog="drills (minutes on two cores):\n" + "\n".join(lines) + "\n\nA line a case, a figure last; exit status "
        "0 where all is as wanted, else 1. With parts of names only those cases are run, and nothing is recorded.\n\n"
        "all: every drill but serving, which needs a stage and speech of yours.  Afterwards\n"
        "`python -m experiments.tables` brings docs/reliability.md up to date.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("drill", choices=[*DRILLS, ALL])
    made.add_argument("part", nargs="*", help="run only the cases whose name holds this text")
    made.add_argument("--out", type=Path, help=f"results file (in {RESULTS}, as the drill has it)")
    made.add_argument("--stage", metavar="DIR", help="of serving: a trained stage, or an exported model")
    made.add_argument("--speech", metavar="DIR", help="of serving: FLAC utterances at 16 kHz, LibriSpeech's say")
    place = Path(tempfile.gettempdir()) / "speech_xl_drills"
    made.add_argument("--work", type=Path, default=place, help="folder for runs, up to 5 GB (%(default)s)")
    made.add_argument("--jobs", type=int, default=1, help="drills at a time, of `all` (%(default)s)")
    return made


def run_one(drill: Drill, parts: Sequence[str], work: Path, out: Path) -> bool:
    """Run a drill's cases and print them; whether all came out as wanted."""
    cases = chosen(drill.cases(), parts)
    place = work / drill.name
    place.mkdir(parents=True, exist_ok=True)
    rows, began = [], time.monotonic()
    for row in drill.run(place, cases):
        rows.append(row)
        print(row.line, flush=True)
    summary = drill.summary(rows)
    if not parts:
        merge(out, drill.name, rows, summary, place, time.monotonic() - began)
    print(figure(drill.name, rows, summary), flush=True)
    return all(row.ok for row in rows)


def run_all(arguments: argparse.Namespace) -> bool:
    """Run every drill in a process of its own, `--jobs` at a time, the longest first."""
    waiting = sorted((one for one in DRILLS.values() if one is not serving.DRILL), key=lambda drill: drill.minutes)
    running: list[subprocess.Popen[bytes]] = []
    good = True
    where = ["--out", str(out_of(arguments, "reliability")), "--work", str(arguments.work.resolve())]
    while waiting or running:
        while waiting and len(running) < arguments.jobs:
            command = [sys.executable, "-m", "experiments.drills", waiting.pop().name, *where]
            running.append(subprocess.Popen(command, cwd=ROOT, env=environment()))
        time.sleep(0.5)
        good &= not any(process.poll() for process in running)
        running = [process for process in running if process.returncode is None]
    return good


def out_of(arguments: argparse.Namespace, record: str) -> Path:
    """The results file."""
    return (arguments.out or RESULTS / f"{record}.json").resolve()


def main(argv: Sequence[str] | None = None) -> int:
    made = parser()
    arguments = made.parse_args(argv)
    if arguments.drill == ALL:
        return 0 if run_all(arguments) else 1
    # Configs and models are named from the repository's root; the others as every drilled process has them.
    os.environ.update(environment())
    if ROOT not in Path(speech_xl.__file__).resolve().parents:
        made.error(f"speech_xl is {speech_xl.__file__}, of another clone: set PYTHONPATH=src:. for this one")
    work, out = arguments.work.resolve(), out_of(arguments, DRILLS[arguments.drill].record)
    for name, value in ((serving.STAGE, arguments.stage), (serving.SPEECH, arguments.speech)):
        if value is not None:
            os.environ[name] = str(Path(value).resolve())
    os.chdir(ROOT)
    try:
        return 0 if run_one(DRILLS[arguments.drill], arguments.part, work, out) else 1
    except ValueError as error:
        made.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
