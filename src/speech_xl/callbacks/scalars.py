"""What the callbacks share: writing scalars to every logger, finding TensorBoard, and when a step is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger

from speech_xl.checks import whole


def log_scalars(trainer: pl.Trainer, values: Mapping[str, float], step: int) -> None:
    """Write `values` at the optimizer step `step` to every logger (the loggers themselves write on rank zero only)."""
    if values:
        for logger in trainer.loggers:
            logger.log_metrics(dict(values), step=step)


def tensorboard_writers(trainer: pl.Trainer) -> list[Any]:
    """The SummaryWriter of every TensorBoard logger; on other ranks Lightning hands out a writer that does nothing."""
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


class Cadence:
    """Says when to log: at the first step it is asked about, then at every multiple of `every_n_steps`, once a step.

    Steps are optimizer steps, so the batches of one gradient accumulation share a step and are logged once.
    """

    def __init__(self, every_n_steps: int, owner: str) -> None:
        self.every_n_steps = whole(f"{owner}.every_n_steps", every_n_steps, least=1)
        self.last: int | None = None

    def due(self, step: int) -> bool:
        if step == self.last or (self.last is not None and step % self.every_n_steps):
            return False
        self.last = step
        return True
