"""--compressor, --eval_ratios and --split of validate, test and predict, and the files that they are written to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_info

from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.data.items import items_of
from speech_xl.evaluation.compressors.audiomarathon import FORM
from speech_xl.evaluation.compressors.registry import REGISTRY, Registered, find
from speech_xl.evaluation.prediction_file import PredictionWriter, asked_of, prediction_path
from speech_xl.phases import Phase
from speech_xl.phases.evaluation_loops import Evaluation
from speech_xl.run.configs import ConfigError

OWN_SPLIT = {"validate": "dev"}  # that a command reads where none is named; the others read "test"


def add_evaluation_options(parser: LightningArgumentParser) -> None:
    """Add the options to the parser of an evaluation."""
    names = ", ".join(line.key for line in REGISTRY)
    parser.add_argument(
        "--compressor", type=str | None, default=None, help=f"(default: the stage's own) {names}, or {FORM}"
    )
    parser.add_argument("--eval_ratios", type=list[int] | None, default=None, help="(default: model.eval_ratios)")
    parser.add_argument("--benchmark", type=str | None, default=None, help="set by experiments/benchmarks/*.yaml")
    parser.add_argument(
        "--split", type=Literal["dev", "test"] | None, default=None, help="(default: dev of validate, else test)"
    )


@dataclass(frozen=True)
class EvaluationOptions:
    """What an evaluation was asked for.

    registered  the compressor; None: the stage's own
    ratios      None: the stage's `eval_ratios`
    split       "dev" or "test"
    own_split   whether the command reads that split by itself
    benchmark   whose items are asked; None of other corpora
    """

    registered: Registered | None
    ratios: list[int] | None
    split: str
    own_split: bool
    benchmark: str | None = None

    @classmethod
    def of(cls, subcommand: str, given: Mapping[str, Any]) -> EvaluationOptions:
        """From a parsed command line. Raises ValueError for an unknown compressor, ImportError with the remedy where
        it isn't installed."""
        own = OWN_SPLIT.get(subcommand, "test")
        split = given.get("split") or own
        registered = None
        if given.get("compressor") is not None:
            registered = find(given["compressor"], "--compressor")
            registered.check_installed()
        ratios = given.get("eval_ratios")
        if ratios is None and registered is not None and not registered.make().compresses:
            ratios = [1]
        return cls(registered, ratios, split, split == own, given.get("benchmark"))

    def apply(self, phase: Phase, data: SpeechDataModule, stage: str) -> None:
        """Let a phase and its data evaluate so.

        Raises ConfigError where the compressor needs weights that were trained for it and these were not, ValueError
        for ratios that the compressor doesn't have.
        """
        data.evaluate_on(self.split)
        compressor = None if self.registered is None else self.registered.make()
        own = phase.compressor
        if compressor is not None and compressor.trained and compressor.name != own.name:
            raise ConfigError(
                f"--compressor {compressor.name}: needs weights that were trained for it, and {stage} was trained for "
                f"{own.name}; name a stage that was, or a compressor that needs no training"
            )
        if compressor is not None and not compressor.trained and own.trained:
            rank_zero_info(
                f"{compressor.name} answers through the weights of {stage}, which were trained for {own.name}; a "
                "comparison runs it on a stage that was trained without compression"
            )
        phase.evaluate_by(Evaluation(compressor, self.ratios, self.split))
        _ = phase.evaluator  # which refuses ratios that the compressor doesn't have

    def settings(self, phase: Phase, data: SpeechDataModule) -> dict[str, Any]:
        """What the predictions depend on beside the weights, as plain data."""
        data.prepare_data()
        coverage = data.corpus.coverage(self.split)
        items = Counter(item.task for cut in iter(data.cuts(self.split)) for item in items_of(cut))
        return ({} if coverage is None else {"coverage": coverage.to_json()}) | {
            **({"asked_items": dict(items)} if items else {}),
            "split": self.split,
            "compressor": phase.evaluator.compressor.name,
            "asked": asked_of(data.cuts(self.split), data.evaluation),
            "max_tokens_per_second": phase.backbone.decoding.max_tokens_per_second,
        }

    def predictions(self, phase: Phase, folder: Path, tag: str, settings: Mapping[str, Any]) -> Path:
        """The predictions file of these settings."""
        return prediction_path(folder, f"{self.split}_{phase.evaluator.compressor.name}", tag, settings)

    def write_to(self, phase: Phase, writer: PredictionWriter) -> None:
        """Let the phase write its predictions."""
        assert phase.evaluation is not None, "apply comes first"
        phase.evaluate_by(replace(phase.evaluation, writer=writer))

    @property
    def report(self) -> str:
        """Name of the scores' files: ``results``, with the benchmark, and with the split and the compressor where they
        are named."""
        parts = ["results", *([] if self.benchmark is None else [self.benchmark])]
        if self.registered is not None or not self.own_split:
            parts += [self.split, *([] if self.registered is None else [self.registered.key])]
        return "-".join(parts)
