"""BestAndLast: a worse validation leaves the best checkpoint alone and is still where a resumed run goes on."""

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from speech_xl.run.best_and_last import BestAndLast

ERRORS = [0.5, 0.2, 0.9, 0.4]  # of the validations in turn


class Given(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.validations = torch.nn.Parameter(torch.zeros(1)), 0

    def training_step(self, batch, _):
        return (self.weight - batch).square().mean()

    def validation_step(self, batch, _):
        pass

    def on_validation_epoch_end(self):
        self.log("val/errors", ERRORS[self.validations])
        self.validations += 1

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def silent(callback, **options):
    """A trainer with this callback that says and logs nothing."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(accelerator="cpu", callbacks=[callback], **quiet, **options)


@pytest.mark.parametrize("every_minutes", [None, 0])
def test_last_is_of_the_latest_validation_and_best_of_the_best(tmp_path, every_minutes):
    options = {"monitor": "val/errors", "save_last": True, "auto_insert_metric_name": False}
    callback = BestAndLast(tmp_path, "step={step}", every_minutes=every_minutes, **options)
    every_step = {"val_check_interval": 1, "check_val_every_n_epoch": None, "num_sanity_val_steps": 0}
    trainer = silent(callback, max_steps=4, **every_step)
    seen = []
    save = trainer.save_checkpoint
    trainer.save_checkpoint = lambda path, *rest: (
        seen.append((trainer.global_step, str(path)[-9:])) or save(path, *rest)
    )
    trainer.fit(Given(), DataLoader(torch.ones(8)), DataLoader(torch.ones(1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "step=2.ckpt"]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 4


@pytest.mark.parametrize(("every_minutes", "wanted"), [(0, [1, 2, 3]), (60, []), (None, [])])
def test_last_is_written_between_validations_but_not_amid_accumulated_batches(tmp_path, every_minutes, wanted):
    callback = BestAndLast(tmp_path, monitor="val/errors", save_last=True, every_minutes=every_minutes)
    trainer = silent(callback, max_steps=3, accumulate_grad_batches=2, limit_val_batches=0)
    seen = []
    trainer.save_checkpoint = lambda path, *_: seen.append(trainer.global_step)
    trainer.fit(Given(), DataLoader(torch.ones(8)))
    assert seen[: len(wanted)] == wanted and len(seen) - len(wanted) <= 1  # Lightning may save once more at the end


def test_minutes_below_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="every_minutes=-1"):
        BestAndLast(tmp_path, every_minutes=-1)
