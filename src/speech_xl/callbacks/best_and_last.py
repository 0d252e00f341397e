"""BestAndLast: the checkpoint with the fewest errors, and last.ckpt at every validation, whatever its errors."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint


class BestAndLast(ModelCheckpoint):
    """Lightning's ModelCheckpoint writes last.ckpt only beside a new best one; a resumed run would go on from there.

    Arguments are ModelCheckpoint's.
    """

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if not self._should_skip_saving_checkpoint(trainer):  # also where this step has been saved already
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
