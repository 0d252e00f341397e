"""A resumed run is the same run: its dropout and masks, and its optimizer and schedule, taken as given or refused."""

import functools
import math
import random
import warnings

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from speech_xl.extensions.answer_noise import AnswerNoise
from speech_xl.extensions.ctc import PosteriorAdapter
from speech_xl.model import Lora
from speech_xl.phases import SemanticAlignment
from tests.phases.parts import Given, batch, fit, phase, weights

NAMES = ("one", "two", "three", "four")
ADAMW = functools.partial(torch.optim.AdamW, weight_decay=0.1)
RATES = {"adapter.*": 1e-2, "llm.*lora_*": 1e-1}


class Watch(pl.Callback):
    """Saves a checkpoint after a step, draws from every generator as a validation might, and notes learning rates."""

    def __init__(self, path=None, step=2):
        self.path, self.step, self.rates = path, step, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.path and trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
        _ = torch.rand(3), random.random(), np.random.rand()


def made(folders, dropout=0.0, **options):
    options = {"trainable": RATES, "optimizer": ADAMW, "scheduler": "cosine"} | options
    drawn = (
        {"adapter": PosteriorAdapter(stride=4, dropout=dropout, channel_dropout=dropout, time_mask=dropout)}
        if dropout
        else {}
    )
    lora, noise = Lora(r=2, alpha=4, dropout=dropout), [AnswerNoise(dropout)]
    return phase(SemanticAlignment, folders, lora=lora, extensions=noise, cache_frames=False, **drawn, **options)


def heard(folder):
    rows = [(name, 0.3 + 0.1 * n, [("say", "ada said that bob was late again.")]) for n, name in enumerate(NAMES)]
    return [batch(folder, row) for row in rows]


def halfway(folders, folder, steps=4, **options):
    """The checkpoint after two of four steps."""
    fit(made(folders, **options), Given(heard(folder), folder), steps, callbacks=[Watch(folder / "half.ckpt")])
    return folder / "half.ckpt"


def resumed(folders, folder, steps=4, **options):
    """A new phase that goes on from halfway with the batches that are left, and the rates it took."""
    watch, model = Watch(), made(folders, **options)
    fit(model, Given(heard(folder)[2:] * 2, folder), steps, callbacks=[watch], ckpt_path=folder / "half.ckpt")
    return model, watch.rates


@pytest.mark.parametrize("accumulate", [1, 2])
def test_dropout_and_masks_go_on_as_if_never_stopped(folders, tmp_path, accumulate):
    batches, steps, path = heard(tmp_path), 4 // accumulate, tmp_path / "half.ckpt"
    options = {"accumulate_grad_batches": accumulate}
    whole = made(folders, dropout=0.3)
    fit(whole, Given(batches, tmp_path), steps, callbacks=[Watch(path, steps // 2)], **options)
    rest = made(folders, dropout=0.3)
    fit(rest, Given(batches[2:], tmp_path), steps, ckpt_path=path, **options)
    for name, value in weights(whole).items():
        assert value.equal(weights(rest)[name]), name
    without = made(folders)
    fit(without, Given(batches, tmp_path), steps, **options)
    same = [value.equal(weights(without)[name]) for name, value in weights(whole, "backbone.llm").items()]
    assert not all(same), "nothing was dropped"


def test_the_same_command_changes_nothing_and_says_nothing(folders, tmp_path):
    halfway(folders, tmp_path)
    whole = made(folders)
    watch = Watch()
    fit(whole, Given(heard(tmp_path), tmp_path), 4, callbacks=[watch])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rest, rates = resumed(folders, tmp_path)
    assert not [w for w in said if "--ckpt_path" in str(w.message)]
    assert rates == watch.rates[2:]
    for name, value in weights(whole).items():
        assert value.equal(weights(rest)[name]), name


@pytest.mark.parametrize(
    "trainable",
    [
        {"llm.*lora_*": 1e-1, "adapter.*": 1e-2},
        {"adapter.context.*": 1e-2, "llm.*lora_*": 1e-1, "adapter.*": 1e-2},
    ],
)
def test_patterns_in_another_order_are_matched_by_name(folders, tmp_path, trainable):
    halfway(folders, tmp_path)
    plain, _ = resumed(folders, tmp_path)
    other, _ = resumed(folders, tmp_path, trainable=trainable)
    for name, value in weights(plain).items():
        assert value.equal(weights(other)[name]), name


def test_learning_rates_and_schedule_given_at_resume_are_taken(folders, tmp_path):
    halfway(folders, tmp_path)
    rates = {"adapter.*": 4e-2, "llm.*lora_*": 1e-1}
    with pytest.warns(UserWarning, match=r"model\.trainable's rate of adapter\..* was 0\.01 and is 0\.04"):
        _, taken = resumed(folders, tmp_path, trainable=rates)
    assert taken == [
        [pytest.approx(rate * (1 + math.cos(math.pi * step / 4)) / 2) for rate in rates.values()] for step in (2, 3)
    ]
    with pytest.warns(UserWarning, match="command: scheduler was cosine and is constant$"):
        _, taken = resumed(folders, tmp_path, scheduler="constant")
    assert taken == [list(RATES.values())] * 2
    with pytest.warns(UserWarning, match="command: max_steps was 4 and is 6$"):
        _, taken = resumed(folders, tmp_path, steps=6)
    assert [rates[0] for rates in taken] == [
        pytest.approx(1e-2 * (1 + math.cos(math.pi * step / 6)) / 2) for step in (2, 3, 4, 5)
    ]
    with pytest.warns(UserWarning, match="command: warmup_steps was 0 and is 3$"):
        _, taken = resumed(folders, tmp_path, warmup_steps=3)
    assert taken[0][0] == pytest.approx(1e-2 * 2 / 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": torch.optim.NAdam}, r"model\.optimizer was torch\.optim\.adamw\.AdamW and is torch.*NAdam"),
        ({"optimizer": torch.optim.AdamW}, r"model\.optimizer's weight_decay was 0\.1 and is 0\.01"),
        (
            {"trainable": {"adapter.*": 1e-2}},
            r"trainable: llm\..*lora_A.* and \d+ more was trained and would not",
        ),
        (
            {"trainable": RATES | {"encoder.*": 0.1}},
            r"trainable: encoder\..* was not trained and would",
        ),
    ],
)
def test_another_optimizer_or_other_parameters_are_refused(folders, tmp_path, options, message):
    halfway(folders, tmp_path)
    with pytest.raises(ValueError, match=rf"--ckpt_path: .*{message}.*--init_from CHECKPOINT"):
        resumed(folders, tmp_path, **options)
