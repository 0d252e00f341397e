"""What all phases share: one backbone, chosen parameters, a normalised loss, validation by real generation."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any, Literal, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from speech_xl.checks import number, whole
from speech_xl.data.batch import SpeechBatch
from speech_xl.data.encoder_frames import EncoderFrames
from speech_xl.data.tasks import TASKS, dialogues
from speech_xl.data.transcript import PLAIN, Transcript
from speech_xl.model import LLM, Adapter, Encoder, FrameCode, HFEncoder, SpeechLLM
from speech_xl.model.context import check_texts
from speech_xl.model.decoding_rules import DecodingRules
from speech_xl.model.layout import interval_frames
from speech_xl.model.prompt import Suffix
from speech_xl.model.ratios import check_ratios
from speech_xl.model.speech import OnePass, Ratios, Speech
from speech_xl.phases.evaluation_loops import EvaluationLoops
from speech_xl.phases.extension import PhaseExtension, by_class, check_trained, losses_of
from speech_xl.phases.finite import FiniteSteps
from speech_xl.phases.generators import seed_step
from speech_xl.phases.observations import Observations, StepStats
from speech_xl.phases.out_of_memory import naming_sessions
from speech_xl.phases.schedule import SCHEDULES, ResumableSchedule
from speech_xl.phases.trainable import FROZEN_BY_MODEL, check_learning_rates, select_trainable
from speech_xl.phases.weights import load_strict, read_weights

TICK = 1e-6  # of a frame: seconds that are a frame's multiple but for rounding belong to it


BuiltCheck = Callable[[Mapping[str, str], SpeechLLM, Collection[str]], list[str]]
"""(notes of the weights file, built backbone, names of untouched pretrained parameters) -> what was let pass."""


def nothing_to_check(notes: Mapping[str, str], backbone: SpeechLLM, untouched: Collection[str]) -> list[str]:
    """A `BuiltCheck` for weights without lineage."""
    return []


def check_task_weights(weights: dict[str, float]) -> dict[str, float]:
    """The weights as they are; an unknown task or a weight that is not above 0 is an error that names it."""
    for task, weight in weights.items():
        if task not in TASKS:
            raise ValueError(f"model.task_weights: unknown task {task!r}; use {', '.join(TASKS)}")
        number(f"model.task_weights.{task}", weight, above=0)
    return weights


class Phase(ResumableSchedule, FiniteSteps, EvaluationLoops, pl.LightningModule):
    """Base of the three phases.

    Args:
        encoder: a Hugging Face speech encoder: a name or folder, or class_path and init_args of an `Encoder`.
        adapter: how encoder frames become speech frames.
        llm: a Hugging Face causal language model: a name or folder, or an `LLM` with init_args.
        trainable: name pattern -> learning rate; what no pattern matches stays frozen. The first match counts.
        optimizer: made with the trainable groups; each group has its own learning rate.
        scheduler: a transformers schedule: cosine, linear, constant_with_warmup, ...
        warmup_steps: optimizer steps over which the learning rates rise from 0.
        eval_ratios: ratios that validation, test and predict generate at; 1 is uncompressed (all frames kept).
        max_tokens_per_second: an answer may have this many tokens per second of audio, and 32 more.
        cache_frames: keep a frozen encoder's frames on disk and reuse them (a training encoder is never cached).
        seed: of the ratios, answer noise, dropout and masks drawn in training.
        task_weights: task -> what one of its label tokens counts in the loss; 1 where a task isn't named. An answer to
            a question is a token or two, a transcript hundreds: at equal weights questions would hardly be learned.
        frame_code: what speech frames and SSTs hold beside what is heard, such as TimeCode. Null: nothing.
        extensions: auxiliary losses and the like, such as TokenCTC, ContrastiveAnswers, AnswerNoise. Null: none.
        transcript: how transcripts are written; the data module's, set by `data.transcript`.
    """

    backbone: SpeechLLM
    _batch: SpeechBatch  # that is trained on
    compresses = False  # whether intervals have ratios above 1

    def __init__(
        self,
        encoder: Encoder | str,
        adapter: Adapter,
        llm: LLM | str,
        trainable: dict[str, float],
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: str = "cosine",
        warmup_steps: int = 50,
        eval_ratios: list[int] | None = None,
        max_tokens_per_second: float = 8.0,
        cache_frames: bool = True,
        seed: int = 0,
        task_weights: dict[str, float] | None = None,
        frame_code: FrameCode | None = None,
        extensions: list[PhaseExtension] | None = None,
        transcript: Transcript | None = None,
        max_skipped_steps: int = 3,
    ) -> None:
        super().__init__()
        self.max_skipped_steps = whole("model.max_skipped_steps", max_skipped_steps, least=1)
        self.task_weights = check_task_weights(task_weights or {})
        encoder = HFEncoder(encoder) if isinstance(encoder, str) else encoder
        llm = LLM(llm) if isinstance(llm, str) else llm
        self.transcript = transcript or PLAIN
        decoding = DecodingRules(max_tokens_per_second, self.transcript)
        self.backbone = SpeechLLM(encoder, adapter, llm, decoding, frame_code)
        self.extensions = nn.ModuleDict(by_class(extensions or []))
        self.trainable, self.optimizer = check_learning_rates(trainable), optimizer
        if scheduler not in SCHEDULES:
            raise ValueError(f"model.scheduler: got {scheduler!r}; choose one of {', '.join(SCHEDULES)}")
        self.scheduler, self.warmup_steps = scheduler, whole("model.warmup_steps", warmup_steps)
        self.eval_ratios = list(check_ratios([1] if eval_ratios is None else eval_ratios, "model.eval_ratios"))
        if not self.compresses and set(self.eval_ratios) != {1}:
            raise ValueError(
                f"model.eval_ratios: got {self.eval_ratios}, and {type(self).__name__} doesn't compress; give [1], or "
                "take a phase that does (SSTCompression, MeanPooling)"
            )
        self.seed = whole("model.seed", seed)
        self.frames = EncoderFrames(encoder, cache_frames)
        self.observations = Observations()
        self._initial: Path | None = None
        self._check: BuiltCheck = nothing_to_check
        self.forced: list[str] = []  # what `start_from`'s check let pass
        self.untouched: set[str] = set()  # pretrained parameters that no stage has trained: not saved
        self.groups: list[dict[str, Any]] = []
        self.forget_batches()

    # Making the model

    def start_from(self, weights: Path | None, check: BuiltCheck | None = None) -> None:
        """Start from a weights file or checkpoint, None for the pretrained parts alone.

        check: holds the built backbone against the file's notes; raises, or returns what it let pass, see `forced`.
        """
        self._initial, self._check = weights, check or nothing_to_check

    def configure_model(self) -> None:
        """Load, and choose what trains. Lightning may call it again."""
        if self.groups:
            return
        self.backbone.build()
        for extension in self._extensions():
            extension.build(self.backbone)
        self.load()
        self.groups = select_trainable(self, self.trainable)
        self.untouched -= {n.removeprefix("backbone.") for n, p in self.named_parameters() if p.requires_grad}
        check_trained(self._extensions())
        self.frames.open()
        # Hugging Face hands pretrained parts over in eval mode, and Lightning leaves them so: no dropout, and no
        # gradient checkpointing.
        self.train()

    def load(self) -> None:
        """Build the backbone and load the weights it starts from; all that answering needs."""
        backbone = self.backbone
        backbone.build()
        for line in (backbone.encoder.loaded, backbone.llm.loaded):
            if line:
                rank_zero_info(line)
        for parameter in backbone.parameters():
            setattr(parameter, FROZEN_BY_MODEL, not parameter.requires_grad)
        for part, name in ((backbone.encoder, "encoder"), (backbone.llm, "llm")):
            if getattr(part, "pretrained", False):
                self.untouched |= {f"{name}.{n}" for n in part.state_dict() if "lora_" not in n}
        state, notes = ({}, {}) if self._initial is None else read_weights(self._initial)
        has_sst = any(name.startswith("sst.") for name in state)
        if has_sst:
            self.make_sst()
        if self._initial is not None:
            rank_zero_info(load_strict(backbone, state, self.untouched, str(self._initial)))
            self.untouched &= set(json.loads(notes.get("untouched_pretrained", "[]")))
            self.forced = self._check(notes, self.backbone, self.untouched)
        if not has_sst:
            self.make_sst()  # after loading: SSTs begin as copies of the LLM that the earlier stages trained

    def _extensions(self) -> list[PhaseExtension]:
        return cast(list[PhaseExtension], list(self.extensions.values()))

    def make_sst(self) -> None:
        """Give the backbone SSTs, where the phase has any."""

    def on_fit_start(self) -> None:
        """Say what validation can't, and have frames ready before the first batch."""
        if unsuited := self.transcript.unsuited(self.backbone.llm.prompt):
            rank_zero_warn(unsuited)
        if self.frames.store_sessions(self.device, self.global_rank, self.trainer.world_size):
            self.trainer.strategy.barrier("frames of the training sessions")

    def train(self, mode: bool = True) -> "Phase":
        super().train(mode)
        if self.groups and self.frames.frozen:
            self.backbone.encoder.eval()  # no dropout in frames that are cached
        return self

    # Training

    def speech(self, batch: SpeechBatch) -> Speech:
        """Audio (or cached frames) of a batch to speech frames and intervals."""
        rate = self.backbone.frame_rate
        first = torch.tensor([floor(second * rate + TICK) for second in batch.session_offsets], device=self.device)
        adapted = self.backbone.adapt(self.frames.of(batch, self.device), first)
        intervals = [
            interval_frames(ends, n, rate)
            for ends, n in zip(batch.interval_ends, adapted.lengths.tolist(), strict=True)
        ]
        return Speech(adapted.frames, adapted.lengths, intervals, adapted.scores)

    def compressed(self, batch: SpeechBatch, speech: Speech) -> tuple[Speech, Ratios]:
        """What the LLM hears in training, and each interval's SST ratio: as it is and uncompressed, unless the phase
        says otherwise."""
        return speech, speech.throughout(None)

    def answered(self, speech: Speech, ratios: Ratios, suffixes: list[list[Suffix]], weights: list[float]) -> OnePass:
        """The LLM's loss on a batch; of each row what is asked about it, side by side."""
        return self.backbone(speech, ratios, suffixes, weights, self.kept_of_a_pass())

    def kept_of_a_pass(self) -> set[Literal["labels", "states"]]:
        """What the training pass keeps beside its loss."""
        return {"states"} if any(extension.reads_states for extension in self._extensions()) else set()

    def one_pass(
        self, batch: SpeechBatch, speech: Speech, suffixes: list[list[Suffix]], weights: list[float]
    ) -> OnePass:
        """The LLM's loss on what it hears of a batch."""
        return self.answered(*self.compressed(batch, speech), suffixes, weights)

    def _suffixes(self, batch: SpeechBatch, row: int, intervals: list[int]) -> list[Suffix]:
        """What a row of intervals of so many frames is trained on."""
        suffixes, offset, rate = [], batch.session_offsets[row], self.backbone.frame_rate
        for place, dialogue in enumerate(dialogues(batch.turns[row])):
            name = batch.ids[row] + (f"#{place}" if place else "")
            suffix = self.backbone.llm.prompt.training(dialogue.pairs)
            for extension in self._extensions():
                suffix = extension.training_text(suffix, name, batch.epoch, self.seed)
            suffixes.append(replace(suffix, view=self.transcript.view(dialogue.span, intervals, rate, offset)))
        return suffixes

    def training_step(self, batch: SpeechBatch, batch_index: int) -> Tensor:
        self._batch = batch
        with naming_sessions(batch):
            return self.training_loss(batch)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        with naming_sessions(self._batch):
            super().backward(loss, *args, **kwargs)

    def training_loss(self, batch: SpeechBatch) -> Tensor:
        """The loss of one batch, a sum over label tokens: `on_before_optimizer_step` divides by their number."""
        seed_step(self.seed, batch.epoch, batch.ids)
        speech = self.speech(batch)
        suffixes = [self._suffixes(batch, row, speech.intervals[row]) for row in range(len(batch))]
        check_texts(self.backbone.llm, batch.ids, [max(len(one.ids) for one in row) for row in suffixes])
        weights = [self.task_weights.get(turns[0].task, 1.0) for turns in batch.turns]  # a row is of one task
        out = self.one_pass(batch, speech, suffixes, weights)
        self.observations.step = StepStats(
            audio_seconds=batch.audio_seconds,
            llm_tokens=out.tokens,
            label_tokens=out.label_tokens,
            model_flops=self.backbone.llm.training_flops(out.tokens, out.label_tokens),
            kept_kv_tokens=out.kept_kv_tokens,
            total_kv_tokens=int(speech.lengths.sum()) if out.tokens else 0,  # frames, before any are averaged
            kv_bytes_per_token=self.backbone.llm.kv_bytes_per_token(),
        )
        if out.tokens:  # the LLM was run
            self.log("train/loss", out.loss_sum.detach() / out.label_weight, prog_bar=True, batch_size=len(batch))
        loss = out.loss_sum + out.distillation_sum + out.label_weight * self.auxiliary_loss(batch, speech, out)
        self.count_batch(batch.ids, out.label_weight, loss)
        # Lightning divides by the accumulated batches and DDP averages over ranks; undo both, so that gradients are
        # plain sums until `on_before_optimizer_step` divides them by the global weight of label tokens.
        return loss * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def auxiliary_loss(self, batch: SpeechBatch, speech: Speech, out: OnePass) -> Tensor | float:
        """The weighted losses of the extensions."""
        total: Tensor | float = 0.0
        for found in losses_of(self._extensions(), self.backbone, batch, speech, out.states, self.global_step):
            for name, value in found.logged.items():
                self.log(f"train/{name}", value, batch_size=found.count)
            total = total + found.weighted
        return total

    # Checkpoints: untouched parameters are left out and may be missing

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {n: v for n, v in state.items() if n.removeprefix("backbone.") not in self.untouched}
        checkpoint["untouched_pretrained"] = sorted(self.untouched)
        self.check_checkpoint(checkpoint)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        may_miss = {f"backbone.{name}" for name in self.untouched}
        trainer = self._trainer
        load_strict(self, dict(state_dict), may_miss, str(getattr(trainer, "ckpt_path", None) or "checkpoint"))
