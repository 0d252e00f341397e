"""Two processes validate and test as one does: the same metrics, each answer once, the same report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.drills.rows import Row
from experiments.drills.two_training import QUICK, TWO, fitted, setup

VALIDATED, TESTED = "evaluating: validate as one process", "evaluating: test as one process"
OF_A_RUN = {"made", "time", "seconds", "machine", "command", "date"}  # of a report, what no two runs share


def evaluating(place: Path) -> Iterator[Row]:
    """A stage of two steps, validated and tested by one process and by two."""
    run = setup(place, "evaluated", "stage3", 2, 2)
    done = fitted(run, *QUICK)
    if done.status:
        yield from (Row(case, False, "failed", done.message) for case in (VALIDATED, TESTED))
        return
    metrics: list[Any] = []
    for flags in ((), TWO):
        run.log.unlink(missing_ok=True)
        done = run.run(*flags, subcommand="validate", init=None)
        ends = run.events("validation_end")
        metrics.append(ends[-1]["metrics"] if ends and done.status == 0 else done.message)
    good = isinstance(metrics[0], dict) and metrics[0] == metrics[1]
    yield Row(VALIDATED, good, "equal" if good else "differs", "" if good else f"{metrics[0]} and {metrics[1]}")
    answers: list[list[tuple[str, str]]] = []
    reports: list[dict[str, Any]] = []
    for flags in ((), TWO):
        shutil.rmtree(run.folder / "predictions", ignore_errors=True)
        done = run.run(*flags, subcommand="test", init=None)
        if done.status:
            yield Row(TESTED, False, "failed", done.message)
            return
        answers.append(answers_of(run.folder / "predictions"))
        report = json.loads((run.folder / "results.json").read_text())
        reports.append({key: value for key, value in report.items() if key not in OF_A_RUN})
    good = bool(answers[0]) and answers[0] == answers[1] and reports[0] == reports[1]
    message = f"{len(answers[0])} and {len(answers[1])} answers, reports equal: {reports[0] == reports[1]}"
    yield Row(TESTED, good, "equal" if good else "differs", message)


def answers_of(folder: Path) -> list[tuple[str, str]]:
    """Ids and answers in a folder of predictions, in order."""
    lines = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return sorted((line["id"], line["hypothesis"]) for line in lines if "hypothesis" in line)
