"""Kills: a run is ended by SIGKILL, goes on with --ckpt_path last, and must end bit-equal to one never stopped."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.drills.checkpoints import COMPARED, checkpoint, differences
from experiments.drills.kill_cases import KILLS, Kill, name_of, setup
from experiments.drills.rows import Drill, Row
from experiments.drills.runs import EVERY_STEP, Event, Setup, end_group

PATIENCE = 15.0  # seconds in which the killed run's workers must have ended
Steps = dict[int, list[tuple[Any, ...]]]  # what was trained on, by optimizer step


class Reference:
    """A run of a kind that nothing stops, with last.ckpt after every step."""

    def __init__(self, kind: str, place: Path) -> None:
        name = "reference_" + "".join(letter if letter.isalnum() else "_" for letter in kind)
        run = setup(kind, place, name)
        run.clear()
        done = run.run(*EVERY_STEP)
        if done.status:
            raise RuntimeError(f"{kind}: the run to compare with fails: {done.message}")
        self.state = {key: checkpoint(run.folder).get(key) for key in COMPARED}
        self.steps = trained_on(run.events())
        epochs = [event["epoch"] for event in run.events("batch")]
        self.first_epoch_end = next(
            n for n, pair in enumerate(zip(epochs, epochs[1:], strict=False)) if pair[0] != pair[1]
        )


def names() -> list[str]:
    return [name_of(number) for number in range(len(KILLS))]


def run(place: Path, cases: Sequence[str]) -> Iterator[Row]:
    references: dict[str, Reference] = {}
    draw = random.Random(7)
    for number, kill in enumerate(KILLS):
        pause = draw.uniform(0, kill.within)
        if name_of(number) in cases:
            if kill.kind not in references:
                references[kill.kind] = Reference(kill.kind, place)
            yield run_kill(number, kill, references[kill.kind], place, pause)


def run_kill(number: int, kill: Kill, reference: Reference, place: Path, pause: float) -> Row:
    """Start, kill, resume and compare; `pause` seconds pass between event and kill."""
    frames = place / f"frames_{number}" if kill.new_frames else None
    if frames:
        shutil.rmtree(frames, ignore_errors=True)
    run = setup(kill.kind, place, f"kill_{number}", kill.workers, frames)
    run.clear()
    orphans = kill_at(run, kill, reference, pause)
    last = run.events()[-1:]
    kept = (run.folder / "checkpoints" / "last.ckpt").is_file()
    done = run.run(*kill.flags, *(["--ckpt_path", "last"] if kept else []))
    if frames:
        shutil.rmtree(frames, ignore_errors=True)
    facts: dict[str, Any] = {
        "killed_after": f"{last[0]['event']} of step {last[0]['step']}" if last else "nothing",
        "resumed_from": run.events("train_begin")[-1]["step"] if run.events("train_begin") else None,
        "orphans": orphans,
        "survived": done.status == 0,
    }
    if done.status:
        return Row(name_of(number), False, "lost", done.message, facts | {"equal": False})
    found = checkpoint(run.folder)
    differ = differences(reference.state, {key: found.get(key) for key in COMPARED})
    steps = trained_on(run.events())
    others = [step for step in sorted(reference.steps.keys() | steps) if reference.steps.get(step) != steps.get(step)]
    facts |= {"equal": not differ and not others, "differ": len(differ), "steps_of_other_samples": others}
    message = f"killed after {facts['killed_after']}, went on from step {facts['resumed_from']}"
    if differ:
        message += f"; {len(differ)} values differ, such as {differ[0]}"
    ok = facts["equal"] and not orphans
    return Row(name_of(number), ok, "equal" if facts["equal"] else "differs", message, facts)


def kill_at(run: Setup, kill: Kill, reference: Reference, pause: float) -> int:
    """Start the run and kill its main process at the event; how many of its workers outlive it."""
    event, number = kill.event, kill.number
    if event == "epoch_end":
        event, number = "batch", reference.first_epoch_end
    process = run.start(*kill.flags)
    while process.poll() is None and len(run.events(event)) <= number:
        time.sleep(0.005)
    time.sleep(pause)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    began = time.monotonic()
    while any(map(alive, workers)) and time.monotonic() - began < PATIENCE:
        time.sleep(0.1)
    orphans = sum(map(alive, workers))
    end_group(process)
    return orphans


def children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in path.read_text().split()] if path.is_file() else []


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def trained_on(events: Sequence[Event]) -> Steps:
    """Sessions, epoch, turns and ratios of each optimizer step; steps done again after a resume replace the first."""
    done: Steps = {}
    for event in events:
        if event["event"] == "train_begin":
            done = {step: batches for step, batches in done.items() if step <= event["step"]}
        if event["event"] == "batch":
            batch = (tuple(event["ids"]), event["epoch"], event["turns"], tuple(event["ratios"]))
            done.setdefault(event["into"], []).append(batch)
    return done


def summary(rows: Sequence[Row]) -> dict[str, int]:
    """kills_equal: weights, optimizer, schedule, data position and the samples of every step."""
    return {
        "kills": len(rows),
        "kills_survived": sum(row.facts["survived"] for row in rows),
        "kills_equal": sum(row.facts["equal"] for row in rows),
    }


DRILL = Drill("kills", "16 runs killed and resumed, with dropout, compared bit for bit", 25, names, run, summary)
