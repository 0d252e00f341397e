"""Scores of a predictions file: of a benchmark's items by its profiles, of other corpora as WER and accuracy."""

from __future__ import annotations

import json
from pathlib import Path

from speech_xl.evaluation.benchmarks.report import write_benchmark_report
from speech_xl.evaluation.prediction_file import prediction_files
from speech_xl.evaluation.report import write_report


def holds_items(jsonl: Path) -> bool:
    """Whether a predictions file answers a benchmark's items, by its first line that can be read."""
    for file in prediction_files(jsonl):
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    return json.loads(line).get("item") is not None
                except (ValueError, AttributeError):
                    continue
    return False


def write_scores(jsonl: Path, folder: Path, name: str, profile: str | None = None) -> str:
    """Write NAME.json and NAME.md into `folder` and return the page.

    profile: of a benchmark, the rules that its tables show; None: its first. Raises ValueError where a file holds items
    of several benchmarks, or answers that are no items beside items.
    """
    if holds_items(jsonl):
        write_benchmark_report(jsonl, folder, name, profile)
    elif profile is not None:
        raise ValueError(f"{jsonl}: --profile {profile}: holds no benchmark's items; leave --profile out")
    else:
        write_report(jsonl, folder, name)
    return (folder / f"{name}.md").read_text(encoding="utf-8")
