#!/usr/bin/env python3
"""The record of the mini benchmarks: every method's answers scored by every profile, one line a task and ratio.

    python experiments/measurements/benchmarks_mini.py --commit HASH \
        --answers "SSTs=runs/benchmarks_mini/sst/predictions/test_SSTs-....jsonl" --answers "full KV=..." ...

A method may have a file a benchmark. `experiments/benchmarks_mini.yaml` trains the stages, and docs/benchmarks.md has
the commands that make the answers.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.measurements.record import out_option, publish
from speech_xl.evaluation.benchmarks.report import benchmark_of
from speech_xl.evaluation.benchmarks.rows import TaskRow, rows_of
from speech_xl.evaluation.prediction_file import read_predictions

SSTS, FULL_KV = "SSTs", "full KV"


def rows_of_file(method: str, path: Path) -> list[dict[str, Any]]:
    """A plain row per profile, task and ratio of one file of answers."""
    predictions = read_predictions(path)
    benchmark = benchmark_of(predictions, path)
    found = []
    for profile in benchmark.profiles:
        for row in rows_of(predictions, benchmark, profile, {}):
            if row.main is not None:
                headline = profile is benchmark.profiles[0]
                about = {"method": method, "benchmark": benchmark.name, "profile": profile.name, "headline": headline}
                found.append(about | _plain(row))
    return found


def _plain(row: TaskRow) -> dict[str, Any]:
    main = row.main
    assert main is not None
    known = row.to_json()
    kept = ("task", "ratio", "answered", "failed", "cut", "audio_seconds", "heard_seconds", "majority", "best_constant")
    kept += ("kept_kv_bytes_per_audio_second", "kept_kv_share")
    figure = {name: getattr(main, name) for name in ("metric", "value", "low", "high", "better", "unparsed")}
    plain = {name: None if isinstance(one, float) and math.isnan(one) else one for name, one in figure.items()}
    return {name: known[name] for name in kept} | plain


def higher_is_better(row: dict[str, Any]) -> float:
    """A main figure between 0 and 100 of which more is better: 100 less an error rate, which counts 100 at most."""
    value = float(row["value"])
    return value if row["better"] == "higher" else 100.0 - min(value, 100.0)


def summary_of(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The main figures of the trained SSTs by task and ratio, and how far 8x is from the full KV on average."""
    first = [row for row in rows if row["headline"] and row["value"] is not None]
    at = {(row["method"], row["benchmark"], row["task"], row["ratio"]): row for row in first}
    tasks = list(dict.fromkeys((row["benchmark"], row["task"]) for row in first))
    differences = [
        higher_is_better(at[(SSTS, *task, 8)]) - higher_is_better(at[(FULL_KV, *task, 1)])
        for task in tasks
        if (SSTS, *task, 8) in at and (FULL_KV, *task, 1) in at
    ]
    found: dict[str, float] = {
        "tasks": len(tasks),
        "profiles": len({(row["benchmark"], row["profile"]) for row in rows}),
        "items": sum(at[(SSTS, *task, 8)]["answered"] for task in tasks if (SSTS, *task, 8) in at),
        "sst_8x_minus_full": round(sum(differences) / len(differences), 3),
    }
    for method, key in ((FULL_KV, "full"), (SSTS, "sst")):
        for benchmark, task in tasks:
            for ratio in (1, 4, 8, 16):
                row = at.get((method, benchmark, task, ratio))
                if row is not None and not (method == FULL_KV and ratio > 1):
                    name = "_".join((benchmark, task.lower(), f"{ratio}x") if key == "sst" else (benchmark, task, key))
                    found[name.lower()] = round(row["value"], 3)
    return found


def answers_of(given: Iterable[str]) -> dict[str, list[Path]]:
    """``METHOD=FILE`` words by method."""
    found: dict[str, list[Path]] = defaultdict(list)
    for word in given:
        method, separator, path = word.partition("=")
        if not separator or not Path(path).is_file():
            raise SystemExit(f"--answers {word}: give METHOD=FILE.jsonl, a predictions file that is there")
        found[method].append(Path(path))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", action="append", required=True, metavar="METHOD=FILE", help="once a file")
    parser.add_argument("--commit", help="that the stages were trained at (the commit of now)")
    out_option(parser)
    given = parser.parse_args()
    answers = answers_of(given.answers)
    rows = [row for method, files in answers.items() for file in files for row in rows_of_file(method, file)]
    publish(
        __file__,
        summary_of(rows),
        data="longspeech_mini and marathon_mini, split test",
        items=sum(row["answered"] for row in rows if row["headline"]),
        commit=given.commit,
        folder=given.out / "results",
        rows=rows,
    )


if __name__ == "__main__":
    main()
