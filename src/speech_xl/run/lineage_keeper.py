"""LineageKeeper: completes a run's lineage once its model is built, and writes it into every checkpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch.distributed as dist

from speech_xl.run.lineage import NOTE, Lineage, LineageError, built_differences, prompt_of, refuse, sources_of


class LineageKeeper(pl.Callback):
    """Put into every `fit` by the command line.

    Args:
        lineage: of this run, without what only a built model tells.
        before: the lineage of the checkpoint that is resumed; None where none is.
        force: let pretrained weights and prompts differ from those of `before`.
    """

    def __init__(self, lineage: Lineage, before: Lineage | None, force: bool) -> None:
        self.lineage, self.before, self.force = lineage, before, force

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        backbone, untouched = pl_module.backbone, pl_module.untouched
        forced = [*self.lineage.forced, *pl_module.forced]
        if self.before is not None:
            forced += refuse(built_differences(self.before, backbone, untouched), "the checkpoint", self.force)
        self.lineage = replace(
            self.lineage,
            sources=sources_of(backbone, untouched),
            prompt=prompt_of(backbone),
            forced=list(dict.fromkeys(forced)),
        )
        self._compare_ranks(trainer)

    def _compare_ranks(self, trainer: pl.Trainer) -> None:
        """Ranks on unlike machines would train in unlike number formats, or with unlike pretrained weights."""
        if trainer.world_size == 1:
            return
        own = {"trainer.precision": self.lineage.precision, **self.lineage.sources}
        ranks: list[Any] = [None] * trainer.world_size
        dist.all_gather_object(ranks, own)
        for rank, other in enumerate(ranks):
            if other != ranks[0]:
                raise LineageError(
                    f"rank {rank} has {other}, rank 0 {ranks[0]}: give all ranks the same models, and set "
                    "trainer.precision instead of leaving it open"
                )

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[NOTE] = self.lineage.plain()
