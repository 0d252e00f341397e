"""LongSpeech (arXiv 2601.13539): eight tasks about speech of ten minutes, read row by row as published."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lhotse import CutSet

from data_recipes.benchmark_corpus import BenchmarkCorpus, prepare_benchmark
from data_recipes.benchmark_items import NO_ANSWER, Row, SplitRows, chosen, path_inside, text_of
from data_recipes.hub import download_dataset, download_files
from speech_xl.data.corpus import SPLITS
from speech_xl.data.items import Item
from speech_xl.data.manifest_lines import json_lines

logger = logging.getLogger(__name__)
REPO = "ATH-MaaS/Marco_Longspeech"
ROWS = "LongSpeechQA"
PARTS = ("p1", "p2", "p3")
STEMS = {"train": ("train",), "dev": ("val", "dev", "validation"), "test": ("test",)}
PUBLISHED = {  # rows of each test.jsonl
    "ASR": 15_274,
    "translation": 6_309,
    "summary": 937,
    "language_detection": 3_170,
    "speaker_count": 1_263,
    "content_separation": 1_263,
    "emotionQA": 1_263,
    "Temporal_Relative_QA": 1_262,
}
TASKS = tuple(PUBLISHED)
MAX_TOKENS = {"ASR": 4096, "translation": 4096, "summary": 1024}  # ten minutes are about 1,500 words
SHORT_ANSWER_TOKENS = 256
MEND = "download the file again"


class LongSpeech(BenchmarkCorpus):
    """Recordings of about ten minutes, with questions in eight tasks: ASR, translation, summary, language_detection,
    speaker_count, content_separation, emotionQA and Temporal_Relative_QA. Split dev is the published val.

    Prompts and answers are each row's own. One cut is one audio file, named by its whole path, since file numbers are
    unique within a part alone; rows of several tasks about one file are items of one cut. Train and dev are asked and
    trained as task "qa".

    Size: 2.03 TB of 16 kHz WAV in three parts, about 17,600 hours. The first part has the English recordings out of
    LibriSpeech and TED-LIUM, which most tasks but ASR and language detection are about. A part of the files is enough:
    rows without their audio are counted, and `coverage` has the reasons.

    Licence: the data set's card says Apache-2.0, its paper CC BY-NC-ND 4.0, and the sources (LibriSpeech, TED-LIUM,
    VoxPopuli, Common Voice, AISHELL-2, SPGISpeech and others) have licences of their own. Use it for research alone,
    and hand nothing on. Citation: "LongSpeech", arXiv 2601.13539. Source:
    huggingface.co/datasets/ATH-MaaS/Marco_Longspeech.

    Args:
        corpus_dir: the folder with LongSpeechQA/ and LongSpeech_p1/ and so on, or the folder it lies in.
        root: where manifests are kept.
        tasks: those to ask. Null: all eight.
        splits: those to read. Null: all whose rows are here.
        limit: the most items a task in each split, spread evenly over those whose audio is here. Null: all.
        asr_prompt: "published": each row's own, which names the language; "model": the instruction that the model was
            trained to transcribe with. With "model", ASR rows are task "asr" in training too.
    """

    name = "longspeech"
    title = "LongSpeech"

    def __init__(
        self,
        corpus_dir: str = "data/longspeech",
        root: str = "data/benchmarks",
        tasks: list[str] | None = None,
        splits: list[str] | None = None,
        limit: int | None = None,
        asr_prompt: Literal["published", "model"] = "published",
    ) -> None:
        self.tasks = chosen("LongSpeech.tasks", tasks, TASKS)
        self.wanted = None if splits is None else chosen("LongSpeech.splits", splits, SPLITS)
        if asr_prompt not in ("published", "model"):
            raise ValueError(f"LongSpeech.asr_prompt: got {asr_prompt!r}; use published or model")
        self.asr_prompt = asr_prompt
        settings = {"tasks": self.tasks, "splits": self.wanted, "asr_prompt": asr_prompt}
        super().__init__(corpus_dir, root, limit, settings)
        inner = self.corpus_dir / REPO.split("/")[1]
        if not (self.corpus_dir / ROWS).is_dir() and (inner / ROWS).is_dir():
            self.corpus_dir = inner

    def splits(self) -> list[str]:
        here = [split for split in SPLITS if self.sources(split)]
        if not here or set(self.wanted or ()) - set(here):
            lacking = next((one for one in self.wanted or () if one not in here), "test")
            raise FileNotFoundError(self.no_split(lacking))
        return [split for split in here if self.wanted is None or split in self.wanted]

    def no_split(self, split: str) -> str:
        if self.wanted is not None and split not in self.wanted:
            return f"LongSpeech: split {split!r} is asked for, and splits is {self.wanted}; add it"
        if self.sources(split):
            return f"LongSpeech: {self.corpus_dir}: no audio of the split {split!r} is here; download or unpack it"
        names = " or ".join(f"{stem}.jsonl" for stem in STEMS[split])
        return (
            f"LongSpeech: {self.corpus_dir} has no rows of the split {split!r}; looked for {names} in "
            f"{', '.join(f'{ROWS}/{task}' for task in self.tasks)}. Give the folder of the data set as corpus_dir, or "
            f'download it: python -c "from data_recipes.longspeech import download_longspeech as d; '
            f"d('{self.corpus_dir}', splits=['{split}'], parts=['p1'], only_named=True)\""
        )

    def sources(self, split: str) -> list[Path]:
        return [path for task in self.tasks if (path := self._rows_path(task, split)) is not None]

    def _rows_path(self, task: str, split: str) -> Path | None:
        here = [path for stem in STEMS[split] if (path := self.corpus_dir / ROWS / task / f"{stem}.jsonl").is_file()]
        if len(here) > 1:
            raise ValueError(f"LongSpeech: {here[0]} and {here[1].name} are both the split {split!r}; remove one")
        return here[0] if here else None

    def rows(self, split: str) -> SplitRows:
        found = SplitRows(published=_published(split, self.tasks))
        for task in self.tasks:
            path = self._rows_path(task, split)
            if path is None:
                name = f"{ROWS}/{task}/{STEMS[split][0]}.jsonl"
                logger.warning("LongSpeech %s: %s has no %s", split, self.corpus_dir, name)
                if task in found.published:
                    found.missing[task][f"{name} missing"] += found.published[task]
                continue
            self._read(path, task, found)
        unknown = sorted(p.name for p in (self.corpus_dir / ROWS).iterdir() if p.is_dir() and p.name not in TASKS)
        if unknown:
            logger.warning("LongSpeech: %s/%s: no task of LongSpeech, left out: %s", self.corpus_dir, ROWS, unknown)
        return found

    def _read(self, path: Path, task: str, found: SplitRows) -> None:
        unknown: Counter[str] = Counter()
        before = len(found.rows)
        for where, row in json_lines(path, MEND):
            one = read_row(row, task, where)
            if (said := row.get("task")) is not None and _folded(said) != _folded(task):
                other = [known for known in TASKS if _folded(known) == _folded(said)]
                if other:
                    raise ValueError(f"{where}: the row is of task {said!r} and lies in the folder of {task}; move it")
                unknown[str(said)] += 1
            if not one.item.answer.strip():
                found.missing[task][NO_ANSWER] += 1
                continue
            if task == "ASR" and self.asr_prompt == "model":
                one = Row(one.audio, Item(**{**vars(one.item), "prompt": None}))
            found.rows.append(one)
        if unknown:
            logger.warning("LongSpeech: %s: rows name the tasks %s; they are asked as %s", path, dict(unknown), task)
        if len(found.rows) == before and not found.missing[task]:
            raise ValueError(f"{path}: has no rows; {MEND}")


def read_row(row: Any, task: str, where: str) -> Row:
    """A published row: {"language", "task", "messages": [{"role": "user", "audio", "content"}, {"role": "assistant",
    "content"}]}.

    `messages` and each message may also be JSON texts; a content may be a text, a number, or a list of one of these;
    audio may be a path, {"path": path}, or a list of one of these. Whole numbers are written without a fraction: 2.0
    is "2". `Item.language` is as the row has it: in translation rows the target.

    Raises ValueError, which begins with `where`, for anything else.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a {type(row).__name__}, and no object; {MEND}")
    messages = _decoded(row.get("messages"), f"{where}: messages")
    if not isinstance(messages, list) or len(messages) != 2:
        raise ValueError(f"{where}: messages must be a list of two, of the user and of the assistant; {MEND}")
    user, assistant = (_decoded(one, f"{where}: messages[{place}]") for place, one in enumerate(messages))
    for role, message in (("user", user), ("assistant", assistant)):
        if not isinstance(message, dict) or message.get("role") != role or message.get("content") is None:
            raise ValueError(f"{where}: the message of the {role} is missing, or has no content; {MEND}")
    audio = user.get("audio")
    if isinstance(audio, list) and len(audio) == 1:
        audio = audio[0]
    if isinstance(audio, dict):
        audio = audio.get("path")
    path = path_inside(audio, where)
    language = row.get("language") or None
    if language is not None and not isinstance(language, str):
        raise ValueError(f"{where}: language is {language!r:.80}, and must be a text; {MEND}")
    prompt = text_of(user["content"], f"{where}: prompt")
    answer = text_of(assistant["content"], f"{where}: answer")
    try:
        item = Item(
            benchmark=LongSpeech.name,
            id=f"{task}/{path}",
            task=task,
            prompt=prompt,
            answer=answer,
            language=language,
            max_tokens=MAX_TOKENS.get(task, SHORT_ANSWER_TOKENS),
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}; {MEND}") from error
    return Row(path, item)


