"""Validation, test and predict: generate through the pruned KV memory at every evaluation ratio, and score."""

from dataclasses import dataclass
from math import ceil, isnan
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from lhotse.cut import Cut

from speech_xl.data.batch import SpeechBatch
from speech_xl.data.tasks import Turn
from speech_xl.evaluation.kept_kv import kept_kv
from speech_xl.evaluation.metrics import summarise
from speech_xl.evaluation.predictions import PredictionWriter, answer_record, turn_id
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.layout import Kind, build_layout, interval_frames
from speech_xl.model.ratios import to_ratio
from speech_xl.model.speech import Answer, Speech
from speech_xl.model.speech_llm import SpeechLLM
from speech_xl.phases.out_of_memory import naming_sessions

QUESTIONS_AT_ONCE = 64  # rows of one generate call; a memory row is copied for each question
SCORED = ("asr", "qa")  # tasks whose answers have an error rate


@dataclass
class Example:
    """A validation cut for the samples callback: its intervals, and the second at which each SST stands, per ratio."""

    cut: Cut
    interval_ends: list[float]
    sst_times: dict[int, list[float]]


class EvaluationLoops:
    """Mixed into `Phase`: its validation, test and predict steps."""

    predictions: PredictionWriter | None = None  # set by the command line for test and predict
    examples_kept = 0  # validation cuts that are kept to be shown; set by the samples callback

    if TYPE_CHECKING:  # what `Phase` brings
        backbone: SpeechLLM
        eval_ratios: list[int]
        trainer: Any
        log: Any

        def speech(self, batch: SpeechBatch) -> Speech: ...

    @torch.no_grad()
    def records(self, batch: SpeechBatch) -> list[dict[str, Any]]:
        """One record (`answer_record` and `kept_kv`) per turn and evaluation ratio."""
        speech = self.speech(batch)
        asked = [(row, turn) for row, turns in enumerate(batch.turns) for turn in turns]
        records = []
        for ratio in self.eval_ratios:
            memory = self.prefill(speech, ratio)
            kept = kept_kv(memory, len(self.backbone.llm.prompt.prefix), speech.lengths.tolist())
            for (row, turn), answer in zip(asked, self._answers(batch, memory, asked), strict=True):
                answered = answer_record(batch.cuts[row], turn, ratio, answer.text, answer.finished)
                reached = {} if answer.reached_seconds is None else {"reached_seconds": answer.reached_seconds}
                records.append(answered | reached | kept[row])
        return records

    def prefill(self, speech: Speech, ratio: int) -> KVMemory:
        """What is kept of speech at a ratio."""
        return self.backbone.prefill(speech, speech.throughout(to_ratio(ratio)))

    def _answers(self, batch: SpeechBatch, memory: Any, asked: list[tuple[int, Turn]]) -> list[Answer]:
        """Long and short answers are generated apart: a batch runs until its longest answer ends."""
        answers: dict[int, Answer] = {}
        for task in sorted({turn.task for _, turn in asked}):
            of_task = [i for i, (_, turn) in enumerate(asked) if turn.task == task]
            for start in range(0, len(of_task), QUESTIONS_AT_ONCE):
                part = of_task[start : start + QUESTIONS_AT_ONCE]
                rows = [asked[i][0] for i in part]
                seconds = [batch.cuts[row].duration for row in rows]
                limits = [self.backbone.decoding.limit(asked[i][1].task, s) for i, s in zip(part, seconds, strict=True)]
                instructions = [asked[i][1].instruction for i in part]
                texts = self.backbone.generate(
                    memory, rows, instructions, limits, self.backbone.processors(instructions, seconds)
                )
                answers.update(zip(part, texts, strict=True))
        return [answers[i] for i in range(len(asked))]

    # Validation

    @property
    def handicap(self) -> float:
        """Added to the errors that checkpoints are chosen by."""
        return 0.0

    def on_validation_epoch_start(self) -> None:
        self.val_records, self.val_examples = [], []

    def validation_step(self, batch: SpeechBatch, batch_index: int) -> None:
        with naming_sessions(batch):
            self.val_records += self.records(batch)
        for row in range(min(len(batch), self.examples_kept - len(self.val_examples))):
            self.val_examples.append(self._example(batch, row))

    def _example(self, batch: SpeechBatch, row: int) -> Example:
        rate = self.backbone.frame_rate
        ends = batch.interval_ends[row]
        intervals = interval_frames(ends, ceil(batch.cuts[row].duration * rate), rate)
        times = {}
        for ratio in self.eval_ratios:
            placement = self.backbone.placement
            layout = build_layout(0, intervals, [to_ratio(ratio)] * len(intervals), 0, placement=placement)
            frames_before = (layout.kind != Kind.SST).cumsum()
            times[ratio] = (frames_before[layout.kind == Kind.SST] / rate).tolist()
        return Example(batch.cuts[row], ends, times)

    def on_validation_epoch_end(self) -> None:
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            dist.all_gather_object(gathered, self.val_records)
            self.val_records = [record for part in gathered for record in part]
        errors = []
        for ratio, rates in summarise(self.val_records).items():
            for name in ("wer", "wer_cut", "qa"):
                if name in rates and not isnan(rates[name].value):  # without any words there is no rate
                    self.log(f"val/{name}_{ratio}x", float(rates[name].value))
            errors += [rates["wer"].value] if "wer" in rates and rates["wer"].words else []
            errors += [1.0 - rates["qa"].value] if rates.get("qa") else []
        if errors:  # what checkpoints are chosen by: WER and Q&A error, averaged over tasks and ratios
            self.log("val/errors", sum(errors) / len(errors) + self.handicap, prog_bar=True)

    # Test and predict: JSONL first, scored from the file

    def test_step(self, batch: SpeechBatch, batch_index: int) -> None:
        self.predict_step(batch, batch_index)

    def predict_step(self, batch: SpeechBatch, batch_index: int) -> None:
        writer = self.predictions
        if writer is None:
            raise RuntimeError("predictions go to a JSONL file: set `predictions` (experiments/run.py does)")
        wanted = [
            turn_id(id, turn, ratio)
            for id, turns in zip(batch.ids, batch.turns, strict=True)
            for turn in turns
            for ratio in self.eval_ratios
        ]
        if not all(writer.done(id) for id in wanted):
            with naming_sessions(batch):
                records = self.records(batch)
            for record in records:
                writer.write(record)
