"""Hostile files: given to fit, test, validate, listen, align, export and load_stage. No code of theirs may run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from experiments.drills.attempt import attempt
from experiments.drills.bad_listening import listen
from experiments.drills.cases import judged
from experiments.drills.hostile_files import FILES, HostileFile, TrainedFixture
from experiments.drills.hostile_stages import STAGES, HostileStage, code_ran, ran
from experiments.drills.rows import Drill, Row
from experiments.drills.tones import session
from experiments.drills.trial import Trial, make_models
from experiments.measurements.record import ROOT
from experiments.run import main as run_experiment
from speech_xl.extensions.timestamps.align import main as align
from speech_xl.hub.export import export
from speech_xl.inference import load_stage
from speech_xl.run.user_errors import exit_on_user_error

EVIL = [stage for stage in STAGES if stage.mark]


def listening(folder: Path, place: Path) -> None:
    audio = session(place, "tone")["recording"]["sources"][0]["source"]
    listen([str(folder), audio, "--limit", "5"])


def loading(folder: Path, place: Path) -> None:
    with exit_on_user_error():  # in Python it raises; here, as on a command line, a message and status 2
        load_stage(folder)


def aligning(folder: Path, place: Path) -> None:
    align([str(folder), str(place / "aligned"), "--sessions", "1"])


def exporting(folder: Path, place: Path) -> None:
    with exit_on_user_error():
        export(folder, place / "exported")


READERS: dict[str, Callable[[Path, Path], None]] = {
    "listen": listening,
    "load_stage": loading,
    "align": aligning,
    "export": exporting,
}


def stage_case(stage: HostileStage, reader: str) -> str:
    return f"stage folder {stage.name}: {reader}"


def names() -> list[str]:
    return [file.name for file in FILES] + [stage_case(stage, reader) for stage in EVIL for reader in READERS]


def run(place: Path, cases: Sequence[str]) -> Iterator[Row]:
    models = make_models(place / "models")
    fixture = TrainedFixture(place / "fixture", models)
    for file in FILES:
        if file.name in cases:
            yield run_file(file, fixture, place, models)
    for stage in EVIL:
        for reader in READERS:
            if stage_case(stage, reader) in cases:
                yield run_stage(stage, reader, fixture, place, models)


def run_file(file: HostileFile, fixture: TrainedFixture, place: Path, models: Path) -> Row:
    """Give a hostile file to run.py, over a sound corpus and stage."""
    shutil.rmtree(place / "trial", ignore_errors=True)
    trial = Trial(place / "trial", models)
    trial.command = file.subcommand
    fixture.mark.unlink(missing_ok=True)
    trial.flags = [str(word) for word in file.words(fixture)]
    trial.write()
    done = attempt(lambda: run_experiment(trial.argv, ROOT / "experiments"))
    losses = trial.losses_file.read_text().split() if trial.losses_file.is_file() else []
    row = judged(file.name, done, file.names, file.due, [float(loss) for loss in losses])
    return code_ran(row) if fixture.mark.exists() else row


def run_stage(stage: HostileStage, reader: str, fixture: TrainedFixture, place: Path, models: Path) -> Row:
    """Give a hostile stage folder to a command that reads stages; it may be refused, or used without its code."""
    given = place / "given"
    folder = stage.make(fixture.stage, given, models)
    done = attempt(lambda: READERS[reader](folder, given))
    row = judged(stage_case(stage, reader), done, stage.names, "either")
    return code_ran(row) if ran(given) else row


def summary(rows: Sequence[Row]) -> dict[str, int]:
    """hostile_clear: refused by a message that names the file, or used without harm where that is right."""
    return {
        "hostile": len(rows),
        "hostile_code_run": sum(row.outcome == "code ran" for row in rows),
        "hostile_clear": sum(row.ok for row in rows),
    }


DRILL = Drill("hostile", "pickles with code, weights that don't fit, somebody else's stage", 4, names, run, summary)
