"""AudioMarathon (arXiv 2510.07293): ten tasks about audio of one to five minutes, from its unpacked folders."""

from __future__ import annotations

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from lhotse import CutSet

from data_recipes.audiomarathon_layout import DEPTH, Layout, find_layout, looked_for
from data_recipes.audiomarathon_prompts import prompt_of
from data_recipes.audiomarathon_rows import Record, long_chapters, manifest_records, real_and_fake, scene_in_name
from data_recipes.benchmark_corpus import BenchmarkCorpus, prepare_benchmark
from data_recipes.benchmark_items import NO_ANSWER, Row, SplitRows, chosen
from data_recipes.hub import download_dataset
from speech_xl.data.items import Item

logger = logging.getLogger(__name__)
REPO = "Hezep/AudioMarathon"
PUBLISHED = {
    "SER": 490,
    "SCR": 820,
    "ASR": 204,
    "SED": 254,
    "MC": 120,
    "ASC": 1_145,
    "SD": 776,
    "ER": 185,
    "SAR": 959,
    "SGR": 1_614,
}
TASKS = tuple(PUBLISHED)
Limits = Literal["official", "strict"]
MAX_TOKENS = {"official": {"ASR": 1100, "ER": 10}, "strict": {"ASR": 2048}}
OTHER_MAX_TOKENS = {"official": 5, "strict": 32}
BALANCED = ("SD", "SGR")
BALANCE_RULE = "balanced to the smaller class"
BALANCE_SEED = 42
HAPPY_RULE = "persons 2 and 10, happy"
HAPPY_PERSONS = ("2", "10")


class AudioMarathon(BenchmarkCorpus):
    """Audio of one to five minutes, with questions in ten tasks, in the order of its table: named entities counted
    (SER), reading comprehension (SCR), transcription (ASR), sound events (SED), music genre (MC), acoustic scene (ASC),
    real or fake speech (SD), emotion (ER), age group (SAR) and gender (SGR). There is a test split alone.

    Prompts follow the evaluation scripts for Qwen2.5-Omni in the benchmark's repository; their system texts are left
    out, so that `Item.prompt` is what a user says (see `audiomarathon_prompts`). An item is named by its row's own
    path, such as "SED/dog/clip_3.wav"; further questions about it end in "#2" and so on. Answers are as published: a
    letter, or in SD, SAR and SGR the label's text. `Item.about` has whatever else a row says, such as scene_label.

    Filters and selection are those of the scripts, and `coverage` counts what they leave out: ER without the happy
    recordings of persons 2 and 10; SD and SGR balanced to their smaller class, drawn with seed 42 from the paths in
    their order, among those whose audio is here. A TAU file whose name begins with another scene than its label is
    reported and kept. The benchmark doesn't say which files of LibriSpeech-Long's test-clean it takes: all that are
    here are asked.

    Size: 58.75 GB. Rates are 16 and 22.05 kHz. Licence: CC BY-NC 4.0; the sources have licences of their own. Citation:
    "AudioMarathon", arXiv 2510.07293. Source: huggingface.co/datasets/Hezep/AudioMarathon.

    Args:
        corpus_dir: a folder in which the archives are unpacked. Each task is found by the name of its file, up to four
            folders deep; tasks that aren't here are counted.
        root: where manifests are kept.
        tasks: those to ask. Null: all ten.
        limit: the most items a task, spread evenly over those whose audio is here. Null: all.
        limits: most tokens of an answer. "official": as in the scripts, 5, of ER 10, of ASR 1,100. "strict": 32, of
            ASR 2,048, so that a sentence around the answer isn't cut.
        asr_prompt: of the task ASR. "published": the scripts'; "model": the instruction that the model was trained to
            transcribe with.
    """

    name = "audiomarathon"
    title = "AudioMarathon"

    def __init__(
        self,
        corpus_dir: str = "data/audiomarathon",
        root: str = "data/benchmarks",
        tasks: list[str] | None = None,
        limit: int | None = None,
        limits: Limits = "official",
        asr_prompt: Literal["published", "model"] = "published",
    ) -> None:
        self.tasks = chosen("AudioMarathon.tasks", tasks, TASKS)
        if limits not in MAX_TOKENS:
            raise ValueError(f"AudioMarathon.limits: got {limits!r}; use official or strict")
        if asr_prompt not in ("published", "model"):
            raise ValueError(f"AudioMarathon.asr_prompt: got {asr_prompt!r}; use published or model")
        self.limits, self.asr_prompt = limits, asr_prompt
        super().__init__(corpus_dir, root, limit, {"tasks": self.tasks, "limits": limits, "asr_prompt": asr_prompt})

    def splits(self) -> list[str]:
        layout = self._layout()
        if not any(task in layout for task in self.tasks):
            wanted = "; ".join(f"{task}: {looked_for(task)}" for task in self.tasks)
            raise FileNotFoundError(
                f"AudioMarathon: {self.corpus_dir} has none of the files looked for, up to {DEPTH} folders deep "
                f"({wanted}). Give the folder of the unpacked archives as corpus_dir, or download them and unpack "
                'them there: python -c "from data_recipes.audiomarathon import download_audiomarathon as d; '
                f"d('{self.corpus_dir}')\""
            )
        return ["test"]

    def no_split(self, split: str) -> str:
        if split != "test":
            return f"AudioMarathon: there is no split {split!r}: its publishers have a test split alone; use test"
        return f"AudioMarathon: {self.corpus_dir}: no audio is here; unpack it"

    def sources(self, split: str) -> list[Path]:
        layout = self._layout()
        found = [layout.manifests[task] for task in self.tasks if task in layout.manifests]
        for task in self.tasks:
            if task in layout.folders:
                found += [path for path in sorted(layout.folders[task].rglob("*")) if path.is_file()]
        return found

    def rows(self, split: str) -> SplitRows:
        layout = self._layout()
        found = SplitRows(published={task: PUBLISHED[task] for task in self.tasks}, choose=balanced)
        for task in self.tasks:
            if task not in layout:
                logger.warning("AudioMarathon: %s isn't in %s; looked for %s", task, self.corpus_dir, looked_for(task))
                found.missing[task][f"{looked_for(task).split(' with ')[0]} missing"] += PUBLISHED[task]
                continue
            records = self._records(task, layout)
            if task == "ASC":
                _report_scenes(records)
            for record in records:
                if task == "ER" and _is_dropped_happy(record):
                    found.filtered[task][HAPPY_RULE] += 1
                elif record.fault or not record.answer.strip():
                    found.missing[task][record.fault or NO_ANSWER] += 1
                else:
                    found.rows.append(Row(record.audio, self._item(task, record)))
        return found

    def _layout(self) -> Layout:
        return find_layout(self.corpus_dir)

    def _records(self, task: str, layout: Layout) -> list[Record]:
        if task == "SD":
            return real_and_fake(layout.folders[task], self.corpus_dir)
        if task == "ASR":
            return long_chapters(layout.folders[task], self.corpus_dir)
        return list(manifest_records(task, layout.manifests[task], self.corpus_dir))

    def _item(self, task: str, record: Record) -> Item:
        own = task == "ASR" and self.asr_prompt == "model"
        return Item(
            benchmark=self.name,
            id=f"{task}/{record.name}",
            task=task,
            prompt=None if own else prompt_of(task, record.question, record.choices),
            answer=record.answer,
            choices=record.choices,
            language="en",
            max_tokens=MAX_TOKENS[self.limits].get(task, OTHER_MAX_TOKENS[self.limits]),
            about=record.about,
        )


