"""RatioCurriculum: which compression ratios training draws from, by step or by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from speech_xl.callbacks.scalars import Cadence, log_scalars, tensorboard_writers
from speech_xl.checks import whole
from speech_xl.model.ratios import check_ratios


@dataclass
class RatioStage:
    """One stage of the curriculum.

    Args:
        start: The step or epoch (RatioCurriculum's `unit`) at which the stage begins; the first stage begins at 0.
        ratios: The ratios drawn from during the stage; 1 is uncompressed.
    """

    start: int
    ratios: list[int]


@runtime_checkable
class DrawsRatios(Protocol):
    """A phase that draws its ratios from a set."""

    def draw_from(self, ratios: Sequence[int]) -> None: ...


class RatioCurriculum(pl.Callback):
    """Raises the compression ratios stage by stage: tells the phase what to draw from before every epoch and batch.

    The stage follows from the step (or epoch) alone, so a resumed run is in the right stage by construction. What is
    kept in the checkpoint is which stage was announced, and the schedule, to say so when it has been changed since.

    Args:
        schedule: The stages in rising order of `start`.
        unit: What `start` counts: optimizer steps ("step") or epochs ("epoch"), both from 0.
        every_n_steps: Scalars are written at every change and each so many steps.
    """

    def __init__(
        self, schedule: list[RatioStage], unit: Literal["step", "epoch"] = "step", every_n_steps: int = 50
    ) -> None:
        if unit not in ("step", "epoch"):
            raise ValueError(f"RatioCurriculum.unit: got {unit!r}; use 'step' or 'epoch'")
        self.schedule = _check_schedule(schedule)
        self.unit = unit
        self._cadence = Cadence(every_n_steps, "RatioCurriculum")
        self._announced: int | None = None  # index of the stage last announced

    def stage_at(self, position: int) -> int:
        """Index of the stage in force at step or epoch `position`."""
        return max(index for index, stage in enumerate(self.schedule) if stage.start <= position)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not isinstance(pl_module, DrawsRatios):
            raise ValueError(
                "trainer.callbacks: RatioCurriculum needs a phase that compresses, and "
                f"{type(pl_module).__name__} doesn't; use the phase SSTCompression or take the callback out"
            )
        self._apply(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._apply(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._apply(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._announced is not None and self._cadence.last != trainer.global_step:
            log_scalars(trainer, self._scalars(self._announced), trainer.global_step)  # the curve's right end

    def _apply(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        step = trainer.global_step
        index = self.stage_at(step if self.unit == "step" else trainer.current_epoch)
        assert isinstance(pl_module, DrawsRatios)  # `on_train_start` refuses any other
        pl_module.draw_from(self.schedule[index].ratios)
        if index != self._announced:
            before, self._announced = self._announced, index
            self._announce(trainer, before, index)
        elif self._cadence.due(step):
            log_scalars(trainer, self._scalars(index), step)

    def _announce(self, trainer: pl.Trainer, before: int | None, index: int) -> None:
        step = trainer.global_step
        if before is not None and self._cadence.last is not None and self._cadence.last < step - 1:
            # TensorBoard joins points by straight lines: the old value just before the change makes it a step.
            log_scalars(trainer, self._scalars(before), step - 1)
        log_scalars(trainer, self._scalars(index), step)
        self._cadence.last = step
        names = ", ".join(str(ratio) for ratio in self.schedule[index].ratios)
        text = f"stage {index + 1} of {len(self.schedule)}, step {step}, epoch {trainer.current_epoch}: ratios {names}"
        if before is not None:
            text += f" (before: {', '.join(str(ratio) for ratio in self.schedule[before].ratios)})"
        for writer in tensorboard_writers(trainer):
            writer.add_text("curriculum", text, global_step=step)
        rank_zero_info(f"Curriculum {text}")

    def _scalars(self, index: int) -> dict[str, float]:
        ratios = self.schedule[index].ratios
        return {
            "curriculum/max_ratio": float(max(ratios)),
            "curriculum/stage": float(index),
            "curriculum/n_ratios": float(len(set(ratios))),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"announced": self._announced, "unit": self.unit, "schedule": self._plain_schedule()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if (state_dict["unit"], state_dict["schedule"]) == (self.unit, self._plain_schedule()):
            self._announced = state_dict["announced"]
        else:  # announced anew: the index means another stage now
            rank_zero_warn(
                f"RatioCurriculum: the checkpoint was trained with {state_dict['schedule']} by {state_dict['unit']}, "
                f"and this run goes on with {self._plain_schedule()} by {self.unit}."
            )

    def _plain_schedule(self) -> list[list[Any]]:
        return [[stage.start, list(stage.ratios)] for stage in self.schedule]


def _check_schedule(schedule: list[RatioStage]) -> list[RatioStage]:
    key = "RatioCurriculum.schedule"
    if not schedule:
        raise ValueError(f"{key}: the list is empty; give at least one stage, for example {{start: 0, ratios: [2]}}")
    checked: list[RatioStage] = []
    for index, stage in enumerate(schedule):
        start = stage.start
        whole(f"{key}[{index}].start", start)
        if index == 0 and start != 0:
            raise ValueError(f"{key}[0].start: got {start}; the first stage must begin at 0")
        if index and start <= checked[-1].start:
            raise ValueError(
                f"{key}[{index}].start: got {start} after {checked[-1].start}; give the stages in rising order of start"
            )
        checked.append(RatioStage(start, list(check_ratios(stage.ratios, f"{key}[{index}].ratios"))))
    return checked
