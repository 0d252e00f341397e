"""Lightning callbacks that drilled runs are given: they note what happens, event by event, or put a fault in."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl


class Losses(pl.Callback):
    """Appends the loss of every batch to a file.

    Args:
        path: the file, a number a line.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        with open(self.path, "a") as file:
            file.write(f"{_loss(outputs):.4g}\n")


class Vanish(pl.Callback):
    """Deletes all audio files of a folder when a step begins.

    Args:
        folder: where they lie.
        step: before which optimizer step, from 0.
    """

    def __init__(self, folder: str, step: int = 1) -> None:
        self.folder, self.step = folder, step

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            for file in Path(self.folder).glob("*.flac"):
                file.unlink()


class Poison(pl.Callback):
    """Corrupts the batch of one step.

    Args:
        step: which optimizer step, from 0.
        how: nan: its frames or audio are not numbers; memory: the allocator finds no memory in it.
    """

    def __init__(self, step: int, how: Literal["nan", "memory"]) -> None:
        self.step, self.how = step, how

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step != self.step:
            return
        if self.how == "memory":
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        for rows in (batch.frames, batch.audio):
            rows[:] = [None if row is None else row * float("nan") for row in rows]


class Watcher(pl.Callback):
    """Writes every event of a run to a file as it happens, a JSON object a line, so that a drill can wait for one.

    Events: train_begin, batch (what was trained on), validation_begin, validation_batch, validation_end, save_begin and
    save_end (of a checkpoint). Each has the optimizer `step` and the process's `pid`. Rank 1 writes to a file beside,
    `NAME.rank1.jsonl`.

    Args:
        path: the file, appended to.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._into = 0

    def note(self, event: str, **facts: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"event": event, "pid": os.getpid(), "time": time.time(), **facts}) + "\n")

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if trainer.global_rank:
            self.path = self.path.with_suffix(f".rank{trainer.global_rank}.jsonl")
        # Whatever writes the checkpoints of this run, seen from the first byte to the last.
        writer = trainer.strategy.checkpoint_io
        plain = writer.save_checkpoint

        def save(checkpoint: dict[str, Any], path: Any, *args: Any, **options: Any) -> None:
            self.note("save_begin", step=checkpoint.get("global_step"), file=Path(path).name)
            plain(checkpoint, path, *args, **options)
            self.note("save_end", step=checkpoint.get("global_step"), file=Path(path).name)

        writer.save_checkpoint = save

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.note("train_begin", step=trainer.global_step)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._into = trainer.global_step + 1  # the optimizer step that this batch goes into

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        turns = [[(turn.task, turn.instruction, turn.answer) for turn in row] for row in batch.turns]
        self.note(
            "batch",
            step=trainer.global_step,
            into=self._into,
            ids=batch.ids,
            epoch=batch.epoch,
            turns=hashlib.sha256(repr(turns).encode()).hexdigest()[:10],
            ratios=list(getattr(pl_module, "ratios", ())),
            loss=_loss(outputs),
        )

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.note("validation_begin", step=trainer.global_step)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.note("validation_batch", step=trainer.global_step, ids=batch.ids)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.note("validation_end", step=trainer.global_step, metrics=metrics)


def _loss(outputs: Any) -> float:
    """The loss of a step; not a number where the step was left out."""
    loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
    return float("nan") if loss is None else float(loss)