def balanced(rows: Sequence[Row]) -> tuple[list[Row], Mapping[str, Mapping[str, int]]]:
    """Of SD and SGR as many rows of each class as the smaller one has, in the rows' order; and how many are left out.

    The larger class is drawn from its rows sorted by path with `random.Random(42)`. The benchmark's scripts draw with
    seed 42 from the order in which the file system lists files, which differs between machines. A task of which only
    one class is here stays as it is.
    """
    left_out: dict[str, Counter[str]] = defaultdict(Counter)
    dropped: set[str] = set()
    for task in BALANCED:
        classes: dict[str, list[Row]] = {}
        for row in rows:
            if row.item.task == task:
                classes.setdefault(row.item.answer.strip().casefold(), []).append(row)
        if len(classes) != 2:
            continue
        fewest = min(len(some) for some in classes.values())
        for some in classes.values():
            if len(some) > fewest:
                ordered = sorted(some, key=lambda row: (row.audio, row.item.id))
                kept = {row.item.id for row in random.Random(BALANCE_SEED).sample(ordered, fewest)}
                dropped |= {row.item.id for row in some} - kept
                left_out[task][BALANCE_RULE] += len(some) - fewest
    return [row for row in rows if row.item.id not in dropped], left_out


def _is_dropped_happy(record: Record) -> bool:
    about = record.about
    return str(about.get("person_id")) in HAPPY_PERSONS and str(about.get("emotion_label")).lower() == "happy"


def _report_scenes(records: Sequence[Record]) -> None:
    """Warn of files whose name begins with another scene than their label."""
    other = [
        (record.audio, label, scene)
        for record in records
        if (scene := scene_in_name(record.audio)) and (label := record.about.get("scene_label")) and scene != label
    ]
    if other:
        logger.warning(
            "AudioMarathon: ASC: the label of %d of %d files isn't the scene in their name, such as %s (label %s, name "
            "%s); they are asked and scored as published",
            *(len(other), len(records), *other[0]),
        )


def download_audiomarathon(target_dir: str | Path, force_download: bool = False) -> Path:
    """Download AudioMarathon (58.75 GB) from the Hugging Face Hub; an interrupted download goes on. Unpack its archives
    afterwards, in the same folder. Licence and citation: see `AudioMarathon`."""
    return download_dataset(REPO, target_dir, None, force_download)


def prepare_audiomarathon(
    corpus_dir: str | Path,
    output_dir: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    limit: int | None = None,
    limits: Limits = "official",
) -> dict[str, CutSet]:
    """{"test": cuts} of AudioMarathon, as lhotse's recipes prepare a corpus. Arguments as in `AudioMarathon`.

    output_dir: where manifests are written, as recordings_test.jsonl.gz, supervisions_test.jsonl.gz and
    cuts_test.jsonl.gz. None: nowhere.
    """
    names = None if tasks is None else list(tasks)
    return prepare_benchmark(AudioMarathon(str(corpus_dir), tasks=names, limit=limit, limits=limits), output_dir)
