"""Scores of a predictions file: of a benchmark's items by its profiles, of other corpora as WER and accuracy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from speech_xl.evaluation.benchmarks.judge_prompts import THREE_LABELS, JudgePrompt
from speech_xl.evaluation.benchmarks.judgements import judge as ask_judge
from speech_xl.evaluation.benchmarks.judgements import read_judgements
from speech_xl.evaluation.benchmarks.judges import Judge
from speech_xl.evaluation.benchmarks.profile import Benchmark, Judgements
from speech_xl.evaluation.benchmarks.report import write_benchmark_report
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.prediction_file import prediction_files
from speech_xl.evaluation.report import write_report

JUDGEMENTS = ".judgements.jsonl"  # how the name of a file of judgements ends, beside its predictions


ITEM = re.compile(rb'"item"\s*:\s*\{')  # in a line of a predictions file


def holds_items(jsonl: Path) -> bool:
    """Whether a predictions file answers a benchmark's items, in any of its lines."""
    return any(ITEM.search(file.read_bytes()) for file in prediction_files(jsonl))


def write_scores(jsonl: Path, folder: Path, name: str) -> str:
    """Write NAME.json and NAME.md into `folder` and return the page; a benchmark's items are scored by its profiles."""
    if holds_items(jsonl):
        return write_item_scores(jsonl, folder, name)
    write_report(jsonl, folder, name)
    return page_in(folder, name)


def write_item_scores(
    jsonl: Path,
    folder: Path,
    name: str,
    profile: str | None = None,
    judge: Judge | None = None,
    prompt: JudgePrompt = THREE_LABELS,
) -> str:
    """Score a benchmark's answers, write NAME.json and NAME.md into `folder` and return the page.

    profile: the rules that its first table shows; None: its first. judge: asked about free answers, with `prompt`;
    None: what judges have said before, in NAME.judgements.jsonl beside the predictions, counts. Raises ValueError where
    the file holds items of several benchmarks, or answers that are no items beside items.
    """

    def judging(benchmark: Benchmark, predictions: Sequence[Prediction]) -> Judgements:
        tasks = {task for one in benchmark.profiles for task, by in one.tasks.items() if by.judged}
        wanted = [one for one in predictions if one.kind in tasks]
        path = jsonl.with_name(f"{jsonl.stem}{JUDGEMENTS}")
        if judge is None:
            return read_judgements(path, wanted) if path.is_file() else {}
        if not wanted:
            raise ValueError(f"--judge {judge.name}: {jsonl} has no answers that a judge is asked about; leave it out")
        return ask_judge(wanted, judge, path, prompt)

    write_benchmark_report(jsonl, folder, name, profile, judging)
    return page_in(folder, name)


def page_in(folder: Path, name: str) -> str:
    """The page of scores that was written."""
    return (folder / f"{name}.md").read_text(encoding="utf-8")
