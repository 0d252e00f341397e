"""SpeechDataModule: a corpus to loaders of SpeechBatch, resuming with the very batch that comes next."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset.sampling.base import CutSampler
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from speech_xl.checks import number, whole
from speech_xl.data.audio_check import check_audio_files
from speech_xl.data.batch import SpeechBatch
from speech_xl.data.corpus import Corpus
from speech_xl.data.cut_checks import cut_fault
from speech_xl.data.dataset import EvaluationTurns, Excerpt, SpeechDataset
from speech_xl.data.encoder_frames import EncoderFrames
from speech_xl.data.loaders import ALL, EvalLoader, TrainLoader, TrainPosition, TrainSampling, evaluation_sampler
from speech_xl.data.partition import FixedWindows, Partition
from speech_xl.data.resume import can_go_on, changes, trained_on
from speech_xl.data.split_report import report_evaluation, report_training
from speech_xl.data.tasks import SCORED, TaskMixture
from speech_xl.data.transcript import PLAIN, Transcript
from speech_xl.data.transforms import CutTransform
from speech_xl.data.windows import check_borders

DEFAULT_TASKS = {"asr": 1.0}
DEFAULT_EVAL_TASKS = ["asr", "qa"]


def splits_of(stage: str | None) -> list[str]:
    """The splits that a stage of Lightning's ("fit", "validate", "test", "predict") reads; all of them where it is
    none of these."""
    splits = {"fit": ["train", "dev"], "validate": ["dev"], "test": ["test"], "predict": ["test"]}
    return splits.get(stage or "", ["train", "dev", "test"])


class SpeechDataModule(pl.LightningDataModule):
    """Loaders over the splits of one corpus.

    Training epochs roll over without a known length: train by `max_steps` with `max_epochs: -1`. A run resumed from a
    checkpoint in the middle of an epoch goes on with the very next batch, whatever the number of workers.

    Args:
        corpus: where the sessions come from.
        transforms: what changes its sessions before they are used, in this order, such as SpeedPerturbation. Null:
            nothing.
        cache_dir: folder for what is computed once and kept, such as encoder frames.
        tasks: task -> weight of the training mixture; tasks are "asr", "caption" and "qa". Null: only "asr".
        turns: the most questions a training sample carries.
        dialogue: whether the questions of a training sample are one dialogue, in which later ones see earlier ones with
            their answers; false: each is asked on its own, as in evaluation.
        transcript: how transcripts are written, in training and in evaluation. Null: as plain text. Timestamps: with
            the times of utterances or words. The model is given the same.
        partition: where the intervals of a session end. Null: fixed windows of 4 s.
        max_duration: seconds of audio in a training batch, counted as rows times the longest row; the last row may go
            over it by the spread of lengths in its group. A session longer than this is a batch of its own.
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
        frames: the encoder's frames, of the phase; they are read instead of the audio where they are kept.
    """

    def __init__(
        self,
        corpus: Corpus,
        cache_dir: str = "data",
        tasks: dict[str, float] | None = None,
        turns: int = 4,
        dialogue: bool = True,
        transcript: Transcript | None = None,
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
        frames: EncoderFrames | None = None,
        transforms: list[CutTransform] | None = None,
    ) -> None:
        super().__init__()
        number("data.eval_max_duration", eval_max_duration, above=0, unit="seconds")
        for key, limit in (("data.limit_dev", limit_dev), ("data.limit_test", limit_test)):
            if limit is not None:
                whole(key, limit, least=1)
        whole("data.num_workers", num_workers)
        self.corpus = corpus
        self.transforms = transforms or []
        self.cache_dir = cache_dir
        self.transcript = transcript or PLAIN
        self.mixture = TaskMixture(DEFAULT_TASKS if tasks is None else tasks, turns, self.transcript, dialogue)
        asked = DEFAULT_EVAL_TASKS if eval_tasks is None else eval_tasks
        self.evaluation = EvaluationTurns(asked, eval_questions, self.transcript)
        self.partition = partition or FixedWindows(4.0)
        self.partition.keep_in(cache_dir)
        check_borders(self.transcript.windows, self.partition, self.transcript.grid)
        self.sampling = TrainSampling(seed, max_duration, quadratic_duration, num_buckets, excerpt)
        self.eval_max_duration = eval_max_duration
        self.limits = {"dev": limit_dev, "test": limit_test}
        self.num_workers = num_workers
        self.seed = seed
        if excerpt is not None and "asr" not in self.mixture.weights:
            raise ValueError(
                "data: excerpt makes samples of the task asr, which has no weight in tasks; add it or set excerpt null"
            )
        self.frames = frames
        if frames is not None:
            frames.keep_in(cache_dir, self._sessions_of_excerpts)
        self._position = TrainPosition()
        self._earlier: tuple[int, list[dict[str, Any]]] = (0, [])  # an epoch, and its batches drawn otherwise than now
        self._cuts: dict[str, CutSet] = {}
        self._evaluated: str | None = None

    def evaluate_on(self, split: str) -> None:
        """Let validate, test and predict read this split, whichever is their own."""
        self._evaluated = split

    def _splits_of(self, stage: str | None) -> list[str]:
        return splits_of(stage) if self._evaluated is None or stage == "fit" else [self._evaluated]

    def check(self, not_yet: Collection[Path] = ()) -> None:
        """Raise where a file or folder that the user named is missing; `not_yet` as in `CutTransform.check`."""
        self.corpus.check()
        for transform in self.transforms:
            transform.check(not_yet)

    def prepare_data(self) -> None:
        """Make the corpus where it is missing, and look at all audio files of the splits that will be read."""
        self.check()
        self.corpus.prepare()
        if self.trainer is not None:
            for split in self._splits_of(self.trainer.state.fn):
                check_audio_files(self.cuts(split), split)

    def setup(self, stage: str | None = None) -> None:
        """Read the splits. Raises ValueError where training would have nothing to choose checkpoints by."""
        asked = self.evaluation.tasks
        if stage == "fit" and not set(SCORED) & set(asked) and self.trainer and self.trainer.limit_val_batches:
            raise ValueError(
                f"data.eval_tasks={asked}: checkpoints are chosen by their errors in {' and '.join(SCORED)}; name one "
                "of them, or set trainer.limit_val_batches to 0"
            )
        for split in self._splits_of(stage):
            self.cuts(split)

    def _sessions_of_excerpts(self) -> Iterable[Cut]:
        """Sessions that random excerpts are cut out of."""
        excerpt = self.sampling.excerpt
        return [] if excerpt is None or excerpt.fixed else self.cuts("train")

    def cuts(self, split: str) -> CutSet:
        """The sessions of a split, limited by `limit_dev` or `limit_test`."""
        if split not in self._cuts:
            cuts = self.corpus.cuts(split)
            for transform in self.transforms:
                cuts = transform(cuts, split)
            if next(iter(cuts), None) is None:
                raise ValueError(
                    f"corpus {self.corpus.name}: the split {split!r} has no sessions; delete the corpus folder and "
                    "prepare it again, or ask the recipe for at least one session"
                )
            for cut in iter(cuts):
                if fault := cut_fault(cut):
                    raise ValueError(f"corpus {self.corpus.name}: {split}: cut {cut.id}: {fault}")
            self._cuts[split] = self._limited(cuts, split)
        return self._cuts[split]

    def _limited(self, cuts: CutSet, split: str) -> CutSet:
        limit = self.limits.get(split)
        if limit is not None:
            sessions = list(cuts)
            if limit < len(sessions):
                rank_zero_info(f"data: {limit} of the {len(sessions)} {split} sessions are used (limit_{split})")
                cuts = CutSet.from_cuts(sessions[i * len(sessions) // limit] for i in range(limit))
        if split == "train":
            report_training(cuts, self.mixture)
        else:
            report_evaluation(cuts, split, self.evaluation, self.corpus.name)
        return cuts

    # Loaders

    def train_dataloader(self) -> Iterable[SpeechBatch]:
        dataset = SpeechDataset(self.mixture, self.partition, self.seed)
        return TrainLoader(
            lambda: self._position.begin(self.trainer),
            self._position.next_epoch,
            self._train_sampler,
            lambda batches: self._loader(dataset, batches),
        )

    def _train_sampler(self, epoch: int) -> CutSampler:
        cuts = self.cuts("train")
        return self.sampling.sampler(cuts, epoch, trained_on(cuts, epoch, self.sampling, self._parts(epoch)))

    def val_dataloader(self) -> Iterable[SpeechBatch]:
        return self._eval_loader(self._evaluated or "dev")

    def test_dataloader(self) -> Iterable[SpeechBatch]:
        return self._eval_loader(self._evaluated or "test")

    def predict_dataloader(self) -> Iterable[SpeechBatch]:
        return self._eval_loader(self._evaluated or "test")

    def _eval_loader(self, split: str) -> Iterable[SpeechBatch]:
        dataset = SpeechDataset(self.evaluation, self.partition, self.seed)
        cuts = self.cuts(split)
        return EvalLoader(
            lambda: evaluation_sampler(cuts, self.eval_max_duration), lambda batches: self._loader(dataset, batches)
        )

    def _loader(self, dataset: SpeechDataset, batches: Iterable[CutSet]) -> DataLoader:
        # Before the workers start: each takes a copy.
        dataset.cache, dataset.epoch = None if self.frames is None else self.frames.cache, self.epoch
        return DataLoader(
            dataset,
            sampler=batches,
            batch_size=None,  # the sampler makes whole batches
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def transfer_batch_to_device(self, batch: SpeechBatch, device: torch.device, dataloader_idx: int) -> SpeechBatch:
        return batch.to(device)

    # Exact resume

    @property
    def epoch(self) -> int:
        """The epoch training batches are drawn in. Without a trainer it may be set; with one it rises by itself."""
        return self._position.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._position.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        epoch, done = self._position.reached(self.trainer)
        order = self._order()
        return {"epoch": epoch, "batches_done": done, "order": order, "earlier": self._parts(epoch)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.trainer is not None and self.trainer.state.fn != TrainerFn.FITTING:
            return
        epoch, done, before = state_dict["epoch"], state_dict["batches_done"], state_dict["order"]
        earlier = list(state_dict.get("earlier", []))
        changed = changes(before, self._order())
        if changed and can_go_on(before, changed):
            earlier.append({**before, "batches": done})
            done = 0
            then = f"epoch {epoch} goes on with the sessions that are left of it, in other batches"
        elif changed:
            done, earlier = ALL if done else 0, []
            then = f"what is left of epoch {epoch} can't be told" if done else f"epoch {epoch} begins with them"
        if changed:
            rank_zero_warn(f"data: batches are not drawn as the checkpoint's: {', '.join(changed.values())}; {then}")
        self._earlier = (epoch, earlier)
        self._position.resume(epoch, done)

    def _parts(self, epoch: int) -> list[dict[str, Any]]:
        """What was trained on in an epoch before its batches were drawn as now."""
        return self._earlier[1] if epoch == self._earlier[0] else []

    def _order(self) -> dict[str, Any]:
        """What decides the order of training batches, as plain data."""
        return {
            "corpus": self.corpus.name,
            "transforms": ", ".join(f"{type(one).__name__}{vars(one)}" for one in self.transforms),
            **vars(self.sampling) | {"excerpt": str(self.sampling.excerpt)},
            "world_size": self.trainer.world_size if self.trainer else 1,
        }
