"""Steps whose loss or gradient isn't finite are not taken, and weights that aren't finite are never written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn.utils import get_total_norm

from speech_xl.storage.finite_tensors import nonfinite, tensors_of

NAMED_SESSIONS = 20  # of an error; the warnings before it name all


class DivergedError(RuntimeError):
    """Training can't go on from here: loss, gradient or weights are not finite. Commands end with status 1."""

    exit_status = 1


def check_finite(tensors: Mapping[str, Tensor], consequence: str) -> None:
    """Raise DivergedError, which names the first tensors that aren't finite and the consequence."""
    if names := nonfinite(tensors):
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise DivergedError(f"training diverged: {shown} hold NaN or infinity; {consequence}. {MENDS}")


MENDS = (
    "Lower the learning rates (model.trainable) or clip gradients (trainer.gradient_clip_val), train in a wider "
    "precision (trainer.precision: 32-true), and look at what was trained on last"
)


class FiniteSteps:
    """Mixed into `Phase`: divides gradients by label tokens, and takes a step only where loss and gradient are finite.

    All ranks decide together, with the reduction that counts label tokens and one wait for the device a step. Where a
    step isn't taken its gradients are dropped, so that every torch optimizer leaves weights, momenta and its own count
    of steps as they are; the schedule waits too. Lightning's `global_step` goes on, so that a run always ends.
    """

    max_skipped_steps: int
    _label_weight = 0.0  # of the batches since the last optimizer step
    _loss: Tensor | None = None  # their sum
    _sessions: list[str]  # their cuts
    _skipped: dict[int, list[str]]  # steps in a row that were not taken, with the sessions of each
    _waits = False  # whether the schedule stays where it is at this step

    if TYPE_CHECKING:  # what `Phase` brings
        trainer: pl.Trainer
        device: torch.device
        global_step: int

        def named_parameters(self) -> Iterable[tuple[str, Tensor]]: ...

    def count_batch(self, sessions: list[str], label_weight: float, loss: Tensor) -> None:
        """Add a batch to those that the next optimizer step is made of."""
        self._label_weight += label_weight
        self._sessions += sessions
        loss = loss.detach().float()
        self._loss = loss if self._loss is None else self._loss + loss

    def forget_batches(self) -> None:
        self._label_weight, self._loss, self._sessions = 0.0, None, []

    def on_train_start(self) -> None:
        self._skipped, self._waits = {}, False

    def on_train_epoch_start(self) -> None:
        self.forget_batches()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None]).to(self.device)
        loss = norm if self._loss is None else self._loss
        # Label tokens, and on how many ranks loss and gradient aren't finite.
        sums = torch.stack(
            [
                torch.tensor(self._label_weight, device=self.device),
                (~loss.isfinite()).float(),
                (~norm.isfinite()).float(),
            ]
        )
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        assert isinstance(sums, Tensor)
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad.div_(sums[0].clamp(min=1e-6).to(parameter.grad.dtype))
        bad_loss, bad_norm = (count > 0 for count in sums[1:].tolist())
        sessions = self._sessions
        self.forget_batches()
        self._waits = bad_loss or bad_norm
        if not self._waits:
            self._skipped = {}
            return
        for parameter in parameters:
            parameter.grad = None
        if bad_loss or not self._rescaled():
            self._skip(sessions, "loss" if bad_loss else "gradient norm")

    def _rescaled(self) -> bool:
        """Whether a gradient that overflowed was only scaled up too far for half precision (16-mixed): the scaler
        begins high, and goes down by itself until gradients fit."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return scaler is not None and scaler.get_scale() > 1.0

    def _skip(self, sessions: list[str], what: str) -> None:
        """Say which step isn't taken and what it was made of; raise DivergedError after `max_skipped_steps`."""
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            dist.all_gather_object(gathered, sessions)
            sessions = [id for part in gathered for id in part]
        step = self.global_step + 1
        self._skipped[step] = sessions
        rank_zero_warn(
            f"step {step}: the {what} is not finite, so the step is not taken ({len(self._skipped)} in a row of "
            f"model.max_skipped_steps={self.max_skipped_steps}); its sessions: {', '.join(sessions)}"
        )
        if len(self._skipped) < self.max_skipped_steps:
            return
        names = list(dict.fromkeys(id for ids in self._skipped.values() for id in ids))
        more = f" and {len(names) - NAMED_SESSIONS} more" if len(names) > NAMED_SESSIONS else ""
        first = min(self._skipped)
        raise DivergedError(
            f"training diverged: the {what} is not finite, {len(self._skipped)} steps in a row (steps {first} to "
            f"{step}, model.max_skipped_steps={self.max_skipped_steps}); nothing of them was learned or written. "
            f"{MENDS}; the sessions were {', '.join(names[:NAMED_SESSIONS])}{more}"
        )

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if not self._waits:
            super().lr_scheduler_step(scheduler, metric)  # type: ignore[misc]

    def on_validation_start(self) -> None:
        """Weights that aren't finite answer nothing, and must not be chosen as the best."""
        if self.trainer.state.fn == TrainerFn.FITTING:
            trained = {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}
            check_finite(trained, "the run stops before their validation")

    def check_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise DivergedError where weights or optimizer state to be written aren't finite."""
        tensors = dict(checkpoint["state_dict"]) | dict(
            tensors_of(checkpoint.get("optimizer_states", []), "optimizer_states")
        )
        check_finite(tensors, f"no checkpoint of step {self.global_step} is written")
