"""SpeechDataModule: a corpus to loaders of SpeechBatch, with lhotse's samplers and a resume that repeats and skips nothing."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler
from lhotse.dataset.sampling.base import CutSampler, TimeConstraint
from lhotse.dataset.sampling.dynamic_bucketing import estimate_duration_buckets
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from speech_xl.data.batch import SpeechBatch
from speech_xl.data.corpus import Corpus
from speech_xl.data.dataset import EvaluationTurns, Excerpt, SpeechDataset
from speech_xl.data.frame_cache import FrameCache
from speech_xl.data.partition import FixedWindows, Partition
from speech_xl.data.tasks import TaskMixture, qa_turns

DEFAULT_TASKS = {"asr": 1.0}
DEFAULT_EVAL_TASKS = ["asr", "qa"]


class SpeechDataModule(pl.LightningDataModule):
    """Loaders over the splits of one corpus.

    Training epochs roll over without a known length: train by `max_steps` with `max_epochs: -1`. A run resumed from a
    checkpoint in the middle of an epoch goes on with the very next batch, whatever the number of workers.

    Args:
        corpus: where the sessions come from.
        cache_dir: folder for what is computed once and kept, such as encoder frames.
        tasks: task -> weight of the training mixture; tasks are "asr", "caption" and "qa". Null: only "asr".
        turns: the most questions a training sample carries in one dialogue.
        partition: where the intervals of a session end. Null: fixed windows of 4 s.
        max_duration: seconds of audio in a training batch, counted as rows times the longest row. A session longer than
            this is a batch of its own.
        quadratic_duration: where set, a row counts as d + d^2 / quadratic_duration seconds, so that batches of long
            sessions are smaller; of excerpts, what is left of the session counts.
        excerpt: train on random runs of utterances instead of whole sessions. Null: whole sessions.
        eval_tasks: tasks asked in validation, test and predict. Null: "asr" and "qa".
        eval_max_duration: seconds of audio in an evaluation batch.
        eval_questions: the most questions asked about a session in evaluation.
        limit_dev: use this many sessions of the dev split, spread evenly over it. Null: all.
        limit_test: the same for the test split.
        num_workers: processes that read audio; 0 reads in the main process.
        seed: decides the order of batches, the turns and the excerpts.
        num_buckets: training batches are drawn from this many groups of sessions of like length.
    """

    def __init__(
        self,
        corpus: Corpus,
        cache_dir: str = "data",
        tasks: dict[str, float] | None = None,
        turns: int = 4,
        partition: Partition | None = None,
        max_duration: float = 240.0,
        quadratic_duration: float | None = None,
        excerpt: Excerpt | None = None,
        eval_tasks: list[str] | None = None,
        eval_max_duration: float = 600.0,
        eval_questions: int = 4,
        limit_dev: int | None = None,
        limit_test: int | None = None,
        num_workers: int = 1,
        seed: int = 0,
        num_buckets: int = 8,
    ) -> None:
        super().__init__()
        _require_positive(
            max_duration=max_duration,
            quadratic_duration=quadratic_duration,
            eval_max_duration=eval_max_duration,
            limit_dev=limit_dev,
            limit_test=limit_test,
            num_buckets=num_buckets,
        )
        if num_workers < 0:
            raise ValueError(f"data: num_workers is {num_workers}; give 0 or more")
        self.corpus = corpus
        self.cache_dir = cache_dir
        self.mixture = TaskMixture(DEFAULT_TASKS if tasks is None else tasks, turns)
        self.evaluation = EvaluationTurns(DEFAULT_EVAL_TASKS if eval_tasks is None else eval_tasks, eval_questions)
        self.partition = partition or FixedWindows(4.0)
        self.max_duration = max_duration
        self.quadratic_duration = quadratic_duration
        self.excerpt = excerpt
        self.eval_max_duration = eval_max_duration
        self.limits = {"dev": limit_dev, "test": limit_test}
        self.num_workers = num_workers
        self.seed = seed
        self.num_buckets = num_buckets
        if excerpt is not None and "asr" not in self.mixture.weights:
            raise ValueError("data: excerpt makes samples of the task asr, and tasks gives it no weight; add asr or drop excerpt")
        self.frame_cache: FrameCache | None = None  # set by the phase before the loaders are made
        self.epoch = 0  # the epoch training batches are drawn in
        self._resume: tuple[int, int] | None = None  # (epoch, batches done) of a checkpoint, until the loader takes it
        self._start: _Start | None = None  # where the running training loader began
        self._cuts: dict[str, CutSet] = {}

    def prepare_data(self) -> None:
        self.corpus.prepare()

    def setup(self, stage: str | None = None) -> None:
        splits = {"fit": ["train", "dev"], "validate": ["dev"], "test": ["test"], "predict": ["test"]}
        for split in splits.get(stage or "", ["train", "dev", "test"]):
            self.cuts(split)

    def cuts(self, split: str) -> CutSet:
        """The sessions of a split, limited by `limit_dev` or `limit_test`."""
        if split not in self._cuts:
            cuts = self.corpus.cuts(split)
            if next(iter(cuts), None) is None:
                raise ValueError(
                    f"corpus {self.corpus.name}: the split {split!r} has no sessions; delete the corpus folder and prepare "
                    "it again, or ask the recipe for at least one session"
                )
            self._cuts[split] = self._limited(cuts, split)
        return self._cuts[split]

    def _limited(self, cuts: CutSet, split: str) -> CutSet:
        limit = self.limits.get(split)
        if limit is not None:
            sessions = list(cuts)
            if limit < len(sessions):
                rank_zero_info(f"data: {limit} of the {len(sessions)} {split} sessions are used (limit_{split})")
                cuts = CutSet.from_cuts(sessions[i * len(sessions) // limit] for i in range(limit))
        if split != "train" and "qa" in self.evaluation.tasks:
            known = [len(qa_turns(cut)) for cut in cuts]
            asked = sum(min(n, self.evaluation.questions) for n in known)
            if asked < sum(known):
                rank_zero_info(f"data: {asked} of the {sum(known)} {split} questions are asked (eval_questions)")
        return cuts

    # Loaders

    def train_dataloader(self) -> Iterable[SpeechBatch]:
        dataset = SpeechDataset(self.mixture, self.partition, self.seed, self.frame_cache)
        return TrainLoader(self, dataset)

    def val_dataloader(self) -> Iterable[SpeechBatch]:
        return self._eval_loader("dev")

    def test_dataloader(self) -> Iterable[SpeechBatch]:
        return self._eval_loader("test")

    def predict_dataloader(self) -> Iterable[SpeechBatch]:
        return self._eval_loader("test")

    def _eval_loader(self, split: str) -> Iterable[SpeechBatch]:
        dataset = SpeechDataset(self.evaluation, self.partition, self.seed, self.frame_cache)
        cuts = self.cuts(split)
        return EvalLoader(lambda: _quietly(DynamicCutSampler, cuts, max_duration=self.eval_max_duration), dataset, self)

    def train_sampler(self, epoch: int) -> CutSampler:
        """The batches of one epoch, in order; excerpts are drawn before, so that their own length fills the batch."""
        cuts = self.cuts("train")
        if self.excerpt is not None:
            cuts = cuts.map(_EpochExcerpt(self.excerpt, self.seed, epoch))
        budget: dict[str, Any] = {"max_duration": self.max_duration, "quadratic_duration": self.quadratic_duration}
        sessions = sum(1 for _ in itertools.islice(cuts, self.num_buckets))
        bins = None
        if sessions > 1 and self.num_buckets > 1:
            sample = itertools.islice(cuts, 10_000)
            bins = estimate_duration_buckets(sample, min(self.num_buckets, sessions), TimeConstraint(**budget))
        sampler = _quietly(
            DynamicBucketingSampler,
            cuts,
            **budget,
            duration_bins=bins or [math.inf],  # too few sessions to part them: one bucket
            shuffle=True,
            drop_last=False,
            seed=self.seed,
        )
        sampler.set_epoch(epoch)
        return sampler

    def make_loader(self, dataset: SpeechDataset, sampler: Iterable[CutSet]) -> DataLoader:
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=None,  # the sampler makes whole batches
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def transfer_batch_to_device(self, batch: SpeechBatch, device: torch.device, dataloader_idx: int) -> SpeechBatch:
        return batch.to(device)

    # Exact resume. Batches that were trained on are counted (the sampler would also count those waiting in the workers'
    # queues) and the loader leaves out as many. The count is taken from the trainer's total, which is right after every
    # resume; its count within the epoch and its epoch go astray after a resume from an epoch's last batch.

    def start_of_epoch(self) -> tuple[int, int]:
        """(epoch, batches to leave out) for the training loader that is about to start."""
        if self.trainer is None:
            return self.epoch, 0
        total = self._total_batches()
        if self._resume is not None:
            (epoch, done), self._resume = self._resume, None
        elif self._start is None or self._start.trainer is not self.trainer:
            epoch, done = self.trainer.current_epoch, 0
        elif total == self._start.total:  # started twice with nothing trained on in between
            epoch, done = self._start.epoch, self._start.done
        else:
            epoch, done = self._start.epoch + 1, 0
        self._start = _Start(self.trainer, epoch, done, total)
        self.epoch = epoch
        return epoch, done

    def _total_batches(self) -> int:
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.ready

    def state_dict(self) -> dict[str, Any]:
        if self.trainer is None or self._start is None:
            epoch, done = self._resume or (self.epoch, 0)
        else:
            epoch, done = self._start.epoch, self._start.done + self._total_batches() - self._start.total
            is_last = self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
            if done and (is_last or done >= self.trainer.num_training_batches):
                epoch, done = epoch + 1, 0
        return {"epoch": epoch, "batches_done": done, "order": self._order()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.trainer is not None and self.trainer.state.fn != TrainerFn.FITTING:
            return
        order = self._order()
        changed = [key for key, value in state_dict["order"].items() if order.get(key) != value]
        if changed:
            rank_zero_warn(
                "data: the order of batches is not the checkpoint's, because "
                + ", ".join(f"{key} was {state_dict['order'][key]} and is {order.get(key)}" for key in changed)
                + "; some sessions of the running epoch may be seen twice or not at all"
            )
        self._resume = (state_dict["epoch"], state_dict["batches_done"])

    def _order(self) -> dict[str, Any]:
        """Everything besides the cuts that decides the order of training batches, as plain data."""
        return {
            "corpus": self.corpus.name,
            "seed": self.seed,
            "max_duration": self.max_duration,
            "quadratic_duration": self.quadratic_duration,
            "num_buckets": self.num_buckets,
            "excerpt": None if self.excerpt is None else str(self.excerpt),
            "world_size": self.trainer.world_size if self.trainer else 1,
        }


@dataclass(frozen=True)
class _Start:
    """Where a training loader began: its epoch, the batches it left out, and the trainer's total of batches then."""

    trainer: pl.Trainer
    epoch: int
    done: int
    total: int


