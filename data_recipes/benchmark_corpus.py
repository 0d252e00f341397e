"""BenchmarkCorpus: a benchmark in a user's folder, with manifests that are made again where the folder has changed."""

from __future__ import annotations

import json
import logging
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.cut.data import DataCut

from data_recipes.benchmark_items import SplitRows, cuts_of
from data_recipes.prepared import mark_prepared, only_one, require_prepared, settings_folder
from speech_xl.checks import whole
from speech_xl.data.audio_faults import THREADS
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.items import Coverage
from speech_xl.data.sessions import read_split, write_split
from speech_xl.storage.files import write_text

logger = logging.getLogger(__name__)


class BenchmarkCorpus(Corpus):
    """A benchmark in a folder that the user has unpacked or downloaded, as a whole or a part of it.

    `prepare` reads the benchmark's own files and the headers of its audio files, and writes a manifest of cuts and the
    coverage of each split below `root`. A later run reads these. Where files have been added, taken away or changed
    since then, it makes them again and says so.

    Args:
        corpus_dir: the benchmark's folder.
        root: where manifests are kept, in a folder named by the settings.
        limit: the most items a task, spread evenly over those here; None: all.
        settings: further settings that decide which cuts there are, as plain data.
    """

    title: str
    """The benchmark's name in messages."""

    version = 2  # raise it when the cuts or the coverage made from the same files and settings change

    def __init__(self, corpus_dir: str, root: str, limit: int | None, settings: Mapping[str, Any]) -> None:
        if limit is not None:
            whole(f"{type(self).__name__}.limit (null: all items)", limit, least=1)
        self.corpus_dir, self.root, self.limit = Path(corpus_dir), Path(root), limit
        known = {"version": self.version, "corpus_dir": str(self.corpus_dir.resolve()), "limit": limit}
        self.settings = known | dict(settings)
        self.folder = settings_folder(self.root, self.name, self.settings)

    @abstractmethod
    def splits(self) -> list[str]:
        """Splits that are read. Raises FileNotFoundError, which lists what was looked for, where nothing is here."""

    @abstractmethod
    def sources(self, split: str) -> list[Path]:
        """Files beside the audio that decide which rows a split has."""

    @abstractmethod
    def rows(self, split: str) -> SplitRows:
        """What these files hold. Raises ValueError with file and line where one can't be read."""

    @abstractmethod
    def no_split(self, split: str) -> str:
        """Why `splits` hasn't a split, with the mend."""

    def check(self) -> None:
        self.splits()

    def prepare(self) -> None:
        """Raises FileNotFoundError where nothing is here, ValueError where a row can't be read or no audio is here."""
        self.check()
        if not self._changed():
            return
        self.root.mkdir(parents=True, exist_ok=True)
        with only_one(self.root / "prepare.lock"):
            if changed := self._changed():  # another process may have made it meanwhile
                logger.info("%s: %s; manifests are made in %s", self.title, changed, self.folder)
                self._make()

    def cuts(self, split: str) -> CutSet:
        check_split(split, self.name)
        if not self._has(split):
            raise ValueError(self.no_split(split))
        return read_split(self.folder, split)

    def coverage(self, split: str) -> Coverage:
        check_split(split, self.name)
        if not self._has(split):
            raise ValueError(self.no_split(split))
        return Coverage(**json.loads(self._coverage_path(split).read_text(encoding="utf-8")))

    def _has(self, split: str) -> bool:
        require_prepared(self.folder)
        return self._coverage_path(split).is_file()

    def _coverage_path(self, split: str) -> Path:
        return self.folder / f"coverage_{split}.json"

    def _make(self) -> None:
        for path in (self.folder / "recipe.json", *map(self._coverage_path, SPLITS)):
            path.unlink(missing_ok=True)
        facts, audio, empty = {}, {}, []
        splits = self.splits()
        files = self._files(splits)  # before they are read: what changes meanwhile is seen by the next run
        for split in splits:
            found = self.rows(split)
            audio |= _sizes(self.corpus_dir, (row.audio for row in found.rows))
            cuts, coverage = self.made(found, split)
            if not cuts:
                empty.append(f"{split}: {counted(coverage.missing)}")
                continue
            write_split(self.folder, split, cuts)
            write_text(self._coverage_path(split), json.dumps(coverage.to_json(), indent=2) + "\n")
            hours = round(sum(cut.duration for cut in cuts) / 3600, 3)
            facts[split] = {"sessions": len(cuts), "hours": hours, "items": dict(coverage.here)}
        if not facts:
            raise ValueError(self.nothing_left(empty))
        write_text(self.folder / "files.json", json.dumps({"files": files, "audio": audio}) + "\n")
        mark_prepared(self.folder, self.settings, facts)

    def made(self, found: SplitRows, split: str) -> tuple[list[DataCut], Coverage]:
        """Cuts out of rows, and how much is here; what isn't is said."""
        cuts, coverage = cuts_of(found, self.corpus_dir, self.limit, f"{self.title} {split}")
        logger.info("%s %s: items here: %s", self.title, split, dict(coverage.here) or "none")
        if coverage.missing:
            logger.warning("%s %s: missing: %s", self.title, split, counted(coverage.missing))
        if coverage.filtered:
            logger.info("%s %s: left out by the benchmark's rules: %s", self.title, split, counted(coverage.filtered))
        other = {}
        for task, count in coverage.published.items():
            rows = coverage.here.get(task, 0) + sum(coverage.missing.get(task, {}).values())
            if rows > count:
                other[task] = f"{rows:,} of {count:,}"
        if other:
            logger.warning("%s %s: more items than published: %s", self.title, split, other)
        return cuts, coverage

    def nothing_left(self, empty: Sequence[str]) -> str:
        """The message where no item of any split can be asked."""
        return (
            f"{self.title}: {self.corpus_dir}: nothing is left to ask ({'; '.join(empty)}); unpack or download the "
            "audio, or give the folder it lies in as corpus_dir"
        )

    def _changed(self) -> str:
        """Why the manifests must be made, or "" where they are those of the files that are here now."""
        try:
            kept = json.loads((self.folder / "files.json").read_text(encoding="utf-8"))
            before, audio = kept["files"], kept["audio"]
            require_prepared(self.folder)
        except (OSError, ValueError, KeyError, TypeError):
            return "nothing is prepared yet"
        if before != self._files(self.splits()):
            return f"files of {self.corpus_dir} have changed"
        now = _sizes(self.corpus_dir, audio)
        if changed := [name for name in audio if now[name] != audio[name]]:
            return f"{len(changed)} audio files such as {changed[0]} have been added, taken away or changed"
        return ""

    def _files(self, splits: Sequence[str]) -> dict[str, list[int]]:
        """Path -> [bytes, time of its last change in ns] of all sources."""
        stats = {path: path.stat() for split in splits for path in self.sources(split)}
        return {str(path.absolute()): [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}


def prepare_benchmark(corpus: BenchmarkCorpus, output_dir: str | Path | None = None) -> dict[str, CutSet]:
    """Split -> cuts of a benchmark, which are also written to `output_dir` where it is given.

    Raises as `BenchmarkCorpus.prepare` does.
    """
    made: dict[str, CutSet] = {}
    empty = []
    for split in corpus.splits():
        cuts, coverage = corpus.made(corpus.rows(split), split)
        if not cuts:
            empty.append(f"{split}: {counted(coverage.missing)}")
            continue
        made[split] = CutSet.from_cuts(cuts)
        if output_dir is not None:
            write_split(output_dir, split, cuts)
    if not made:
        raise ValueError(corpus.nothing_left(empty))
    return made


def _sizes(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Bytes of each file below `folder`; -1 where it is missing."""
    unique = list(dict.fromkeys(names))

    def size(name: str) -> int:
        try:
            return os.stat(folder / name).st_size
        except OSError:
            return -1

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(unique, pool.map(size, unique), strict=True))


def counted(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Counts by task and reason, in a line."""
    return "; ".join(f"{task}: {n} {why}" for task, reasons in counts.items() for why, n in reasons.items())
