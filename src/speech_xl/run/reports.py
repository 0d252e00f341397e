"""Scores of a predictions file: of a benchmark's items by its profiles, of other corpora as WER and accuracy."""

from __future__ import annotations

from pathlib import Path

from speech_xl.evaluation.benchmarks.answer_file import read_answers
from speech_xl.evaluation.benchmarks.judge_prompts import THREE_LABELS, JudgePrompt
from speech_xl.evaluation.benchmarks.judgements import judge as ask_judge
from speech_xl.evaluation.benchmarks.judgements import read_judgements
from speech_xl.evaluation.benchmarks.judges import Judge
from speech_xl.evaluation.benchmarks.profile import Judgements
from speech_xl.evaluation.benchmarks.report import benchmark_of, write_benchmark_report
from speech_xl.evaluation.prediction_file import prediction_files
from speech_xl.evaluation.report import write_report

JUDGEMENTS = ".judgements.jsonl"  # how the name of a file of judgements ends, beside its predictions


def holds_items(jsonl: Path) -> bool:
    """Whether a predictions file answers a benchmark's items, in any of its lines."""
    return any(b'"item": {' in line for file in prediction_files(jsonl) for line in file.read_bytes().splitlines())


def judgements_of(jsonl: Path, judge: Judge | None, prompt: JudgePrompt) -> Judgements:
    """Judgements of the answers that a profile wants judged: what `judge` says now, or what was said before."""
    predictions = read_answers(jsonl).predictions
    tasks = {task for one in benchmark_of(predictions, jsonl).profiles for task, by in one.tasks.items() if by.judged}
    wanted = [one for one in predictions if one.kind in tasks]
    path = jsonl.with_name(f"{jsonl.stem}{JUDGEMENTS}")
    if judge is None:
        return read_judgements(path, wanted) if path.is_file() else {}
    if not wanted:
        raise ValueError(f"--judge {judge.name}: {jsonl} has no answers that a judge is asked about; leave it out")
    return ask_judge(wanted, judge, path, prompt)


def write_scores(
    jsonl: Path,
    folder: Path,
    name: str,
    profile: str | None = None,
    judge: Judge | None = None,
    prompt: JudgePrompt = THREE_LABELS,
) -> str:
    """Write NAME.json and NAME.md into `folder` and return the page.

    profile: of a benchmark, the rules that its tables show; None: its first. judge: asked about free answers, with
    `prompt`; None: what judges have said before, in NAME.judgements.jsonl beside the predictions, counts. Raises
    ValueError where a file holds items of several benchmarks, or answers that are no items beside items.
    """
    if holds_items(jsonl):
        write_benchmark_report(jsonl, folder, name, profile, judgements_of(jsonl, judge, prompt))
    elif profile is not None:
        raise ValueError(f"{jsonl}: --profile {profile}: holds no benchmark's items; leave --profile out")
    else:
        write_report(jsonl, folder, name)
    return (folder / f"{name}.md").read_text(encoding="utf-8")
