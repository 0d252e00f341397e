"""LibriSpeech-Long: LibriSpeech's dev and test parts as stretches of up to four minutes, for long-form transcription.

Licence: CC BY 4.0, as LibriSpeech itself. Source: https://github.com/google-deepmind/librispeech-long (3 GB).
Citation: Park et al., "Long-Form Speech Generation with Spoken Language Models", arXiv 2412.18603, 2024; Panayotov et
al., "LibriSpeech: an ASR corpus based on public domain audio books", ICASSP 2015.

Layout of the archive::

    librispeech-long/{dev,test}-{clean,other}/<speaker>/<chapter>/<chapter>_<NNNN>.flac
                                                                  <chapter>_<NNNN>.txt     one line: the transcript

Copies that follow LibriSpeech are read as well: ``<speaker>-<chapter>.trans.txt`` (or ``<chapter>.trans.txt``) in a
chapter's folder, with lines ``<name of the flac> <transcript>``, the name also as ``<speaker>-<chapter>-<NNNN>``.
"""

from __future__ import annotations

from pathlib import Path

from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import Cut

from data_recipes.long_form import Count, Transcribe, at_16_khz, check_limit, fetch_archive, report, written
from speech_xl.data.audio_folder import read_text
from speech_xl.data.corpus import Corpus, check_split
from speech_xl.data.items import Coverage

NAME = "librispeech_long"
URL = "https://storage.googleapis.com/librispeech_long/v0_1.tar.gz"
FOLDER = "librispeech-long"
PARTS = ("clean", "other")
PUBLISHED = {"test-clean": 270, "test-other": 207}  # recordings; those of the dev parts aren't known


def download_librispeech_long(target_dir: str | Path = ".", force_download: bool = False) -> Path:
    """Download and unpack all four parts (3 GB); returns the corpus's folder. A broken download goes on."""
    return fetch_archive(URL, target_dir, FOLDER, force_download)


def prepare_librispeech_long(
    corpus_dir: str | Path, output_dir: str | Path | None = None, limit: int | None = None
) -> dict[str, CutSet]:
    """The cuts of "dev" and "test", of both parts; also written to `output_dir`.

    limit: the most recordings a part. Raises FileNotFoundError and ValueError as `LibriSpeechLong` does.
    """
    corpus = LibriSpeechLong(corpus_dir=str(corpus_dir), limit=limit)
    corpus.check()
    return written({split: list(corpus.cuts(split)) for split in ("dev", "test") if corpus.has(split)}, output_dir)


