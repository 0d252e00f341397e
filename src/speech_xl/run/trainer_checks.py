"""The trainer's options looked at before anything is made: Lightning refuses some late, and some by a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry

from speech_xl.checks import number, whole

# Least whole number each may be; null where the option may be left open.
LEAST = {
    "num_nodes": 1,
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
    "reload_dataloaders_every_n_epochs": 0,
    "min_epochs": 0,
    "min_steps": 0,
}
SHARES = ("limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches")


def check_trainer(options: Mapping[str, Any]) -> None:
    """Raises ValueError with key, value and mend for an option that no training can have; absent ones aren't looked at.

    Names that Lightning itself refuses with a message of one line (precision, profiler, max_time) are left to it.
    """
    for name, least in LEAST.items():
        if (value := options.get(name)) is not None:
            whole(f"trainer.{name}", value, least=least)
    for name in ("max_steps", "max_epochs"):
        value = options.get(name)
        if value is not None and value != -1:
            _or(lambda name=name, value=value: whole(f"trainer.{name}", value, least=1), "-1 for no limit")
    for name in SHARES:
        _check_batches(f"trainer.{name}", options.get(name))
    if options.get("limit_train_batches") == 0:
        raise ValueError("trainer.limit_train_batches: got 0, which trains nothing; leave it out for all batches")
    _check_batches("trainer.limit_train_batches", options.get("limit_train_batches"))
    if options.get("val_check_interval") == 0:
        raise ValueError(
            "trainer.val_check_interval: got 0; give batches from 1 upwards, or a share of an epoch above 0 "
            "(trainer.limit_val_batches 0 validates never)"
        )
    _check_batches("trainer.val_check_interval", options.get("val_check_interval"))
    if options.get("gradient_clip_val") is not None:
        _or(lambda: number("trainer.gradient_clip_val", options["gradient_clip_val"], least=0), "null to clip nothing")
    _check_devices(options.get("devices"))
    for name, registry in (
        ("strategy", StrategyRegistry.available_strategies()),
        ("accelerator", [*AcceleratorRegistry.available_accelerators(), "gpu"]),
    ):
        value = options.get(name)
        if isinstance(value, str) and value not in ("auto", *registry):
            raise ValueError(f"trainer.{name}: got {value!r}; choose one of {', '.join(['auto', *sorted(registry)])}")


def _check_batches(key: str, value: Any) -> None:
    """Batches as a whole number, or a share of them as a float; times ("00:15:00:00") are Lightning's to read."""
    if isinstance(value, float):
        _or(lambda: number(key, value, least=0, most=1), "a whole number of batches")
    elif isinstance(value, int):
        whole(key, value)


def _check_devices(devices: Any) -> None:
    mend = "give how many from 1 upwards, -1 for all, a list of their numbers such as [0, 1], or auto"
    wrong = devices in (0, "0", "", []) or (isinstance(devices, int) and devices < -1)
    if isinstance(devices, str):
        numbers = devices.replace(" ", "").rstrip(",").split(",")
        wrong = wrong or devices not in ("auto", "-1") and not all(number.isdecimal() for number in numbers)
    if wrong:
        raise ValueError(f"trainer.devices: got {devices!r}; {mend}")


def _or(check: Any, other: str) -> None:
    try:
        check()
    except ValueError as error:
        raise ValueError(f"{error}, or {other}") from error
