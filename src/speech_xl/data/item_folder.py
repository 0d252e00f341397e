"""ItemFolder: a benchmark of the user's own, from a JSON Lines or CSV file of questions, answers and transcripts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lightning.pytorch.utilities import rank_zero_warn

from speech_xl import SAMPLE_RATE
from speech_xl.checks import whole
from speech_xl.data.audio_faults import look_at
from speech_xl.data.audio_folder import TABLES
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.item_rows import EXAMPLE, ItemRow, read_item_rows
from speech_xl.data.items import KEY, Coverage, Item

BENCHMARK = "own"
CHOICE, ANSWER, TRANSCRIPT = "choice", "answer", "transcript"


class ItemFolder(Corpus):
    """Questions about recordings, and transcripts, as a benchmark. A row of the file has these keys:

    * ``audio`` (or ``file_name``): path of a recording, relative to the file's folder. Several rows may name one; the
      model hears it once.
    * ``question`` and ``answer``, or ``transcript`` (or ``text``), or all three. The question is the prompt after the
      audio, word for word. A transcript is asked for by the model's own instruction.
    * ``choices``: a list of texts, labelled A, B, C and on, or labels with texts; any number of them. ``answer`` is a
      label or a choice's text. Unless the question holds every choice's text already, or `choices_in_prompt` is false,
      they follow it in lines ``A. text``.
    * ``task``: a name of the user's; figures are given of each as well. ``language``: a code, of the answer.
      ``max_tokens``: the most tokens of an answer (of a transcript the model's own limit holds). ``split``: train, dev
      or test (test). ``id``: a name of the row.

    Other keys are kept in the item. A CSV has the same columns; choices are written as JSON or with | between them.

    Args:
        path: a ``.jsonl`` or ``.csv`` file, or a folder with ``metadata.jsonl`` or ``metadata.csv``.
        audio_dir: where the paths of recordings start. Null: the file's folder.
        choices_in_prompt: whether choices are written below a question that doesn't hold them.
        max_tokens: the most tokens of an answer, where the row doesn't say it.
        limit: the most items a task and split. Null: all.
        name: of the corpus, in logs and folders.

    Raises FileNotFoundError where the file is missing, and ValueError that names file, line, key, value and the mend. A
    row whose recording is missing, cut off, unreadable or without sound is warned of, and counted by reason in
    `coverage`, in which the rows of the file are the published items.
    """

    def __init__(
        self,
        path: str,
        audio_dir: str | None = None,
        choices_in_prompt: bool = True,
        max_tokens: int = 256,
        limit: int | None = None,
        name: str = "own",
    ) -> None:
        self.path, self.name = Path(path), name
        self.audio_dir = None if audio_dir is None else Path(audio_dir)
        self.choices_in_prompt = choices_in_prompt
        self.max_tokens = whole("ItemFolder.max_tokens", max_tokens, least=1)
        self.limit = None if limit is None else whole("ItemFolder.limit", limit, least=1)
        self._found: dict[str, tuple[list[MonoCut], Coverage]] = {}

    def check(self) -> None:
        self._file()
        if self.audio_dir is not None and not self.audio_dir.is_dir():
            raise FileNotFoundError(f"ItemFolder: audio_dir {self.audio_dir} is missing; give the recordings' folder")

    def prepare(self) -> None:
        """There is nothing to make; what is wrong with a row shows before anything is asked."""
        self.check()
        self._read()

    def cuts(self, split: str) -> CutSet:
        cuts, _ = self._split(split)
        return CutSet.from_cuts(cut if cut.sampling_rate == SAMPLE_RATE else cut.resample(SAMPLE_RATE) for cut in cuts)

    def coverage(self, split: str) -> Coverage | None:
        return self._split(split)[1]

    def _split(self, split: str) -> tuple[list[MonoCut], Coverage]:
        check_split(split, self.name)
        found = self._read()
        if split not in found:
            there = ", ".join(found)
            raise ValueError(
                f"ItemFolder: {self._file()} has no row of the split {split!r}, only of {there}; name it there"
            )
        if not found[split][0]:
            raise FileNotFoundError(
                f"ItemFolder: none of the recordings of split {split!r} in {self._file()} can be used; restore them"
            )
        return found[split]

    def _file(self) -> Path:
        if self.path.is_file():
            if self.path.suffix.lower() not in (".jsonl", ".csv"):
                raise ValueError(f"ItemFolder: path {self.path}: give a .jsonl or .csv file, or a folder with one")
            return self.path
        tables = [self.path / name for name in TABLES if (self.path / name).is_file()]
        if len(tables) > 1:
            raise ValueError(f"ItemFolder: {self.path} has {' and '.join(TABLES)}; name one of them as path")
        if not tables:
            raise FileNotFoundError(
                f"ItemFolder: path {self.path} is no file, nor a folder with metadata.jsonl or metadata.csv; write "
                f"a line for each question there, such as {EXAMPLE}"
            )
        return tables[0]

    def _read(self) -> dict[str, tuple[list[MonoCut], Coverage]]:
        """The sessions of every split that has rows."""
        if not self._found:
            file = self._file()
            rows = read_item_rows(file)
            folder = file.parent if self.audio_dir is None else self.audio_dir
            recordings, faults = look_at(folder, (row.audio for row in rows), f"{file}: looking at audio files")
            for split in SPLITS:
                if own := [row for row in rows if (row.split or "test") == split]:
                    self._found[split] = self._sessions(own, recordings, faults)
            _warn_of_shared(rows, file)
            _warn_of_faults(rows, folder, faults)
            if not any(cuts for cuts, _ in self._found.values()):
                self._found = {}
                raise FileNotFoundError(
                    f"{rows[0].place}: {faults[rows[0].audio]}: {folder / rows[0].audio}; nor can the audio of any "
                    "other row be used. Restore the files, or set audio_dir to the folder that these paths start from"
                )
        return self._found

    def _sessions(
        self, rows: list[ItemRow], recordings: Mapping[str, Recording], faults: Mapping[str, str]
    ) -> tuple[list[MonoCut], Coverage]:
        published, here, missing = Counter[str](), Counter[str](), dict[str, Counter[str]]()
        sessions: dict[str, list[tuple[str, ItemRow]]] = {}
        for row in rows:
            for task in tasks_of(row):
                published[task] += 1
                if row.audio in faults:
                    missing.setdefault(task, Counter())[faults[row.audio]] += 1
                elif self.limit is None or here[task] < self.limit:
                    here[task] += 1
                    sessions.setdefault(row.audio, []).append((task, row))
        cuts = [self._cut(recordings[audio], asked) for audio, asked in sessions.items()]
        _check_ids([Item.from_json(one) for cut in cuts for one in cut.custom[KEY]])
        coverage = Coverage(
            published=dict(published),
            here=dict(here),
            missing={task: dict(counts) for task, counts in missing.items()},
            limit=self.limit,
        )
        return cuts, coverage

    def _cut(self, recording: Recording, asked: list[tuple[str, ItemRow]]) -> MonoCut:
        audio, cut = recording.id, cast(MonoCut, recording.to_cut())
        transcripts = [row for task, row in asked if task == TRANSCRIPT]
        if len(transcripts) > 1:
            raise ValueError(f"{transcripts[1].place}: {audio} has a transcript in {transcripts[0].place}; keep one")
        cut.supervisions = [
            SupervisionSegment(audio, audio, 0.0, cut.duration, cut.channel, row.transcript, row.language)
            for row in transcripts
        ]
        cut.custom = {KEY: [self._item(task, row, number).to_json() for number, (task, row) in enumerate(asked)]}
        return cut

    def _item(self, task: str, row: ItemRow, number: int) -> Item:
        several = len(tasks_of(row)) > 1
        name = f"{row.audio}/{number}" if row.id is None else f"{row.id}/{task}" if several else row.id
        asked = task != TRANSCRIPT
        return Item(
            benchmark=BENCHMARK,
            id=name,
            task=task,
            prompt=self.prompt(row) if asked else None,
            answer=str(row.answer if asked else row.transcript),
            choices=dict(row.choices) if asked else {},
            language=row.language,
            max_tokens=row.max_tokens or self.max_tokens,
            about={"task": row.task, "row": dict(row.rest)},
        )

    def prompt(self, row: ItemRow) -> str:
        """The question, and below it the choices where it doesn't hold them all."""
        question, texts = str(row.question), list(row.choices.values())
        held = all(re.search(rf"(?<!\w){re.escape(text)}(?!\w)", question, re.IGNORECASE) for text in texts)
        if not self.choices_in_prompt or held:
            return question
        return "\n".join([question, *(f"{label}. {text}" for label, text in row.choices.items())])


def tasks_of(row: ItemRow) -> list[str]:
    """What a row asks: "choice" or "answer" where it has a question, "transcript" where it has one."""
    asked = [] if row.question is None else [CHOICE if row.choices else ANSWER]
    return asked if row.transcript is None else [*asked, TRANSCRIPT]


def _check_ids(items: list[Item]) -> None:
    twice = [name for name, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise ValueError(f"ItemFolder: id {twice[0]!r} is there twice; give every row its own id, or none")


def _warn_of_faults(rows: list[ItemRow], folder: Path, faults: Mapping[str, str]) -> None:
    """Warn of recordings that can't be used: of each kind of fault the first, and how many rows are left out."""
    left_out: dict[str, list[ItemRow]] = {}
    for row in rows:
        if row.audio in faults:
            left_out.setdefault(faults[row.audio], []).append(row)
    for fault, some in left_out.items():
        rank_zero_warn(
            f"ItemFolder: {some[0].place}: {fault}: {folder / some[0].audio}. Rows that are not asked for this reason: "
            f"{len(some)}; restore their files, or convert them to FLAC"
        )


def _warn_of_shared(rows: list[ItemRow], file: Path) -> None:
    """Warn of recordings in several splits: what is measured on them is no measure."""
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.audio, set()).add(row.split or "test")
    if shared := sorted(audio for audio, some in splits.items() if len(some) > 1):
        rank_zero_warn(
            f"ItemFolder: {file}: recordings have rows in several splits: {len(shared)}, such as {shared[0]}. What is "
            "measured on them after training is no measure"
        )
