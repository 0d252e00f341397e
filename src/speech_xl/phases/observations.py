"""Observations: what a phase shows of its last step and its last validation. Callbacks read it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lhotse.cut import Cut

from speech_xl.evaluation.prediction import Prediction


@dataclass
class StepStats:
    """What a training step worked on."""

    audio_seconds: float
    llm_tokens: int
    label_tokens: int
    model_flops: float
    kept_kv_tokens: int
    total_kv_tokens: int
    kv_bytes_per_token: int


@dataclass
class Example:
    """A validation cut to be shown: its intervals, and the second at which each SST stands, per ratio."""

    cut: Cut
    interval_ends: list[float]
    sst_times: dict[int, list[float]]


@dataclass
class Observations:
    """Filled by a phase.

    step            of the last training batch; None before the first
    predictions     of the last validation
    examples        the first sessions of the last validation, `examples_wanted` of them at most
    """

    step: StepStats | None = None
    predictions: list[Prediction] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    examples_wanted: int = 0

    def want_examples(self, number: int) -> None:
        """Keep so many sessions of a validation at least."""
        self.examples_wanted = max(self.examples_wanted, number)

    def begin_validation(self) -> None:
        self.predictions, self.examples = [], []


def observations(module: Any) -> Observations:
    """Of a phase; of another LightningModule, which shows nothing, empty ones."""
    found = getattr(module, "observations", None)
    return found if isinstance(found, Observations) else Observations()
