"""Optimizer and schedule of a phase, and what of them a resumed run takes from its command or refuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from speech_xl.phases.trainable import rounded_away

UNENDING = ("constant", "constant_with_warmup")  # schedules that need not know when training ends
# Those of transformers' schedules that need no further arguments: each a function of the step, torch's LambdaLR.
SCHEDULES = ("linear", "cosine", "cosine_with_restarts", "polynomial", "inverse_sqrt", *UNENDING)
SETUP = "training"  # the checkpoint's key of what was trained with
TAKEN = ("scheduler", "warmup_steps", "max_steps")  # the schedule is a function of these and of the step reached
KERNELS = ("foreach", "fused", "capturable", "differentiable")  # how an optimizer computes, not what


class ResumableSchedule:
    """Mixed into `Phase`: its optimizer and schedule, kept as a plain record in every checkpoint.

    A resumed run goes on as its command says, or not at all. Learning rates, scheduler, warmup_steps and max_steps are
    taken: a rate is the base rate times a function of the step, so that from the step reached on it is what the new
    settings make it. Another set of trained parameters or another optimizer is refused, because the momenta are of
    the one before. Groups are matched by the names of their parameters, not by their order.
    """

    trainable: dict[str, float]
    groups: list[dict[str, Any]]
    scheduler: str
    warmup_steps: int
    _rates_anew = False  # whether rates are to be set by this command's schedule once the checkpoint is loaded

    if TYPE_CHECKING:  # what `Phase` brings
        trainer: pl.Trainer
        optimizer: Any

        def named_parameters(self) -> Iterable[tuple[str, Tensor]]: ...

    def configure_optimizers(self) -> Any:
        # Here, because `trainer.precision: bf16-true` changes them last.
        if warning := rounded_away(self):  # pyright: ignore[reportArgumentType]  (the phase is a module)
            rank_zero_warn(warning)
        optimizer = self._optimizer()
        steps = self.trainer.estimated_stepping_batches if self.trainer.max_steps < 0 else self.trainer.max_steps
        known = int(steps) if steps >= 0 and isfinite(steps) else None
        if known is None and self.scheduler not in UNENDING:
            raise ValueError(
                f"model.scheduler={self.scheduler} must know when training ends, and an epoch's batches aren't counted "
                f"before they are made: set trainer.max_steps, or a scheduler of {', '.join(UNENDING)}"
            )
        schedule = get_scheduler(
            self.scheduler, optimizer, num_warmup_steps=self.warmup_steps, num_training_steps=known
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _optimizer(self) -> torch.optim.Optimizer:
        return self.optimizer([{"params": g["params"], "lr": g["lr"]} for g in self.groups])

    def training_setup(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """What is trained, and with what, as plain data: learning rates by parameter in the optimizer's order."""
        names = {id(parameter): name.removeprefix("backbone.") for name, parameter in self.named_parameters()}
        return {
            "rates": {names[id(p)]: float(g["lr"]) for g in self.groups for p in g["params"]},
            "optimizer": f"{type(optimizer).__module__}.{type(optimizer).__qualname__}",
            "arguments": {k: str(v) for k, v in sorted(optimizer.defaults.items()) if k not in ("lr", *KERNELS)},
            "scheduler": self.scheduler,
            "warmup_steps": self.warmup_steps,
            "max_steps": self.trainer.max_steps,
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[SETUP] = self.training_setup(self.trainer.optimizers[0])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._rates_anew = False
        if self.trainer.state.fn != TrainerFn.FITTING or "optimizer_states" not in checkpoint:
            return
        if SETUP not in checkpoint:
            rank_zero_warn("the checkpoint is of an earlier version: learning rates and optimizer settings are its own")
            return
        before, now = checkpoint[SETUP], self.training_setup(self._optimizer())
        check_same(before, now)
        changed = changes(before, now)
        if changed:
            rank_zero_warn(f"--ckpt_path: from this step on the schedule is that of the command: {', '.join(changed)}")
        sizes = [len(group["params"]) for group in self.groups]
        state = checkpoint["optimizer_states"][0]
        regrouped = [len(group["params"]) for group in state["param_groups"]] != sizes
        if changed or regrouped or list(before["rates"]) != list(now["rates"]):
            regroup(state, list(before["rates"]), list(now["rates"]), sizes)
            rates = [float(group["lr"]) for group in self.groups]
            for group, rate in zip(state["param_groups"], rates, strict=True):
                group["initial_lr"] = rate
            for schedule in checkpoint.get("lr_schedulers", []):
                schedule |= {"base_lrs": rates, "lr_lambdas": [None] * len(rates)}
            self._rates_anew = True

    def on_train_start(self) -> None:
        super().on_train_start()  # type: ignore[misc]
        for config in self.trainer.lr_scheduler_configs if self._rates_anew else ():
            schedule = config.scheduler
            assert isinstance(schedule, LambdaLR)  # as all of SCHEDULES
            factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
            rates = [base * share for base, share in zip(schedule.base_lrs, factors, strict=True)]
            for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
            schedule._last_lr = rates


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of the schedule is not as it was, each with both values."""
    was, rates = before["rates"], now["rates"]
    found = [f"model.trainable's rate of {name} was {was[name]:g} and is {rates[name]:g}" for name in rates]
    found = [text for name, text in zip(rates, found, strict=True) if was[name] != rates[name]]
    found = found[:2] + ([f"{len(found) - 2} more rates"] if len(found) > 2 else [])
    keys = ("scheduler", "warmup_steps") if now["scheduler"] in UNENDING else TAKEN  # without an end none is another
    return found + [f"{key} was {before[key]} and is {now[key]}" for key in keys if before[key] != now[key]]


def check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ValueError, with key and both values, where momenta of one training don't fit another."""
    wrong = []
    if before["optimizer"] != now["optimizer"]:
        wrong.append(f"model.optimizer was {before['optimizer']} and is {now['optimizer']}")
    else:
        was, given = before["arguments"], now["arguments"]
        wrong += [
            f"model.optimizer's {key} was {was.get(key)} and is {given.get(key)}"
            for key in sorted({*was, *given})
            if was.get(key) != given.get(key)
        ]
    for names, what in (
        (sorted(set(before["rates"]) - set(now["rates"])), "was trained and would not be"),
        (sorted(set(now["rates"]) - set(before["rates"])), "was not trained and would be"),
    ):
        if names:
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            wrong.append(f"model.trainable: {', '.join(names[:2])}{more} {what}")
    if wrong:
        raise ValueError(
            f"--ckpt_path: a resumed run goes on with what it began with, and {'; '.join(wrong)}. Give the former, or "
            "begin a new run from its weights: --init_from CHECKPOINT in place of --ckpt_path"
        )


def regroup(state: dict[str, Any], before: list[str], now: list[str], sizes: list[int]) -> None:
    """Bring an optimizer's state dict, in place, from parameters named `before` into groups of `sizes` named `now`."""
    place = {name: number for number, name in enumerate(before)}
    options = {number: group for group in state["param_groups"] for number in group["params"]}
    state["state"] = {new: state["state"][place[name]] for new, name in enumerate(now) if place[name] in state["state"]}
    groups, start = [], 0
    for size in sizes:
        first = options[place[now[start]]]
        groups.append({**first, "params": list(range(start, start + size))})
        start += size
    state["param_groups"] = groups
