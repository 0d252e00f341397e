"""ManifestCorpus: any corpus for which there are lhotse cut manifests, without writing a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import cast

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.serialization import load_manifest_lazy_or_eager
from lightning.pytorch.utilities import rank_zero_warn

from speech_xl.data.audio import recordings_of
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.sessions import SAMPLE_RATE

SLACK_SECONDS = 0.1  # what a supervision may reach beyond its cut, or into another: rounded times


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
        heard: dict[str, str] = {}
        for split in SPLITS:
            cuts = self._read(split)
            overlapping = [cut.id for cut in cuts if overlaps(cut)]
            if overlapping:
                rank_zero_warn(
                    f"ManifestCorpus: {split}: in {len(overlapping)} of {len(cuts)} cuts, such as {overlapping[0]}, "
                    "people speak at once: excerpts there hear more than their transcripts say; leave data.excerpt null"
                )
            recordings = {recording.id for cut in cuts for recording in recordings_of(cut)}
            if shared := sorted(recordings & heard.keys()):
                rank_zero_warn(
                    f"ManifestCorpus: recording {shared[0]} is in {heard[shared[0]]} and in {split}, as are "
                    f"{len(shared) - 1} more: what is measured on them is no measure"
                )
            heard |= dict.fromkeys(recordings, split)

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
        try:
            # an empty manifest is no lhotse type at all, hence None
            items = list(cast(Iterable[object], load_manifest_lazy_or_eager(path) or ()))
        except Exception as error:  # of the decompression, of JSON or YAML, or of lhotse
            raise ValueError(
                f"ManifestCorpus: {split}: {path} cannot be read ({type(error).__name__}: {error}); "
                "write it with lhotse's CutSet.to_file()"
            ) from error
        if not items:
            raise ValueError(f"ManifestCorpus: {split}: {path} is empty; write at least one cut into it")
        ids: set[str] = set()
        for item in items:
            what = f"ManifestCorpus: {split}: {path}: {type(item).__name__} {getattr(item, 'id', '')}"
            if not isinstance(item, Cut):
                raise ValueError(f"{what} is no cut; make cuts with lhotse's CutSet.from_manifests()")
            if not item.has_recording:
                raise ValueError(f"{what} has no recording; cuts of features only won't do, keep the audio")
            if item.id in ids:
                raise ValueError(f"{what} is there twice; give every cut its own id")
            if wrong := misplaced(item):
                raise ValueError(f"{what}: {wrong}")
            ids.add(item.id)
        return cast(list[Cut], items)


def misplaced(cut: Cut) -> str | None:
    """What is wrong with a cut's supervisions, and the mend: those beyond its audio, and those without words."""
    for said in cut.supervisions:
        where = f"supervision {said.id}, {said.start:.2f} to {said.end:.2f} s,"
        if said.start < -SLACK_SECONDS or said.end > cut.duration + SLACK_SECONDS:
            return f"{where} reaches beyond the cut's {cut.duration:.2f} s; trim it, or let the cut be longer"
        if said.text is not None and not said.text.strip():
            return f"{where} has an empty text; write what is said there, or take the supervision out"
    return None


def overlaps(cut: Cut) -> bool:
    """Whether two utterances are spoken at once."""
    times = sorted((said.start, said.end) for said in cut.supervisions)
    return any(after[0] < before[1] - SLACK_SECONDS for before, after in pairwise(times))
