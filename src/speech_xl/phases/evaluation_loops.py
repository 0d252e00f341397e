"""Validation, test and predict: generate through the pruned KV memory at every evaluation ratio, and score."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isnan
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from speech_xl.data.batch import SpeechBatch
from speech_xl.evaluation.compressors import Compressor, Uncompressed
from speech_xl.evaluation.evaluator import Evaluator
from speech_xl.evaluation.metrics import summarise
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.prediction_file import PredictionWriter
from speech_xl.model.layout import build_layout, interval_frames
from speech_xl.model.positions import Kind
from speech_xl.model.ratios import to_ratio
from speech_xl.model.speech import Speech
from speech_xl.model.speech_llm import SpeechLLM
from speech_xl.phases.observations import Example, Observations
from speech_xl.phases.out_of_memory import OutOfMemoryError, naming_sessions


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation does otherwise than the phase would by itself.

    compressor  how the KV memory is made; None: as the phase is trained
    ratios      None: the phase's `eval_ratios`
    split       that the sessions are of
    writer      of the predictions file; None in validation, which keeps them
    """

    compressor: Compressor | None = None
    ratios: Sequence[int] | None = None
    split: str = ""
    writer: PredictionWriter | None = None


class EvaluationLoops:
    """Mixed into `Phase`: its validation, test and predict steps."""

    evaluation: Evaluation | None = None

    if TYPE_CHECKING:  # what `Phase` brings
        backbone: SpeechLLM
        eval_ratios: list[int]
        observations: Observations
        trainer: Any
        log: Any

        def speech(self, batch: SpeechBatch) -> Speech: ...

    @property
    def compressor(self) -> Compressor:
        """The phase's own way to keep less of the speech, which it is trained for."""
        return Uncompressed()

    @property
    def evaluator(self) -> Evaluator:
        """Asks through the compressor and at the ratios that `evaluation` names, else through the phase's own."""
        given = self.evaluation or Evaluation()
        return Evaluator(
            self.backbone, given.compressor or self.compressor, given.ratios or self.eval_ratios, given.split
        )

    def evaluate_by(self, evaluation: Evaluation) -> None:
        """Evaluate otherwise than the phase would by itself."""
        self.evaluation = evaluation

    @torch.no_grad()
    def predict(self, batch: SpeechBatch) -> list[Prediction]:
        """A prediction per turn and evaluation ratio."""
        return list(self.evaluator(batch.cuts, batch.turns, self.speech(batch)))

    # Validation

    def on_validation_epoch_start(self) -> None:
        self.observations.begin_validation()

    def validation_step(self, batch: SpeechBatch, batch_index: int) -> None:
        with naming_sessions(batch):
            self.observations.predictions += self.predict(batch)
        examples = self.observations.examples
        for row in range(min(len(batch), self.observations.examples_wanted - len(examples))):
            examples.append(self._example(batch, row))

    def _example(self, batch: SpeechBatch, row: int) -> Example:
        rate = self.backbone.frame_rate
        ends = batch.interval_ends[row]
        intervals = interval_frames(ends, ceil(batch.cuts[row].duration * rate), rate)
        times = {}
        for ratio in self.evaluator.ratios:
            placement = self.backbone.placement
            layout = build_layout(0, intervals, [to_ratio(ratio)] * len(intervals), 0, placement=placement)
            frames_before = (layout.kind != Kind.SST).cumsum()
            times[ratio] = (frames_before[layout.kind == Kind.SST] / rate).tolist()
        return Example(batch.cuts[row], ends, times)

    def on_validation_epoch_end(self) -> None:
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            dist.all_gather_object(gathered, self.observations.predictions)
            self.observations.predictions = [prediction for part in gathered for prediction in part]
        errors = []
        for ratio, rates in summarise(self.observations.predictions).items():
            for name in ("wer", "wer_cut", "qa"):
                if name in rates and not isnan(rates[name].value):  # without any words there is no rate
                    self.log(f"val/{name}_{ratio}x", float(rates[name].value))
            errors += [rates["wer"].value] if "wer" in rates and rates["wer"].words else []
            errors += [1.0 - rates["qa"].value] if rates.get("qa") else []
        if errors:  # what checkpoints are chosen by: WER and Q&A error, averaged over tasks and ratios
            self.log("val/errors", sum(errors) / len(errors), prog_bar=True)

    # Test and predict: JSONL first, scored from the file

    def test_step(self, batch: SpeechBatch, batch_index: int) -> None:
        self.predict_step(batch, batch_index)

    def predict_step(self, batch: SpeechBatch, batch_index: int) -> None:
        writer = None if self.evaluation is None else self.evaluation.writer
        if writer is None:
            raise RuntimeError("predictions go to a JSONL file: call `evaluate_by` first (experiments/run.py does)")
        for cut, turns, reason in batch.failed:
            self.evaluator.write_failure(writer, cut, turns, reason)
        if not len(batch):
            return
        try:
            with naming_sessions(batch):
                self.evaluator.write(writer, batch.cuts, batch.turns, lambda: self.speech(batch))
        except (OutOfMemoryError, ValueError) as error:
            if not all(turn.item is not None for turns in batch.turns for turn in turns):
                raise
            if len(batch) > 1:  # a benchmark goes on, session by session, and counts what can't be answered
                for row in range(len(batch)):
                    self.predict_step(batch.row(row), batch_index)
            else:
                self.evaluator.write_failure(writer, batch.cuts[0], batch.turns[0], str(error))
