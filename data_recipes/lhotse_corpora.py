"""Long-form sets over lhotse's own recipes: TED-LIUM 3, AMI, Earnings-21, Earnings-22 and VoxPopuli.

lhotse downloads and reads them; here their recordings become sessions with all their supervisions, and a transcription
item each whose truth is the supervisions' texts in the order of time. What lhotse leaves of a corpus is what is scored:

* TED-LIUM 3 (CC BY-NC-ND 3.0; Hernandez et al., arXiv 1805.04699): the legacy split, 8 dev and 11 test talks. Segments
  marked ``ignore_time_segment_in_scoring`` have no supervision: what is said there isn't in the truth, and words that a
  model hears there count as insertions. lhotse's "kaldi" normalisation takes ``[NOISE]`` and ``<unk>`` out and joins
  ``they 're``.
* AMI (CC BY 4.0; Carletta et al., MLMI 2005): meetings by the mix of headsets, split "full-corpus-asr". People speak at
  once: the truth has their segments in the order of their beginnings, and excerpts of such sessions hear more than
  their transcripts say.
* Earnings-21 (CC BY-SA 4.0; Del Rio et al., arXiv 2104.11348) and Earnings-22 (CC BY-SA 4.0; arXiv 2203.15591): whole
  calls, all in "test", one supervision each. lhotse wants all 44 and 125 files, and takes the words of the .nlp files
  as they stand.
* VoxPopuli (data CC0, the European Parliament's legal notice for the audio; Wang et al., ACL 2021): of a plenary
  session of hours only some speeches are transcribed. Its sessions therefore are stretches of transcribed segments that
  follow each other within `max_gap_seconds`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lhotse.recipes.ami as lhotse_ami
import lhotse.recipes.earnings21 as lhotse_earnings21
import lhotse.recipes.earnings22 as lhotse_earnings22
import lhotse.recipes.tedlium as lhotse_tedlium
import lhotse.recipes.voxpopuli as lhotse_voxpopuli
from lhotse import CutSet, Recording
from lhotse.audio.backend import get_current_audio_backend, set_current_audio_backend
from lhotse.utils import fastcopy

from data_recipes.lhotse_sessions import LhotseCorpus, Manifests
from data_recipes.long_form import asking, written
from speech_xl.data.corpus import SPLITS


def _parts(manifests: Any) -> Manifests:
    """lhotse's {split: {"recordings": ..., "supervisions": ...}} as pairs."""
    return {split: (some["recordings"], some["supervisions"]) for split, some in manifests.items()}


def _read(corpus: Path, recipe: Callable[[], Any]) -> Any:
    """What lhotse's recipe makes of a corpus. Raises ValueError, with the folder, for whatever it stumbles over."""
    try:
        return recipe()
    except Exception as error:  # assertions, missing files, lines and XML it can't read, audio backends' own types
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise ValueError(f"lhotse can't read {corpus} ({reason}); unpack the whole corpus there again") from error


class TedLium3(LhotseCorpus):
    """TED-LIUM 3, whole talks: train, dev and test of the legacy split. Settings are those of `LhotseCorpus`."""

    name = "tedlium3"
    published = {"dev": 8, "test": 11}

    def download(self) -> Path:
        return download_tedlium3(self.root)

    def manifests(self, corpus: Path) -> Manifests:
        there = [part for part in SPLITS if (corpus / "legacy" / part).is_dir()]
        if not there:
            raise FileNotFoundError(f"TedLium3: {corpus} has no legacy/test; give the folder TEDLIUM_release-3")
        before = get_current_audio_backend()
        set_current_audio_backend("LibsndfileBackend")
        try:
            found = _read(
                corpus, lambda: lhotse_tedlium.prepare_tedlium(corpus, dataset_parts=there, normalize_text="kaldi")
            )
        finally:
            set_current_audio_backend(before)
        return {
            split: ([self._linked(one) for one in recordings], segments)
            for split, (recordings, segments) in _parts(found).items()
        }

    def _linked(self, recording: Recording) -> Recording:
        """The recording behind a link that doesn't end in .sph: for that name lhotse wants the program sph2pipe, and
        libsndfile reads these files itself."""
        (source,) = recording.sources
        link = self.folder / "audio" / f"{recording.id}.sphere"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(str(source.source)).resolve())
        return fastcopy(recording, sources=[fastcopy(source, source=str(link))])


