"""Compression ratios in training: drawn anew for every interval from a set that a curriculum may raise."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from speech_xl.data.batch import SpeechBatch
from speech_xl.model.prompt import Suffix
from speech_xl.model.ratios import check_ratios, draw_ratios
from speech_xl.model.speech import OnePass, Speech
from speech_xl.phases.distillation import Distillation, divergence, evaluating
from speech_xl.phases.phase import Phase


class RatioPhase(Phase):
    """A phase that compresses.

    Args:
        ratios: the ratio set before a curriculum sets its own; 1 leaves an interval uncompressed.
        ratio_per: draw one ratio per interval (the default; Activation Beacon measured 2.8 points less per sample) or
            per sample.
        distillation: also learn to answer as from all frames, by the same weights. It takes a second pass of the LLM,
            without gradients. Null: not.

    Everything else as in `Phase`.
    """

    compresses = True

    def __init__(
        self,
        *args: Any,
        ratios: list[int] | None = None,
        ratio_per: Literal["interval", "sample"] = "interval",
        distillation: Distillation | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.ratios = check_ratios([2] if ratios is None else ratios, "model.ratios")
        self.ratio_per: Literal["interval", "sample"] = ratio_per
        self.distillation = distillation

    def draw_from(self, ratios: Sequence[int]) -> None:
        """Draw from these ratios from now on."""
        self.ratios = check_ratios(ratios, "ratios")

    def drawn(self, batch: SpeechBatch, speech: Speech) -> list[list[int]]:
        """A ratio for every interval of every row."""
        return [
            draw_ratios(self.ratios, len(row), self.seed, batch.epoch, name, self.ratio_per)
            for name, row in zip(batch.ids, speech.intervals, strict=True)
        ]

    def kept_of_a_pass(self) -> set[Literal["labels", "states"]]:
        return super().kept_of_a_pass() | ({"labels"} if self.distillation else set())

    def one_pass(
        self, batch: SpeechBatch, speech: Speech, suffixes: list[list[Suffix]], weights: list[float]
    ) -> OnePass:
        out = super().one_pass(batch, speech, suffixes, weights)
        if self.distillation is None:
            return out
        with evaluating(self.backbone.llm):
            whole = self.backbone(speech, speech.throughout(None), suffixes, weights, {"labels"})
        assert out.labels is not None and whole.labels is not None
        lost = divergence(out.labels.logits, whole.labels.logits, self.distillation.temperature)
        lost_sum = (lost * out.labels.weights).sum()
        self.log("train/distillation", lost_sum.detach() / out.label_weight, batch_size=len(batch))
        return replace(out, labels=None, distillation_sum=self.distillation.weight * lost_sum)
