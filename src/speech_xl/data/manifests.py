"""ManifestCorpus: any corpus for which there are lhotse cut manifests, without writing a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.cut import Cut
from lightning.pytorch.utilities import rank_zero_warn

from speech_xl.data.audio import recordings_of
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.cut_checks import SLACK_SECONDS, cut_fault
from speech_xl.data.manifest_lines import manifest_items
from speech_xl.data.sessions import SAMPLE_RATE


class ManifestCorpus(Corpus):
    """Three lhotse cut manifests, one cut a session (see `Corpus` for what a cut carries; docs/data.md has an example).

    Args:
        train: path of the training cuts, such as cuts_train.jsonl.gz.
        dev: path of the validation cuts.
        test: path of the test cuts.
        name: of the corpus, in logs and folders.
        audio_dir: the folder that relative audio paths in the manifests start from; null: the working directory.
    """

    def __init__(self, train: str, dev: str, test: str, name: str = "manifests", audio_dir: str | None = None) -> None:
        self.name = name
        self.paths: dict[str, Path] = dict(zip(SPLITS, (Path(train), Path(dev), Path(test)), strict=True))
        self.audio_dir = audio_dir

    def check(self) -> None:
        for split in SPLITS:
            self._path(split)

    def prepare(self) -> None:
        """There is nothing to make; what is wrong with a manifest is told before training starts."""
        split_of: dict[str, str] = {}
        for split in SPLITS:
            cuts = self._read(split)
            overlapping = [cut.id for cut in cuts if overlaps(cut)]
            if overlapping:
                rank_zero_warn(
                    f"ManifestCorpus: {split}: in {len(overlapping)} of {len(cuts)} cuts, such as {overlapping[0]}, "
                    "people speak at once: excerpts there hear more than their transcripts say; leave data.excerpt null"
                )
            recordings = {recording.id for cut in cuts for recording in recordings_of(cut)}
            if shared := sorted(recordings & split_of.keys()):
                rank_zero_warn(
                    f"ManifestCorpus: recording {shared[0]} is in {split_of[shared[0]]} and in {split} (of all "
                    f"that are in both: {len(shared)}): what is measured on them is no measure"
                )
            split_of |= dict.fromkeys(recordings, split)

    def cuts(self, split: str) -> CutSet:
        check_split(split, self.name)
        cuts = CutSet.from_cuts(
            cut if cut.sampling_rate == SAMPLE_RATE else cut.resample(SAMPLE_RATE) for cut in self._read(split)
        )
        return cuts.with_recording_path_prefix(self.audio_dir).to_eager() if self.audio_dir is not None else cuts

    def _path(self, split: str) -> Path:
        path = self.paths[split]
        if not path.is_file():
            raise FileNotFoundError(
                f"ManifestCorpus: {split}: {path} is missing; give the path of a lhotse cut manifest"
            )
        return path

    def _read(self, split: str) -> list[Cut]:
        path = self._path(split)
        cuts: list[Cut] = []
        ids: set[str] = set()
        for place, cut in self._items(split, path):
            what = f"ManifestCorpus: {split}: {place}: {type(cut).__name__} {getattr(cut, 'id', '')}"
            if not isinstance(cut, Cut):
                raise ValueError(f"{what} is no cut; make cuts with lhotse's CutSet.from_manifests()")
            if not cut.has_recording:
                raise ValueError(f"{what} has no recording; cuts of features only won't do, keep the audio")
            if cut.id in ids:
                raise ValueError(f"{what} is there twice; give every cut its own id")
            if wrong := cut_fault(cut):
                raise ValueError(f"{what}: {wrong}")
            ids.add(cut.id)
            cuts.append(cut)
        if not cuts:
            raise ValueError(f"ManifestCorpus: {split}: {path} is empty; write at least one cut into it")
        return cuts

    def _items(self, split: str, path: Path) -> Iterator[tuple[str, Any]]:
        try:
            yield from manifest_items(path)
        except ValueError as error:
            raise ValueError(f"ManifestCorpus: {split}: {error}") from error


def overlaps(cut: Cut) -> bool:
    """Whether two utterances are spoken at once."""
    times = sorted((supervision.start, supervision.end) for supervision in cut.supervisions)
    return any(after[0] < before[1] - SLACK_SECONDS for before, after in pairwise(times))
