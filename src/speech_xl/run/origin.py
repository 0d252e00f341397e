"""Origin: the weights or the checkpoint a command begins with, held against the settings of the command."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from speech_xl.run.command import Command
from speech_xl.run.lineage import (
    Lineage,
    Parent,
    code_version,
    differences,
    read_lineage,
    refuse,
    remarks,
    weights_digest,
)

# Settings that a stage must share with its parent.
MODEL = ("model.encoder", "model.adapter", "model.frame_code", "model.llm", "model.sst")


@dataclass(frozen=True)
class Origin:
    """What a command begins with.

    path      of the checkpoint that is resumed or evaluated, else of the weights; None: from nothing
    before    its lineage; None where there is no file, or one of an earlier version
    resumes   whether `fit` goes on with the run that wrote it
    """

    command: Command
    path: Path | None
    before: Lineage | None
    resumes: bool

    @classmethod
    def of(cls, command: Command, initial: Path | None, checkpoint: str | None) -> Origin:
        """Read what the command names, and say where it is stale or of an earlier version."""
        resumes = command.subcommand == "fit" and checkpoint is not None
        path = Path(checkpoint) if checkpoint is not None else initial
        before = None if path is None else read_lineage(path)
        for line in remarks(path, before) if path is not None and not (resumes and before) else ():
            rank_zero_warn(line)
        return cls(command, path, before, resumes)

    def precision(self) -> tuple[str, str] | None:
        """The number format of the weights' own training, and why; None where there is none."""
        if self.before is None:
            return None
        return self.before.precision, f"which {self.path} was trained in"

    def lineage(self, settings: Mapping[str, Any], precision: str, seed: Any) -> Lineage:
        """The lineage of this command's run, or of its answers.

        Raises LineageError where settings aren't those of `before`, unless the command says --force: all of them where
        a run is resumed or weights are evaluated, those of the model where a stage begins with another's weights.
        """
        forced = list(self.before.forced) if self.before else []
        if self.before is not None and self.path is not None:
            starts = self.command.subcommand == "fit" and not self.resumes
            found = [
                line
                for prefix in (MODEL if starts else ("",))
                for line in differences(self.before.settings, settings, prefix)
            ]
            forced += refuse(found, self.path, self.command.force)
            for line in differences(self.before.settings, settings, "data.") if starts else ():
                rank_zero_info(f"other than in the stage before: {line}")
            if self.before.precision != precision:
                rank_zero_warn(
                    f"trainer.precision: {self.path} was trained in {self.before.precision}, here {precision}"
                )
        if self.command.subcommand != "fit":  # of answers: that of the weights that gave them
            unknown = Lineage("unknown", "unknown", precision, None, {}, version="unknown")
            return replace(self.before or unknown, forced=forced)
        known = self.before if self.resumes else None
        return Lineage(
            run=known.run if known else secrets.token_hex(4),
            stage=self.command.stage,
            precision=precision,
            seed=None if seed is None or isinstance(seed, bool) else int(seed),
            settings=dict(settings),
            version=code_version(),
            parent=known.parent if known else self._parent(),
            forced=forced,
        )

    def _parent(self) -> Parent | None:
        if self.path is None or self.command.subcommand != "fit":
            return None
        path = os.path.relpath(self.path, self.command.folder)
        run, stage = (self.before.run, self.before.stage) if self.before else ("unknown", "unknown")
        return Parent(path, weights_digest(self.path), run, stage)
