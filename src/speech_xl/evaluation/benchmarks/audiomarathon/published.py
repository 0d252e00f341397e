"""Figures of AudioMarathon that others have published, from `published.json` beside this file."""

from __future__ import annotations

import json
from importlib.resources import files

from speech_xl.evaluation.benchmarks.profile import Published

MIXED = "one leaderboard mixes weighted F1, macro F1 and accuracy, by each model's own script"


def published_figures() -> tuple[Published, ...]:
    """Every figure of every system, "average" among the tasks."""
    tables = json.loads(
        (files("speech_xl.evaluation.benchmarks.audiomarathon") / "published.json").read_text(encoding="utf-8")
    )
    return tuple(
        Published(
            system,
            task,
            "100 - WER, %" if task == "ASR" else "mean of the ten, %" if task == "average" else "F1 or accuracy, %",
            value,
            table["source"],
            "; ".join(filter(None, [table["notes"].get(f"{system}/{task}"), None if task == "ASR" else MIXED])),
        )
        for table in tables
        for system, figures in table["systems"].items()
        for task, value in figures.items()
    )