class TrainLoader:
    """Iterated once an epoch: makes the epoch's sampler and leaves out what was trained on before a resume.

    Neither loader has public `sampler` or `dataset`: Lightning takes what has them for a DataLoader and rebuilds it.
    """

    def __init__(self, module: SpeechDataModule, dataset: SpeechDataset) -> None:
        self._module = module
        self._dataset = dataset

    def __iter__(self) -> Iterator[SpeechBatch]:
        # A generator, so that nothing happens before the first batch is asked for: Lightning calls iter() also just to
        # see that it works, which must not use up the resume.
        epoch, done = self._module.start_of_epoch()
        self._dataset.epoch = epoch  # before the workers start: each takes a copy
        sampler = itertools.islice(self._module.train_sampler(epoch), done, None)
        yield from self._module.make_loader(self._dataset, sampler)


class EvalLoader:
    """The same batches at every iteration. Its length is counted from the manifest, for progress bars."""

    def __init__(self, sampler: Callable[[], CutSampler], dataset: SpeechDataset, module: SpeechDataModule) -> None:
        self._sampler = sampler
        self._dataset = dataset
        self._module = module
        self._length: int | None = None

    def __len__(self) -> int:
        if self._length is None:
            self._length = sum(1 for _ in self._sampler())
        return self._length

    def __iter__(self) -> Iterator[SpeechBatch]:
        yield from self._module.make_loader(self._dataset, self._sampler())


class _EpochExcerpt:
    """Excerpt of one epoch as a function of the cut alone (a class, because lhotse pickles what it maps)."""

    def __init__(self, excerpt: Excerpt, seed: int, epoch: int) -> None:
        self.excerpt, self.seed, self.epoch = excerpt, seed, epoch

    def __call__(self, cut: Cut) -> Cut:
        return self.excerpt(cut, self.seed, self.epoch)


def _quietly(sampler: type[CutSampler], *cuts: CutSet, **options: Any) -> CutSampler:
    """Make a sampler without its advice against manifests that are in memory, which ours are by choice."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*eagerly read CutSet.*")
        return sampler(*cuts, **options)


def _require_positive(**settings: float | None) -> None:
    for name, value in settings.items():
        if value is not None and not value > 0:
            raise ValueError(f"data: {name} is {value}; give a number above 0")
