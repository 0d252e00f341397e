"""Damaged checkpoints: nine ways to spoil last.ckpt; the resume must say so and go on from a whole one."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.drills.attempt import Attempt, attempt
from experiments.drills.cases import judged
from experiments.drills.checkpoints import step_of
from experiments.drills.rows import Drill, Row
from experiments.drills.trial import STAGE, Trial, make_models
from experiments.measurements.record import ROOT
from experiments.run import main as run_experiment

STEPS = 6  # after the resume; the run that is damaged had a validation at step 3, and one at step 5
# The checkpoints that a message names.
OFFERED = re.compile(r"(\S+\.ckpt)")


@dataclass(frozen=True)
class Damage:
    """A way to corrupt a checkpoint file: its bytes before and after, `place` being inside a tensor or pickle."""

    name: str
    change: Callable[[bytes, Callable[[str], int]], bytes]


def overwritten(whole: bytes, start: int, content: bytes) -> bytes:
    return whole[:start] + content + whole[start + len(content) :]


DAMAGES = [
    Damage("cut in half", lambda whole, inside: whole[: len(whole) // 2]),
    Damage("last 100 bytes missing", lambda whole, inside: whole[:-100]),
    Damage("empty", lambda whole, inside: b""),
    Damage("all zero bytes", lambda whole, inside: bytes(len(whole))),
    Damage("second half zero bytes", lambda whole, inside: whole[: len(whole) // 2] + bytes(len(whole) // 2)),
    Damage("64 bytes zeroed in a tensor", lambda whole, inside: overwritten(whole, inside("data/"), bytes(64))),
    Damage("64 bytes 0xFF in a tensor", lambda whole, inside: overwritten(whole, inside("data/"), b"\xff" * 64)),
    Damage("8 bytes of its pickle", lambda whole, inside: overwritten(whole, inside("data.pkl"), b"\xff" * 8)),
    Damage("text", lambda whole, inside: b"hello"),
]
WHOLE = "last.ckpt whole, all others removed"


def names() -> list[str]:
    return [damage.name for damage in DAMAGES] + [WHOLE]


def middle_of(path: Path, record: str) -> int:
    """Where the middle of the checkpoint's largest record of this name lies in the file, in bytes."""
    with zipfile.ZipFile(path) as file:
        found = max((one for one in file.infolist() if record in one.filename), key=lambda one: one.file_size)
    raw = path.read_bytes()
    # A local header is 30 bytes with the lengths of name and extra field in its last four.
    name, extra = (int.from_bytes(raw[found.header_offset + at :][:2], "little") for at in (26, 28))
    return found.header_offset + 30 + name + extra + found.file_size // 2


def run(place: Path, cases: Sequence[str]) -> Iterator[Row]:
    models = make_models(place / "models")
    start = broken_off(place / "start", models)
    for damage in DAMAGES:
        if damage.name in cases:
            yield run_damage(damage, start, place / "trial", models)
    if WHOLE in cases:
        trial = resumed(start, place / "trial", models)
        for path in trial_checkpoints(trial):
            if path.name != "last.ckpt":
                path.unlink()
        done = go_on(trial, "last")
        yield judged(WHOLE, done, (), "handled")


def broken_off(folder: Path, models: Path) -> Path:
    """A run of five steps, with validations after the third and the fifth, left without its finished weights."""
    shutil.rmtree(folder, ignore_errors=True)
    trial = Trial(folder, models)
    trial.flags = ["--trainer.max_steps", "5", "--trainer.val_check_interval", "3"]
    trial.write()
    done = attempt(lambda: run_experiment(trial.argv, ROOT / "experiments"))
    if done.status:
        raise RuntimeError(f"the run that the drill begins with doesn't train: {done.message or done.exception}")
    (folder / "runs" / "default" / STAGE / "weights.safetensors").unlink()
    return folder


def resumed(start: Path, folder: Path, models: Path) -> Trial:
    """A copy of the broken-off run."""
    shutil.rmtree(folder, ignore_errors=True)
    trial = Trial(folder, models)
    trial.write()
    shutil.copytree(start / "runs", folder / "runs")
    return trial


def trial_checkpoints(trial: Trial) -> list[Path]:
    return sorted((trial.folder / "runs" / "default" / STAGE / "checkpoints").glob("*.ckpt"))


def go_on(trial: Trial, checkpoint: str) -> Attempt:
    """Resume to step six from a checkpoint."""
    trial.flags = ["--ckpt_path", checkpoint, "--trainer.max_steps", str(STEPS)]
    trial.losses_file.unlink(missing_ok=True)
    return attempt(lambda: run_experiment(trial.argv, ROOT / "experiments"))


def run_damage(damage: Damage, start: Path, folder: Path, models: Path) -> Row:
    """Resume from the damaged file: it is named, and the run goes on from a whole one, by itself or when asked."""
    trial = resumed(start, folder, models)
    last = folder / "runs" / "default" / STAGE / "checkpoints" / "last.ckpt"
    last.write_bytes(damage.change(last.read_bytes(), lambda record: middle_of(last, record)))
    row = judged(damage.name, go_on(trial, "last"), ("last.ckpt",), "reported")
    others = [Path(path) for path in OFFERED.findall(row.message) if Path(path).name != "last.ckpt"]
    went_on = row.outcome == "warned"
    if row.outcome == "refused" and others:
        went_on = judged(damage.name, go_on(trial, str(others[0])), (), "handled").ok
    recovered = went_on and step_of(last.parent.parent) == STEPS
    facts = {"noticed": row.ok, "went_on_from": others[0].name if others else "", "recovered": recovered}
    return Row(row.case, recovered, row.outcome, row.message, facts)


def summary(rows: Sequence[Row]) -> dict[str, int]:
    """damaged_recovered: noticed, and gone on from a whole checkpoint to the last step."""
    corrupted = [row for row in rows if "noticed" in row.facts]
    return {
        "damaged": len(corrupted),
        "damaged_noticed": sum(row.facts["noticed"] for row in corrupted),
        "damaged_recovered": sum(row.facts["recovered"] for row in corrupted),
    }


DRILL = Drill("damaged", "last.ckpt cut, zeroed and overwritten, then resumed", 2, names, run, summary)
