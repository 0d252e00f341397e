"""Loaders and samplers: the batches of a training epoch, of an evaluation, and the place a resumed run goes on from."""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import lightning.pytorch as pl
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler
from lhotse.dataset.sampling.base import CutSampler, TimeConstraint
from lhotse.dataset.sampling.dynamic_bucketing import estimate_duration_buckets
from lightning.pytorch.utilities import rank_zero_warn

from speech_xl.checks import number, whole
from speech_xl.data.batch import SpeechBatch
from speech_xl.data.dataset import Excerpt, FillerId

CUTS_FOR_BUCKETS = 10_000
"""Sessions looked at to part a corpus into groups of like length."""

ALL = sys.maxsize
"""Batches to leave out where an epoch is not gone on with."""


@dataclass(frozen=True)
class TrainSampling:
    """Which training batches there are and in which order: a function of these settings, the cuts and the epoch.

    Args:
        seed: decides the order and the excerpts.
        max_duration: seconds of audio in a batch, counted as rows times the longest row.
        quadratic_duration: where set, a row counts as d + d^2 / quadratic_duration seconds.
        num_buckets: batches are drawn from this many groups of sessions of like length.
        excerpt: what to take of a session; null takes all of it.
    """

    seed: int
    max_duration: float
    quadratic_duration: float | None
    num_buckets: int
    excerpt: Excerpt | None

    def __post_init__(self) -> None:
        whole("data.seed", self.seed)
        number("data.max_duration", self.max_duration, above=0, unit="seconds")
        if self.quadratic_duration is not None:
            number("data.quadratic_duration", self.quadratic_duration, above=0, unit="seconds")
        whole("data.num_buckets", self.num_buckets, least=1)

    def sampler(
        self,
        cuts: CutSet,
        epoch: int,
        without: Collection[str] = (),
        world_size: int | None = None,
        rank: int | None = None,
    ) -> CutSampler:
        """The batches of one epoch, those of `rank` (None: this process's). Excerpts are taken before batches are made,
        so that their own length counts. Cuts named in `without` are left out."""
        if self.excerpt is not None:
            if self.excerpt.per_session > 1:
                cuts = cuts.repeat(times=self.excerpt.per_session)  # under other ids, so each draws its own excerpt
            cuts = cuts.map(_EpochExcerpt(self.excerpt, self.seed, epoch))
        if without:
            cuts = cuts.filter(_NotIn(without))
        budget: dict[str, Any] = {"max_duration": self.max_duration, "quadratic_duration": self.quadratic_duration}
        sessions = sum(1 for _ in itertools.islice(cuts, self.num_buckets))
        bins = None
        if sessions > 1 and self.num_buckets > 1:
            sample = itertools.islice(cuts, CUTS_FOR_BUCKETS)
            bins = estimate_duration_buckets(sample, min(self.num_buckets, sessions), TimeConstraint(**budget))
        sampler = _quietly(
            DynamicBucketingSampler,
            cuts,
            **budget,
            duration_bins=bins or [math.inf],  # too few sessions to part them: one bucket
            sync_buckets=True,  # without it lhotse 1.33 ends an epoch at the first empty bucket, leaving sessions out
            shuffle=True,
            drop_last=False,
            seed=self.seed,
            world_size=world_size,
            rank=rank,
        )
        sampler.set_epoch(epoch)
        return sampler


def evaluation_sampler(cuts: CutSet, max_duration: float) -> CutSampler:
    """The same batches every time, in the corpus's order.

    With several ranks and too few sessions left for all of them, lhotse copies some under the id ``<id>_dup<number>``.
    A session may have such a name itself, so sessions are sampled by number: what comes back under another id than a
    number is a copy, and gets a `FillerId`.
    """
    ids: dict[str, str] = {}
    numbered: list[Cut] = []
    for place, cut in enumerate(iter(cuts)):
        ids[str(place)] = cut.id
        numbered.append(cut.with_id(str(place)))
    return _quietly(DynamicCutSampler, CutSet.from_cuts(numbered), max_duration=max_duration).map(_Renamed(ids))