class LibriSpeechLong(Corpus):
    """LibriSpeech-Long, a recording a session; see the module for layout, licence and citation.

    An item's task is its part, such as "test-clean": published figures are by part. Train on another corpus; there is
    no train split.

    Args:
        root: where the corpus is downloaded to if no `corpus_dir` is given (3 GB).
        corpus_dir: an existing corpus: the folder ``librispeech-long``, or the one it lies in.
        parts: "clean" and "other", or one of them. Null: both.
        prompt: text after the audio. Null: the model's own transcription instruction.
        limit: the most recordings a part. Null: all.
        tokens_per_second: with a prompt, the most tokens of a transcript, a second of audio.

    Raises FileNotFoundError where a part's folder is missing, and ValueError for a transcript file that can't be read.
    A recording without a transcript, or a transcript without its recording, is counted in `coverage`.
    """

    name = NAME

    def __init__(
        self,
        root: str = "data/librispeech_long",
        corpus_dir: str | None = None,
        parts: list[str] | None = None,
        prompt: str | None = None,
        limit: int | None = None,
        tokens_per_second: float = 16.0,
    ) -> None:
        self.parts = list(PARTS) if parts is None else list(parts)
        if unknown := [part for part in self.parts if part not in PARTS] or ([""] if not self.parts else []):
            raise ValueError(f"LibriSpeechLong.parts: got {unknown[0]!r}; use {' and '.join(PARTS)}, or one of them")
        self.root = Path(root)
        self.corpus_dir = Path(corpus_dir) if corpus_dir is not None else None
        self.ask = Transcribe(NAME, prompt, tokens_per_second)
        self.limit = check_limit("LibriSpeechLong", limit)
        self._found: dict[str, tuple[list[Cut], Coverage]] = {}

    def check(self) -> None:
        if self.corpus_dir is not None and not any(self.has(split) for split in ("dev", "test")):
            raise FileNotFoundError(
                f"LibriSpeechLong: corpus_dir {self.corpus_dir} has no folder such as test-{self.parts[0]} (nor has "
                f"{FOLDER}/ in it); give the unpacked folder, or leave corpus_dir out to download it"
            )

    def prepare(self) -> None:
        self.check()
        if self.corpus_dir is None and not any(self.has(split) for split in ("dev", "test")):
            download_librispeech_long(self.root)

    def cuts(self, split: str) -> CutSet:
        return at_16_khz(self._split(split)[0])

    def coverage(self, split: str) -> Coverage | None:
        return self._split(split)[1]

    def has(self, split: str) -> bool:
        """Whether all the parts of a split are here."""
        return all((self._folder() / f"{split}-{part}").is_dir() for part in self.parts)

    def _folder(self) -> Path:
        place = self.root if self.corpus_dir is None else self.corpus_dir
        return place / FOLDER if (place / FOLDER).is_dir() else place

    def _split(self, split: str) -> tuple[list[Cut], Coverage]:
        if check_split(split, self.name) == "train":
            raise ValueError("LibriSpeechLong has no train split, only dev and test; train on another corpus")
        if split not in self._found:
            tasks = [f"{split}-{part}" for part in self.parts]
            count = Count({task: PUBLISHED[task] for task in tasks if task in PUBLISHED}, self.limit)
            cuts = [cut for task in tasks for cut in self._part(task, count)]
            if not cuts:
                raise ValueError(f"{self._folder()}: no recording of {' and '.join(tasks)} has a transcript")
            self._found[split] = cuts, count.coverage()
            report(self.name, split, count.coverage())
        return self._found[split]

    def _part(self, task: str, count: Count) -> list[Cut]:
        folder = self._folder() / task
        if not folder.is_dir():
            raise FileNotFoundError(
                f"LibriSpeechLong: {folder} is missing; download it again, or set parts to the other"
            )
        cuts = []
        for chapter in sorted(path for path in folder.glob("*/*") if path.is_dir()):
            texts = _transcripts(chapter)
            for path in sorted(chapter.glob("*.flac")):
                text = texts.pop(path.stem, None)
                if text is None:
                    count.lacks(task, "transcript missing")
                elif count.keeps(task):
                    cuts.append(self.ask(_cut(path, chapter.parent.name, text), task))
            if texts:
                count.lacks(task, "audio file missing", len(texts))
        return cuts


def _transcripts(chapter: Path) -> dict[str, str]:
    """Stem of a recording -> its transcript, of one chapter's folder."""
    speaker, found = chapter.parent.name, {}
    for path in sorted(chapter.glob("*.txt")):
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        if not path.name.endswith(".trans.txt"):
            found[path.stem] = " ".join(lines)
            continue
        for number, line in enumerate(lines, 1):
            name, _, text = line.partition(" ")
            if not text.strip():
                raise ValueError(f"{path}, line {number}: got {line[:60]!r}; write the recording's name and its text")
            stem = name.removeprefix(f"{speaker}-").replace("-", "_")
            found.setdefault(name if (chapter / f"{name}.flac").is_file() else stem, text.strip())
    return {stem: text for stem, text in found.items() if text}


def _cut(path: Path, speaker: str, text: str) -> Cut:
    name = f"{speaker}-{path.stem.replace('_', '-')}"
    cut = Recording.from_file(path, recording_id=name).to_cut()
    cut.supervisions = [
        SupervisionSegment(name, name, 0.0, cut.duration, 0, text=text, language="English", speaker=speaker)
    ]
    return cut
