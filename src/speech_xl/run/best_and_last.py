"""BestAndLast: the checkpoint with the fewest errors, and last.ckpt at every validation and every few minutes."""

import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from torch import Tensor

from speech_xl.run.signals import Stopped, StopSignals

# Counts of a validation loop that is yet to begin, as Lightning resumes it.
UNBEGUN = {"ready": 0, "completed": 0, "started": 0, "processed": 0}
BEGUN = {"ready": 1, "completed": 0, "started": 1, "processed": 0}


class BestAndLast(ModelCheckpoint):
    """Lightning's ModelCheckpoint writes last.ckpt only beside a new best one; a resumed run would go on from there.

    The last step is validated and kept, whatever lies between validations. Where a signal asks for it, last.ckpt is
    written after the running optimizer step, and training ends with `Stopped`; amid a validation it is written at once,
    and the resumed run validates first. (On several ranks the validation is ended before: their batches differ.)

    Args:
        every_minutes: last.ckpt is written so often too, whatever lies between validations; null: never.

    All others are ModelCheckpoint's.
    """

    def __init__(self, *args: Any, every_minutes: float | None = 10.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if every_minutes is not None and not every_minutes >= 0:
            raise ValueError(f"checkpoint.every_minutes={every_minutes}: minutes from 0 upwards, or null")
        self.every_minutes, self._saved, self._step = every_minutes, 0.0, 0
        self.signals: StopSignals | None = None  # set by the command line
        self._last_step = 0  # of last.ckpt
        self._stop_due = self._amid_validation = False
        self._amid_step = False  # batches are accumulated, whose gradients no checkpoint holds

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._saved, self._step = time.monotonic(), trainer.global_step
        self._last_step, self._stop_due, self._amid_step = trainer.global_step, False, False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if _fast_dev_run(trainer):
            return
        self._stop_due |= trainer.should_stop
        self._amid_step = trainer.global_step == self._step
        if self._amid_step:
            trainer.should_stop = False  # not before the step
            return
        self._step = trainer.global_step
        # Lightning validates once more where it is told to stop, so that the last steps are not left unmeasured.
        trainer.should_stop = self._stop_due or 0 < trainer.max_steps <= trainer.global_step
        due = self._saved == 0.0 or self._minutes_are_over()
        due, signum = self._agreed(trainer, due)
        if due or signum or trainer.should_stop:
            before = self._last_global_step_saved
            self._save_last(trainer)
            if trainer.enable_validation:
                self._last_global_step_saved = before  # else a validation at this very step would not be saved
        if signum:
            raise Stopped(signum, trainer.global_step)

    def _minutes_are_over(self) -> bool:
        return self.every_minutes is not None and time.monotonic() - self._saved >= 60 * self.every_minutes

    def _agreed(self, trainer: pl.Trainer, due: bool = False) -> tuple[bool, int]:
        """Whether last.ckpt is due, and the signal that asks to stop (0: none), on any rank."""
        signum = self.signals.signum if self.signals else 0
        if trainer.world_size > 1:
            wanted = torch.tensor([int(due), signum], device=trainer.strategy.root_device)
            wanted = trainer.strategy.reduce(wanted, reduce_op="max")
            assert isinstance(wanted, Tensor)
            due, signum = bool(wanted[0]), int(wanted[1])
        return due, signum

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        signum = self.signals.signum if self.signals else 0
        if signum and trainer.world_size == 1 and not self._amid_step and self._fits(trainer):
            self._amid_validation = True
            self._save_last(trainer)
            raise Stopped(signum, trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if self._amid_step:
            self._saved = 0.0  # last.ckpt is due after the step that the validation fell into
            return
        if not self._should_skip_saving_checkpoint(trainer):  # also where this step has been saved already
            self._save_last(trainer)
        if self._fits(trainer) and (signum := self._agreed(trainer)[1]):
            raise Stopped(signum, self._last_step)

    def _fits(self, trainer: pl.Trainer) -> bool:
        """Whether this validation is one of a training, which a checkpoint can go on with."""
        return trainer.state.fn == "fit" and not trainer.sanity_checking and not _fast_dev_run(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if self._last_step != trainer.global_step and not _fast_dev_run(trainer):
            self._save_last(trainer)

    def _save_last(self, trainer: pl.Trainer) -> None:
        self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        self._saved, self._last_step = time.monotonic(), trainer.global_step

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._amid_validation:  # what it has measured so far is lost: it is to begin anew
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress.update(total=dict(BEGUN), current=dict(UNBEGUN), is_last_batch=False)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        for timer in (one for one in getattr(trainer, "callbacks", []) if isinstance(one, Timer)):
            checkpoint["callbacks"].pop(timer.state_key, None)  # trainer.max_time is of this run, not of those before


def _fast_dev_run(trainer: pl.Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))  # which Lightning's type lacks