class TrainPosition:
    """Counts the batches that were trained on, for an exact resume.

    The sampler would also count the batches waiting in the workers' queues. The trainer's total is right after every
    resume; its count within the epoch and its epoch go astray after a resume from an epoch's last batch, and with them
    any position taken from those.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._resume: tuple[int, int] | None = None  # (epoch, batches done) until a loader takes it
        self._start: _Start | None = None  # where the running loader began

    def begin(self, trainer: pl.Trainer | None) -> tuple[int, int]:
        """(epoch, batches to leave out) for a training loader that is about to start."""
        if trainer is None:
            return self.epoch, 0
        total = _total_batches(trainer)
        if self._resume is not None:
            (self.epoch, done), self._resume = self._resume, None
        elif self._start is None or self._start.trainer is not trainer:
            self.epoch, done = trainer.current_epoch, 0
        elif total == self._start.total:  # started twice with nothing trained on in between
            self.epoch, done = self._start.epoch, self._start.done
        else:
            self.epoch, done = self._start.epoch + 1, 0
        self._start = _Start(trainer, self.epoch, done, total)
        return self.epoch, done

    def next_epoch(self) -> int:
        """Leave the epoch that the loader began, because nothing is left of it; returns the next one."""
        self.epoch += 1
        if self._start is not None:
            self._start = replace(self._start, epoch=self.epoch, done=0)
        return self.epoch

    def resume(self, epoch: int, batches_done: int) -> None:
        """Make the next loader go on from here."""
        self._resume = (epoch, batches_done)

    def reached(self, trainer: pl.Trainer | None) -> tuple[int, int]:
        """(epoch, batches done) to go on from."""
        if trainer is None or self._start is None or self._start.trainer is not trainer:
            return self._resume or (self.epoch, 0)
        epoch, done = self._start.epoch, self._start.done + _total_batches(trainer) - self._start.total
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if done and (is_last or done >= trainer.num_training_batches):
            return epoch + 1, 0
        return epoch, done


@dataclass(frozen=True)
class _Start:
    """Where a training loader began: its epoch, the batches it left out, and the trainer's total of batches then."""

    trainer: pl.Trainer
    epoch: int
    done: int
    total: int


class TrainLoader:
    """Iterated once an epoch: makes the epoch's batches and leaves out what was trained on before a resume.

    Neither loader has public `sampler` or `dataset`: Lightning takes what has them for a DataLoader and rebuilds it.

    Args:
        begin: gives the epoch and the batches to leave out.
        next_epoch: gives the epoch after that, where it has no more batches than are to be left out.
        sampler: epoch -> sampler.
        loader: batches of cuts -> batches of tensors, such as a DataLoader.
    """

    def __init__(
        self,
        begin: Callable[[], tuple[int, int]],
        next_epoch: Callable[[], int],
        sampler: Callable[[int], CutSampler],
        loader: Callable[[Iterable[CutSet]], Iterable[SpeechBatch]],
    ) -> None:
        self._begin, self._next_epoch = begin, next_epoch
        self._sampler = sampler
        self._loader = loader

    def __iter__(self) -> Iterator[SpeechBatch]:
        # A generator, so that nothing happens before the first batch is asked for: Lightning calls iter() also just to
        # see that it works, which must not use up the resume.
        epoch, done = self._begin()
        batches = itertools.islice(self._sampler(epoch) if done < ALL else (), done, None)
        first = next(batches, None)
        if first is not None:
            yield from self._loader(itertools.chain([first], batches))
            return
        # Begun again, it would be as empty for ever. The trainer ends this epoch and asks for the next by itself, so
        # that its own count of epochs, which a curriculum may go by, stays that of the batches.
        following = self._next_epoch()
        rank_zero_warn(f"data: nothing of epoch {epoch} is left to train on; epoch {following} begins")


class EvalLoader:
    """The same batches at every iteration. Its length is counted from the manifest, for progress bars."""

    def __init__(
        self,
        sampler: Callable[[], CutSampler],
        loader: Callable[[Iterable[CutSet]], Iterable[SpeechBatch]],
    ) -> None:
        self._sampler = sampler
        self._loader = loader
        self._length: int | None = None

    def __len__(self) -> int:
        if self._length is None:
            self._length = sum(1 for _ in self._sampler())
        return self._length

    def __iter__(self) -> Iterator[SpeechBatch]:
        yield from self._loader(self._sampler())


class _Renamed:
    """Gives sampled cuts their own ids back (a class, as `_EpochExcerpt` is)."""

    def __init__(self, ids: dict[str, str]) -> None:
        self.ids = ids

    def __call__(self, cuts: CutSet) -> CutSet:
        return CutSet.from_cuts(cut.with_id(self.id_of(cut.id)) for cut in iter(cuts))

    def id_of(self, sampled: str) -> str:
        """The id of the session that was sampled as this."""
        number, *copied = sampled.split("_")
        return FillerId(self.ids[number]) if copied else self.ids[number]


class _EpochExcerpt:
    """Excerpt of one epoch as a function of the cut alone (a class, because lhotse pickles what it maps)."""

    def __init__(self, excerpt: Excerpt, seed: int, epoch: int) -> None:
        self.excerpt, self.seed, self.epoch = excerpt, seed, epoch

    def __call__(self, cut: Cut) -> Cut:
        return self.excerpt(cut, self.seed, self.epoch)


class _NotIn:
    """Whether a cut is none of these (a class, as above)."""

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = frozenset(ids)

    def __call__(self, cut: Cut) -> bool:
        return cut.id not in self.ids


def _total_batches(trainer: pl.Trainer) -> int:
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready


def _quietly(sampler: Callable[..., CutSampler], *cuts: CutSet, **options: Any) -> CutSampler:
    """Make a sampler without its advice against manifests that are in memory, which ours are by choice."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*eagerly read CutSet.*")
        return sampler(*cuts, **options)
