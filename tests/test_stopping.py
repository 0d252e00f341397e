"""Trainings that end early, by signals, trainer.max_time or odd numbers of steps: what was trained is kept."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, Timer
from torch.utils.data import DataLoader

from speech_xl.run.best_and_last import BestAndLast
from speech_xl.run.ending import KeepHandlers, unfinished_text
from speech_xl.run.signals import ONE_PRESS, Stopped, StopSignals, run_command

ROOT = Path(__file__).parents[1]


class Counting(pl.LightningModule):
    """One weight; does `act` at a place, such as ("step", 3) or ("validation", 2), counted from 1."""

    def __init__(self, place=None, act=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.place, self.act, self.validated = place, act, []

    def training_step(self, batch, index):
        if self.place == ("step", self.trainer.global_step + 1) and self.act:
            self.act()
        return (self.weight - index - 1.0).square().mean()  # the place in the epoch is the data, and is resumed

    def validation_step(self, batch, index):
        if self.place == ("validation", self.trainer.global_step) and self.act:
            self.act()
        self.validated.append((self.trainer.global_step, index))

    def on_validation_epoch_end(self):
        self.log("val/errors", 1.0 / (1 + self.trainer.global_step))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)


def fit(folder, model, steps=6, resume=None, callbacks=(), signals=None, **options):
    """Train over twelve batches an epoch with a validation of three batches at every fourth."""
    keeps = BestAndLast(
        folder,
        "step={step}",
        monitor="val/errors",
        save_last=True,
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )
    keeps.signals = signals
    options = {"val_check_interval": 4, "check_val_every_n_epoch": None} | options
    handlers = [KeepHandlers(signals)] if signals else []
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=[keeps, *handlers, *callbacks],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    data = DataLoader(torch.arange(12.0)), DataLoader(torch.ones(3))
    trainer.fit(model, *data, ckpt_path=resume, weights_only=True)
    return trainer


def last(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 3}])
def test_the_last_steps_are_kept_and_validated(tmp_path, options):
    model = Counting()
    trainer = fit(tmp_path, model, steps=7, **options)
    assert last(tmp_path)["global_step"] == trainer.global_step == 7
    assert model.validated[-3:] == [(7, 0), (7, 1), (7, 2)]
    assert trainer.checkpoint_callback.best_model_path.endswith("step=7.ckpt")


def test_the_last_steps_are_kept_without_validations_too(tmp_path):
    fit(tmp_path, Counting(), steps=7, limit_val_batches=0)
    assert last(tmp_path)["global_step"] == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("place", [("step", 3), ("step", 4), ("validation", 4)])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_signal_ends_with_a_checkpoint_that_goes_on_as_if_nothing_had_been(tmp_path, number, place, accumulate):
    options = {"accumulate_grad_batches": accumulate, "val_check_interval": 4 * accumulate}
    whole = Counting()
    fit(tmp_path / "whole", whole, **options)
    before = signal.getsignal(number)
    signals, stopped = StopSignals(), Counting(place, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Stopped) as stop, signals:
        fit(tmp_path / "stopped", stopped, signals=signals, **options)
    assert signal.getsignal(number) is before
    assert stop.value.code == 128 + number and stop.value.step == place[1]
    kept = last(tmp_path / "stopped")
    assert kept["global_step"] == place[1]
    resumed = Counting()
    fit(tmp_path / "stopped", resumed, resume=tmp_path / "stopped" / "last.ckpt", **options)
    assert resumed.weight.equal(whole.weight)
    if place[0] == "validation":
        assert resumed.validated == whole.validated, "the validation that was broken off is made anew, from its begin"


def test_before_training_a_signal_ends_at_once():
    with pytest.raises(Stopped) as stop, StopSignals():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert stop.value.code == 143 and stop.value.step is None


def test_a_second_interrupt_does_not_wait_and_one_press_counts_once():
    signals = StopSignals()
    with pytest.raises(Stopped) as stop, signals:
        signals.wait()
        for _ in range(2):  # as a terminal and a parent send it
            os.kill(os.getpid(), signal.SIGINT)
        assert signals.signum == signal.SIGINT
        time.sleep(1.2 * ONE_PRESS)
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.value.code == 130


def test_a_worker_leaves_signals_to_its_parent():
    with StopSignals():
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.fixture(autouse=True)
def a_foreground_job():
    """A shell's background jobs ignore Ctrl-C, and so would these tests in one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


CHILD = (
    "import os, signal, sys, time\nsignal.signal({n}, lambda *_: sys.exit(128 + {n}))\nopen({p!r}, 'w')\ntime.sleep(60)"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_command_run_by_another_gets_its_signals(tmp_path, number):
    started = tmp_path / "started"
    code = CHILD.format(n=int(number), p=str(started))
    parent = os.getpid()
    waits = f"while [ ! -e {started} ]; do sleep 0.05; done; kill -{int(number)} {parent}"
    with subprocess.Popen(["bash", "-c", waits]):
        assert run_command([sys.executable, "-c", code]) == 128 + number
    assert run_command([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


# trainer.max_time


def test_max_time_stops_between_steps_not_amid_accumulated_batches(tmp_path):
    class Used(Timer):
        """A time that is used up with the fourth batch, amid those of the second step."""

        batches = 0

        def on_train_batch_end(self, *args):
            self.batches += 1
            super().on_train_batch_end(*args)

        def time_elapsed(self, stage="train"):
            return float(self.batches)

    trainer = fit(tmp_path, Counting(), steps=1000, callbacks=[Used({"seconds": 4})], accumulate_grad_batches=3)
    assert last(tmp_path)["global_step"] == trainer.global_step == 2
    assert last(tmp_path)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == 6


def test_the_time_of_earlier_runs_is_not_counted(tmp_path):
    fit(tmp_path, Counting(), steps=4, callbacks=[Timer({"hours": 1})])
    saved = last(tmp_path)
    key = next(key for key in saved["callbacks"] if key.startswith("Timer"))
    saved["callbacks"][key]["time_elapsed"]["train"] = 4000.0
    torch.save(saved, tmp_path / "last.ckpt")
    trainer = fit(tmp_path, Counting(), steps=8, resume=tmp_path / "last.ckpt", callbacks=[Timer({"hours": 1})])
    assert trainer.global_step == 8


def ended(steps, limit, *callbacks, epochs=None):
    return SimpleNamespace(
        global_step=steps, max_steps=limit, current_epoch=1, max_epochs=epochs, callbacks=list(callbacks)
    )


def test_only_the_limit_that_was_asked_for_finishes_a_stage():
    timer, early = Timer({"hours": 1}), EarlyStopping("x")
    assert unfinished_text(ended(10, 10, timer), "stage1") is None
    assert unfinished_text(ended(10, -1, timer, epochs=1), "stage1") is None
    text = unfinished_text(ended(7, 10, timer), "stage1")
    assert text and "stage1 isn't finished: stopped by trainer.max_time at step 7 of 10" in text
    assert "--ckpt_path last" in text
    assert unfinished_text(ended(7, 10), "stage1"), "whoever stopped it"
    early.stopping_reason = type(early.stopping_reason).PATIENCE_EXHAUSTED
    assert unfinished_text(ended(7, 10, early), "stage1") is None, "asked for as well"
