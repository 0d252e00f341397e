"""A finished stage with SSTs on random models, for what is done to trained stages."""

from __future__ import annotations

from pathlib import Path

from experiments.drills.attempt import attempt
from experiments.drills.trial import STAGE, Trial, with_ssts
from experiments.measurements.record import ROOT
from experiments.run import main as run_experiment


def finished_stage(folder: Path, models: Path, ssts: bool = True) -> Path:
    """Train the trial's stage in `folder` for its three steps; gives its run folder. Raises RuntimeError."""
    trial = Trial(folder, models)
    if ssts:
        with_ssts(trial.config, [2])
    trial.write()
    done = attempt(lambda: run_experiment(trial.argv, ROOT / "experiments"), 120)
    stage = folder / "runs" / "default" / STAGE
    if done.status or not (stage / "weights.safetensors").is_file():
        raise RuntimeError(f"the stage that the drill begins with doesn't train: {done.message or done.exception}")
    return stage
