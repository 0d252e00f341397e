"""What the recipes of long-form transcription sets share: the item of a recording, its limits, coverage, downloads."""

from __future__ import annotations

import logging
import math
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from lhotse import CutSet
from lhotse.cut import Cut, MonoCut
from lhotse.utils import fastcopy, resumable_download, safe_extract

from speech_xl import SAMPLE_RATE
from speech_xl.checks import number, whole
from speech_xl.data.items import KEY, Coverage, Item
from speech_xl.data.sessions import write_split

logger = logging.getLogger(__name__)
LEAST_TOKENS = 256  # of an answer
DONE = ".speech_xl.completed"


@dataclass(frozen=True)
class Transcribe:
    """How a recording of a benchmark is asked for.

    benchmark          its name
    prompt             text after the audio; None: the model's own transcription instruction
    tokens_per_second  with a prompt: the most tokens of a transcript, a second of audio; 256 at least. English has 3 to
                       5 a second in the vocabulary of a large LLM, and three times as many in a small one. Without a
                       prompt the model's own limit holds
    """

    benchmark: str
    prompt: str | None = None
    tokens_per_second: float = 16.0

    def __post_init__(self) -> None:
        number(f"{self.benchmark}: tokens_per_second", self.tokens_per_second, above=0)

    def __call__(self, cut: Cut, task: str = "ASR", about: Mapping[str, Any] | None = None) -> Cut:
        """The cut with one item: all its supervisions' texts in the order of time, one space between them."""
        heard = sorted(cut.supervisions, key=lambda one: one.start)
        languages = {(one.language or "").partition("-")[0] for one in heard}  # "English-Nigerian" of Earnings-22
        item = Item(
            benchmark=self.benchmark,
            id=f"{task}/{cut.id}",
            task=task,
            prompt=self.prompt,
            answer=" ".join(word for one in heard for word in (one.text or "").split()),
            max_tokens=max(LEAST_TOKENS, math.ceil(self.tokens_per_second * cut.duration)),
            language=_code(languages.pop()) if len(languages) == 1 else None,
            about=dict(about or {}),
        )
        return fastcopy(cut, custom=(getattr(cut, "custom", None) or {}) | {KEY: [item.to_json()]})


def _code(language: str) -> str | None:
    return {"English": "en", "": None}.get(language, language)


def check_limit(name: str, limit: int | None) -> int | None:
    """`limit`, or ValueError where it is neither None nor a whole number from 1."""
    return None if limit is None else whole(f"{name}.limit", limit, least=1)


@dataclass
class Count:
    """Counts the items of a split by task, and keeps the first `limit` of each task."""

    published: Mapping[str, int] = field(default_factory=dict)
    limit: int | None = None
    here: Counter[str] = field(default_factory=Counter)
    missing: dict[str, Counter[str]] = field(default_factory=dict)
    filtered: dict[str, Counter[str]] = field(default_factory=dict)

    def keeps(self, task: str) -> bool:
        """Whether another item of a task is within the limit; it is counted where it is."""
        if self.limit is not None and self.here[task] >= self.limit:
            return False
        self.here[task] += 1
        return True

    def lacks(self, task: str, reason: str, items: int = 1) -> None:
        """Count items that can't be asked."""
        self.missing.setdefault(task, Counter())[reason] += items

    def leaves_out(self, task: str, rule: str) -> None:
        """Count an item that a rule leaves out."""
        self.filtered.setdefault(task, Counter())[rule] += 1

    def coverage(self) -> Coverage:
        return Coverage(
            published=dict(self.published),
            here=dict(self.here),
            missing={task: dict(reasons) for task, reasons in self.missing.items()},
            filtered={task: dict(rules) for task, rules in self.filtered.items()},
            limit=self.limit,
        )


def inside(folder: Path, name: str, where: str) -> Path:
    """The file of a relative path in a folder. Raises ValueError, which begins with `where`, for one that leads out."""
    if Path(name).is_absolute() or ".." in Path(name).parts or "\\" in name or not name.strip():
        raise ValueError(f"{where}: {name!r} doesn't lie in {folder}; give a path relative to it, without ..")
    return folder / name


def at_16_khz(cuts: Iterable[Cut]) -> CutSet:
    """The cuts, resampled lazily where they have another rate."""
    return CutSet.from_cuts(cut if cut.sampling_rate == SAMPLE_RATE else cut.resample(SAMPLE_RATE) for cut in cuts)


def written(cuts: Mapping[str, Sequence[Cut]], output_dir: str | Path | None) -> dict[str, CutSet]:
    """The splits that have cuts, in lhotse's shape; also written as ``cuts_SPLIT.jsonl.gz`` where there is a folder."""
    found = {split: some for split, some in cuts.items() if some}
    if output_dir is not None:
        for split, some in found.items():
            write_split(output_dir, split, cast(Sequence[MonoCut], some))
    return {split: CutSet.from_cuts(some) for split, some in found.items()}


def report(name: str, split: str, coverage: Coverage) -> None:
    """Log what a split lacks."""
    for what, by_task in (("missing", coverage.missing), ("left out", coverage.filtered)):
        for task, reasons in by_task.items():
            for reason, items in reasons.items():
                logger.warning("%s %s: %d items of task %s %s: %s", name, split, items, task, what, reason)
    for task, published in coverage.published.items():
        if coverage.limit is None and coverage.here.get(task, 0) != published:
            logger.warning(
                "%s %s: %d of %d published items of task %s", name, split, coverage.here[task], published, task
            )


def fetch_archive(url: str, target_dir: str | Path, folder: str, force_download: bool = False) -> Path:
    """Download and unpack a tar archive that holds `folder`; a broken download goes on where it ended.

    Raises OSError with the mend where the network or the server refuses.
    """
    target = Path(target_dir)
    done, archive = target / folder / DONE, target / url.rpartition("/")[2]
    if done.is_file() and not force_download:
        return target / folder
    target.mkdir(parents=True, exist_ok=True)
    asking(url, lambda: resumable_download(url, archive, force_download=force_download))
    try:
        with tarfile.open(archive) as tar:
            safe_extract(tar, target)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive}: can't be unpacked ({error}); take it away and download again") from error
    if not (target / folder).is_dir():
        raise ValueError(f"{archive}: holds no folder {folder}; the archive has changed: unpack it and give its folder")
    done.touch()
    return target / folder


def asking(url: str, download: Callable[[], Any]) -> Any:
    """Run a download. Raises OSError that names the address where it fails."""
    try:
        return download()
    except OSError as error:
        raise OSError(
            f"can't download {url} ({error}); check the network and call it again: it goes on where it ended. Or fetch "
            "the data yourself, and give the folder as corpus_dir"
        ) from error