def download_longspeech(
    target_dir: str | Path,
    tasks: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    force_download: bool = False,
    only_named: bool = False,
) -> Path:
    """Download LongSpeech, or a part of it, from the Hugging Face Hub; an interrupted download goes on. Licence and
    citation: see `LongSpeech`.

    Args:
        target_dir: where to put it.
        tasks: whose rows. None: all.
        splits: of "train", "dev" and "test". None: all.
        parts: of the audio: "p1", "p2", "p3", in all 2.03 TB. None: all of them. Empty: rows alone, without audio.
        force_download: also what is here already.
        only_named: of the audio those files alone that the downloaded rows name, instead of whole parts.

    Raises OSError with the mend where the Hub can't be reached or refuses.
    """
    names = [
        chosen("tasks", tasks, TASKS),
        chosen("splits", splits, SPLITS),
        [] if parts is not None and not parts else chosen("parts", parts, PARTS),
    ]
    stems = [stem for split in names[1] for stem in STEMS[split]]
    patterns = [f"{ROWS}/{task}/{stem}.jsonl" for task in names[0] for stem in stems]
    folders = [f"LongSpeech_{part}" for part in names[2]]
    if not only_named:
        return download_dataset(REPO, target_dir, [*patterns, *(f"{one}/*" for one in folders)], force_download)
    download_dataset(REPO, target_dir, patterns, force_download)
    here = LongSpeech(str(target_dir), tasks=names[0])
    rows = [row for split in names[1] if here.sources(split) for row in here.rows(split).rows]
    wanted = [row.audio for row in rows if row.audio.split("/")[0] in folders]
    return download_files(REPO, target_dir, wanted, force_download)


def prepare_longspeech(
    corpus_dir: str | Path,
    output_dir: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
) -> dict[str, CutSet]:
    """Split -> cuts of LongSpeech, as lhotse's recipes prepare a corpus. Arguments as in `LongSpeech`.

    output_dir: where manifests are written, as recordings_test.jsonl.gz, supervisions_test.jsonl.gz and
    cuts_test.jsonl.gz. None: nowhere.
    """
    names = [None if some is None else list(some) for some in (tasks, splits)]
    return prepare_benchmark(LongSpeech(str(corpus_dir), tasks=names[0], splits=names[1], limit=limit), output_dir)


def _published(split: str, tasks: Sequence[str]) -> dict[str, int]:
    return {task: PUBLISHED[task] for task in tasks} if split == "test" else {}


def _decoded(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: a text that is no JSON ({error}); {MEND}") from error


def _folded(task: Any) -> str:
    return "".join(letter for letter in str(task).lower() if letter.isalnum())
