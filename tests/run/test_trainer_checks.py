"""The trainer's options are refused with key, value and mend before anything is made."""

import inspect
import math

import pytest
from lightning.pytorch import Trainer

from speech_xl.run.trainer_checks import LEAST, SHARES, check_trainer


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("accumulate_grad_batches", [0, -1, 1.5, True]),
        ("num_nodes", [0, -1]),
        ("check_val_every_n_epoch", [0, -1]),
        ("max_steps", [0, -2, 1.5]),
        ("max_epochs", [0, -2]),
        ("min_steps", [-1]),
        ("val_check_interval", [0, 0.0, -1, -0.5, 1.5, math.nan, math.inf]),
        ("limit_train_batches", [0, 0.0, -1, 1.5, math.nan]),
        ("limit_val_batches", [-1, 1.5, math.nan]),
        ("overfit_batches", [-1, 1.5]),
        ("gradient_clip_val", [-1, math.nan, math.inf]),
        ("devices", [0, "0", -2, [], "", "two", "0;1"]),
        ("strategy", ["magic", ""]),
        ("accelerator", ["quantum"]),
        ("num_sanity_val_steps", [-2, 0.5]),
    ],
)
def test_what_no_training_can_have(key, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"^trainer\.{key}: got .*; (give|choose|leave)|trains nothing"):
            check_trainer({key: value})


def test_what_a_training_may_have():
    defaults = {name: p.default for name, p in inspect.signature(Trainer).parameters.items()}
    check_trainer(defaults)
    assert {*LEAST, *SHARES} <= defaults.keys()
    for more in (
        {"max_steps": 5, "max_epochs": -1, "val_check_interval": 0.5, "devices": [0, 1], "strategy": "ddp"},
        {"devices": "0, 1", "accelerator": "gpu", "val_check_interval": 200, "limit_val_batches": 0},
        {"devices": -1, "val_check_interval": "00:00:10:00", "gradient_clip_val": 1.0, "limit_train_batches": 0.1},
    ):
        check_trainer(more)
