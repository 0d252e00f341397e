"""BestAndLast: the checkpoint with the fewest errors, and last.ckpt at every validation and every few minutes."""

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint


class BestAndLast(ModelCheckpoint):
    """Lightning's ModelCheckpoint writes last.ckpt only beside a new best one; a resumed run would go on from there.

    Args:
        every_minutes: last.ckpt is written so often too, whatever lies between validations; null: never.

    All others are ModelCheckpoint's.
    """

    def __init__(self, *args: Any, every_minutes: float | None = 10.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if every_minutes is not None and not every_minutes >= 0:
            raise ValueError(f"checkpoint.every_minutes={every_minutes}: minutes from 0 upwards, or null")
        self.every_minutes, self._saved, self._step = every_minutes, 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._saved, self._step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        fast_dev_run = bool(getattr(trainer, "fast_dev_run", False))
        if self.every_minutes is None or fast_dev_run or trainer.global_step == self._step:
            return  # the last: amid accumulated batches, whose gradients no checkpoint holds
        self._step = trainer.global_step
        due = time.monotonic() - self._saved >= 60 * self.every_minutes
        if trainer.world_size > 1:
            due = trainer.strategy.broadcast(due)  # all ranks write a checkpoint together, or none
        if due:
            before = self._last_global_step_saved
            self._save_last(trainer)
            self._last_global_step_saved = before  # else a validation at this very step would not be saved

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if not self._should_skip_saving_checkpoint(trainer):  # also where this step has been saved already
            self._save_last(trainer)

    def _save_last(self, trainer: pl.Trainer) -> None:
        self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        self._saved = time.monotonic()
