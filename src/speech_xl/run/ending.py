"""Where a training begins and how it ends: what is set aside, whether it reached what was asked for, how it goes on."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from speech_xl.run.run_folder import RunFolder
from speech_xl.run.signals import Stopped, StopSignals


class KeepHandlers(pl.Callback):
    """Puts the handlers of `signals` in place of Lightning's, which end with status 0, or with collectives in the
    handler itself; Lightning sets its own just before each of these hooks."""

    def __init__(self, signals: StopSignals) -> None:
        self.signals = signals

    def on_sanity_check_start(self, *_: Any) -> None:
        self.signals.install()

    def on_train_start(self, *_: Any) -> None:
        self.signals.install()
        self.signals.wait()

    def on_train_end(self, *_: Any) -> None:
        self.signals.wait(False)

    def on_validation_start(self, *_: Any) -> None:
        self.signals.install()

    def on_test_start(self, *_: Any) -> None:
        self.signals.install()

    def on_predict_start(self, *_: Any) -> None:
        self.signals.install()


def resume_command() -> str:
    """The command that goes on with this process's training."""
    return shlex.join(["python", *(word for word in sys.argv if word != "--overwrite"), "--ckpt_path", "last"])


def stopped_text(stop: Stopped, last: Path) -> str:
    """What is said where a signal ended `fit`; last: where its last.ckpt is or would be."""
    if stop.step is not None:
        return f"stopped by {stop.name}: {last} is of step {stop.step}. This goes on from there:\n  {resume_command()}"
    if last.is_file():
        return f"stopped by {stop.name} between steps; {last} is the last that was written:\n  {resume_command()}"
    return f"stopped by {stop.name} before the first step: there is no checkpoint, so that the same command starts over"


def as_rank(trainer: pl.Trainer, status: int, agreed: bool) -> int:
    """The exit status of this rank of a training that ends early; the processes Lightning started end with 0.

    agreed: whether all ranks end at the same step by themselves. Lightning kills all ranks when one that it started
    ends with another status than 0, and would cut the first one short.
    """
    own = isinstance(getattr(trainer.strategy, "cluster_environment", None), LightningEnvironment)
    launcher: Any = trainer.strategy.launcher
    if not own or launcher is None:
        return status
    if trainer.global_rank == 0 and not agreed:
        launcher.kill(signal.SIGKILL)  # they may wait for this one in a collective, where no other signal reaches them
    return 0 if trainer.global_rank else status


def unfinished_text(trainer: pl.Trainer, stage: str) -> str | None:
    """Why a training that has ended isn't finished, and how to go on; None where it is: at its last step or epoch, or
    where early stopping was asked for."""
    steps, epochs, limits = trainer.global_step, trainer.current_epoch, (trainer.max_steps, trainer.max_epochs)
    by_steps, by_epochs = (limit is not None and limit > 0 for limit in limits)
    if (by_steps and steps >= limits[0]) or (by_epochs and epochs >= (limits[1] or 0)):
        return None
    callbacks = getattr(trainer, "callbacks", [])
    if any(isinstance(one, EarlyStopping) and one.stopping_reason.value for one in callbacks):
        return None
    if not (timers := [one for one in callbacks if isinstance(one, Timer)]) and not (by_steps or by_epochs):
        return None
    why = "trainer.max_time" if timers else "a callback"
    reached = f"step {steps} of {limits[0]}" if by_steps else f"step {steps}"
    return f"{stage} isn't finished: stopped by {why} at {reached}. This goes on:\n  {resume_command()}"


def best_checkpoint(callback: Any) -> Path | None:
    """The checkpoint with the fewest errors, or the last one; None where none was written.

    callback: a ModelCheckpoint. A run whose folder was moved or copied since has its best one under an older path: what
    lies in its own folder counts.
    """
    folder = Path(callback.dirpath)
    for path in (callback.best_model_path, callback.last_model_path):
        if path and (own := folder / Path(path).name).is_file():
            return own
    return None


@rank_zero_only
def set_aside(folder: RunFolder, resumes: bool) -> None:
    """Make room for a run before anything is written: the whole of an earlier one, or, where it is resumed, the weights
    that it ended with."""
    folder.remove_drafts()
    place = folder.set_weights_aside() if resumes else folder.set_aside()
    if place is not None:
        rank_zero_info(f"{folder.path} held an earlier {'end of this run' if resumes else 'run'}, set aside as {place}")