class AMI(LhotseCorpus):
    """The AMI meetings by the mix of headsets, split full-corpus-asr. Settings are those of `LhotseCorpus`."""

    name = "ami"
    published = {split: len(meetings) for split, meetings in lhotse_ami.PARTITIONS["full-corpus-asr"].items()}

    def download(self) -> Path:
        return download_ami(self.root)

    def manifests(self, corpus: Path) -> Manifests:
        return _parts(_read(corpus, lambda: lhotse_ami.prepare_ami(corpus, mic="ihm-mix", partition="full-corpus-asr")))


class Earnings21(LhotseCorpus):
    """Earnings-21: 44 calls, 39 h, all in test. Settings are those of `LhotseCorpus`."""

    name = "earnings21"
    published = {"test": 44}

    def download(self) -> Path:
        return download_earnings21(self.root)

    def manifests(self, corpus: Path) -> Manifests:
        _require_calls(corpus, 44)
        return {"test": _read(corpus, lambda: lhotse_earnings21.prepare_earnings21(corpus))}


class Earnings22(LhotseCorpus):
    """Earnings-22: 125 calls, 119 h, all in test. Settings are those of `LhotseCorpus`."""

    name = "earnings22"
    published = {"test": 125}

    def download(self) -> Path:
        return download_earnings22(self.root)

    def manifests(self, corpus: Path) -> Manifests:
        _require_calls(corpus, 125)
        return {"test": _read(corpus, lambda: lhotse_earnings22.prepare_earnings22(corpus))}


class VoxPopuli(LhotseCorpus):
    """VoxPopuli, plenary sessions of the European Parliament in one language: train, dev and test.

    Looked for in `corpus_dir` and `root`: the audio in ``raw_audios/<language>`` or, as the download of lhotse's subset
    "asr" puts it, ``raw_audios/original``; the segments in ``asr_<language>.tsv.gz``, which is downloaded to `root`
    where it is in neither (a few MB).

    Args:
        language: code of one of the 16 transcribed languages, such as "en".
        root, corpus_dir, prompt, limit, tokens_per_second, min_seconds: as of `LhotseCorpus`.
        max_gap_seconds: a session is a stretch in which every transcribed segment follows within so many seconds.
            Null: whole recordings, most of whose speech has no transcript.
    """

    name = "voxpopuli"

    def __init__(
        self,
        language: str = "en",
        root: str | None = None,
        corpus_dir: str | None = None,
        prompt: str | None = None,
        limit: int | None = None,
        tokens_per_second: float = 16.0,
        max_gap_seconds: float | None = 5.0,
        min_seconds: float = 0.0,
    ) -> None:
        super().__init__(root, corpus_dir, prompt, limit, tokens_per_second, max_gap_seconds, min_seconds)
        if language not in lhotse_voxpopuli.ASR_LANGUAGES:
            raise ValueError(
                f"VoxPopuli.language: got {language!r}; use one of {', '.join(lhotse_voxpopuli.ASR_LANGUAGES)}"
            )
        self.language = language

    def options(self) -> dict[str, Any]:
        return {"language": self.language}

    def download(self) -> Path:
        return download_voxpopuli(self.root)

    def manifests(self, corpus: Path) -> Manifests:
        audio = [corpus / "raw_audios" / name for name in (self.language, "original")]
        found = next((path for path in audio if path.is_dir()), None)
        if found is None:
            raise FileNotFoundError(f"VoxPopuli: neither {audio[0]} nor {audio[1]} is here; download the audio first")
        # lhotse looks for raw_audios/<language>, and writes where it looks for the segments: a folder of our own.
        work = self.folder.parent / f"lhotse-{self.language}"
        (work / "raw_audios").mkdir(parents=True, exist_ok=True)
        link = work / "raw_audios" / self.language
        link.unlink(missing_ok=True)
        link.symlink_to(found.resolve(), target_is_directory=True)
        segments = f"asr_{self.language}.tsv.gz"
        if (corpus / segments).is_file() and not (work / segments).is_file():
            shutil.copy(corpus / segments, work / segments)
        return _parts(
            _read(corpus, lambda: lhotse_voxpopuli.prepare_voxpopuli(work, work, task="asr", lang=self.language))
        )


def _require_calls(corpus: Path, calls: int) -> None:
    """Raises FileNotFoundError where a set of earnings calls isn't whole: lhotse reads all of it or nothing."""
    for folder, ending in (("media", "mp3"), ("transcripts/nlp_references", "nlp")):
        if (found := len(list((corpus / folder).glob(f"*.{ending}")))) != calls:
            raise FileNotFoundError(
                f"{corpus / folder} has {found} files .{ending}, and lhotse's recipe wants all {calls}; fetch the "
                "whole corpus (its audio needs git-lfs)"
            )


