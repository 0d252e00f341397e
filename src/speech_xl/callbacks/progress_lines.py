"""ProgressLines: progress as plain lines, for runs whose output goes to a file rather than to a terminal."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar

from speech_xl.checks import number


class ProgressLines(ProgressBar):
    """Prints a line every `every_seconds`, and one after each validation with its figures.

    Bars redraw themselves, which a log either doesn't show before they are full or shows hundreds of times.
    """

    def __init__(self, every_seconds: float = 30.0) -> None:
        super().__init__()
        self.every_seconds = number("ProgressLines.every_seconds", every_seconds, least=0)
        self._enabled = True
        self._printed = 0.0  # when the last line was printed
        self._begun = 0.0  # when the running loop began
        self._first_step = 0  # step it began with: a resumed run's earlier ones took another run's time

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def _line(self, text: str) -> None:
        if self._enabled:
            print(text, flush=True)
        self._printed = time.monotonic()

    def _due(self) -> bool:
        return self._enabled and time.monotonic() - self._printed >= self.every_seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._begun, self._first_step = time.monotonic(), trainer.global_step
        self._line(f"training from step {trainer.global_step} to {_steps(trainer)}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._due():
            return
        step, spent = trainer.global_step, time.monotonic() - self._begun
        text = f"step {step}/{_steps(trainer)}, {_clock(spent)}"
        if trainer.max_steps > 0 and step > self._first_step:
            text += f", {_clock(spent / (step - self._first_step) * (trainer.max_steps - step))} left"
        self._line(text + _figures(trainer.progress_bar_metrics))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            measured = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
            self._line(f"validation at step {trainer.global_step}{_figures(measured)}")

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._batch("validation", batch_idx)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._batch("test", batch_idx)

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._batch("predict", batch_idx)

    def _batch(self, what: str, index: int) -> None:
        if self._due():
            self._line(f"{what}: batch {index + 1} done")


def _steps(trainer: pl.Trainer) -> str:
    return str(trainer.max_steps) if trainer.max_steps > 0 else "?"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _figures(metrics: dict[str, Any]) -> str:
    return "".join(f", {name} {float(value):.4g}" for name, value in sorted(metrics.items()))