def _prepared(corpus: LhotseCorpus, output_dir: str | Path | None) -> dict[str, CutSet]:
    corpus.check()
    corpus.prepare()
    return written({split: list(corpus.cuts(split)) for split in corpus.splits()}, output_dir)


def _root(corpus_dir: str | Path, output_dir: str | Path | None) -> str:
    """Where a corpus that is prepared by hand keeps its manifests."""
    return str(Path(corpus_dir if output_dir is None else output_dir) / "speech_xl")


def download_tedlium3(target_dir: str | Path = ".", force_download: bool = False) -> Path:
    """Download TED-LIUM 3 (50 GB) by lhotse's recipe; returns its folder."""
    site = "https://www.openslr.org/51"
    return asking(site, lambda: lhotse_tedlium.download_tedlium(target_dir, force_download))


def prepare_tedlium3(
    corpus_dir: str | Path, output_dir: str | Path | None = None, limit: int | None = None
) -> dict[str, CutSet]:
    """The cuts of the splits that are here, also written to `output_dir`. limit: the most talks a split."""
    return _prepared(TedLium3(_root(corpus_dir, output_dir), str(corpus_dir), limit=limit), output_dir)


def download_ami(target_dir: str | Path = ".", force_download: bool = False) -> Path:
    """Download AMI's mixes of headsets (100 h) and its annotations by lhotse's recipe; returns the folder."""
    site = "https://groups.inf.ed.ac.uk/ami"
    return asking(site, lambda: lhotse_ami.download_ami(target_dir, force_download=force_download, mic="ihm-mix"))


def prepare_ami(
    corpus_dir: str | Path, output_dir: str | Path | None = None, limit: int | None = None
) -> dict[str, CutSet]:
    """The cuts of the splits that are here, also written to `output_dir`. limit: the most meetings a split."""
    return _prepared(AMI(_root(corpus_dir, output_dir), str(corpus_dir), limit=limit), output_dir)


def download_earnings21(target_dir: str | Path = ".", force_download: bool = False) -> Path:
    """Download Earnings-21 by lhotse's recipe, which fetches the whole repository it lies in; returns its folder."""
    site = "https://github.com/revdotcom/speech-datasets"
    return asking(site, lambda: lhotse_earnings21.download_earnings21(target_dir, force_download))


def prepare_earnings21(
    corpus_dir: str | Path, output_dir: str | Path | None = None, limit: int | None = None
) -> dict[str, CutSet]:
    """The cuts of "test", also written to `output_dir`. limit: the most calls."""
    return _prepared(Earnings21(_root(corpus_dir, output_dir), str(corpus_dir), limit=limit), output_dir)


def download_earnings22(target_dir: str | Path = ".", force_download: bool = False) -> Path:
    """Raises FileNotFoundError that says how to fetch it: lhotse has no download of Earnings-22."""
    raise FileNotFoundError(
        "Earnings22: lhotse doesn't download it; run `git lfs clone https://github.com/revdotcom/speech-datasets "
        f"{target_dir}/speech-datasets` and give its folder earnings22 as corpus_dir"
    )


def prepare_earnings22(
    corpus_dir: str | Path, output_dir: str | Path | None = None, limit: int | None = None
) -> dict[str, CutSet]:
    """The cuts of "test", also written to `output_dir`. limit: the most calls."""
    return _prepared(Earnings22(_root(corpus_dir, output_dir), str(corpus_dir), limit=limit), output_dir)


def download_voxpopuli(target_dir: str | Path = ".", force_download: bool = False) -> Path:
    """Download the original plenary audio of all languages (a few hundred GB) by lhotse's recipe; returns the folder.

    lhotse fetches every archive anew; `force_download` changes nothing.
    """
    site = "https://github.com/facebookresearch/voxpopuli"
    return asking(site, lambda: lhotse_voxpopuli.download_voxpopuli(target_dir, subset="asr"))


def prepare_voxpopuli(
    corpus_dir: str | Path, output_dir: str | Path | None = None, limit: int | None = None, language: str = "en"
) -> dict[str, CutSet]:
    """The cuts of train, dev and test in a language, also written to `output_dir`. limit: stretches a split."""
    return _prepared(VoxPopuli(language, _root(corpus_dir, output_dir), str(corpus_dir), limit=limit), output_dir)
