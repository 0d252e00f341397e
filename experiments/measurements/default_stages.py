#!/usr/bin/env python3
"""The default stages, measured: install, stages 0 to 3 by their configs, test; writes docs/results/default.json.

    python experiments/measurements/default_stages.py --work /tmp/default_stages

makes a new virtual environment, a new corpus and new runs under --work, so that nothing made before is used. A run that
was broken off goes on where it stopped when the same folder is given; the minutes of finished steps are kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from experiments.measurements.record import ROOT, commit_of_tree, record

STEPS = {
    "venv": "python3 -m venv {work}/venv",
    "install": "{work}/venv/bin/pip install -q -e .",
    "stage2": "{run} fit -c stage2.yaml {where}",  # stages 0 and 1 are missing, so they are trained first
    "stage3": "{run} fit -c stage3.yaml {where}",
    "test": "{run} test -c stage3.yaml {where}",
}


def timed(work: Path, name: str, command: str, times: dict[str, float]) -> None:
    """Run one step unless its minutes are known, and note them."""
    if name in times:
        print(f"{name}: {times[name]:.1f} min, done before")
        return
    print(f"{name}: {command}", flush=True)
    start = time.monotonic()
    subprocess.run(command, shell=True, cwd=ROOT, check=True)
    times[name] = (time.monotonic() - start) / 60
    (work / "minutes.json").write_text(json.dumps(times, indent=2))


def summarise(times: dict[str, float], rows: dict[int, dict[str, Any]], split: str) -> dict[str, float | str]:
    """Minutes, WER per ratio and Q&A accuracy per ratio, as shares."""
    summary: dict[str, float | str] = {
        "split": split,
        "stage2_fresh_minutes": round(times["venv"] + times["install"] + times["stage2"], 2),
        "all_stages_minutes": round(times["stage2"] + times["stage3"], 2),
        "test_minutes": round(times["test"], 2),
    }
    for ratio, rates in rows.items():
        for name in ("wer", "qa"):
            rate = rates[name]
            summary |= {f"{name}_{ratio}x": rate["value"], f"{name}_{ratio}x_low": rate["low"]}
            summary[f"{name}_{ratio}x_high"] = rate["high"]
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the environment, the corpus and the runs")
    work = parser.parse_args().work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    known = work / "minutes.json"
    times: dict[str, float] = json.loads(known.read_text()) if known.exists() else {}
    commit = commit_of_tree()
    where = f"--runs {work}/runs --data.cache_dir {work}/data --data.corpus.init_args.root {work}/data/embedded"
    run = f"{work}/venv/bin/python experiments/run.py"
    for name, command in STEPS.items():
        timed(work, name, command.format(work=work, run=run, where=where), times)
    scores = json.loads((work / "runs" / "default" / "stage3" / "results.json").read_text())
    rows = {int(ratio): row["rates"] for ratio, row in scores["ratios"].items()}
    path = record(
        "default",
        summarise(times, rows, "test"),
        command="python experiments/measurements/default_stages.py --work DIR",
        data=f"embedded corpus, split test, {scores['sessions']} sessions",
        items=scores["items"],
        commit=commit,
        minutes=times,
    )
    shutil.copy(work / "runs" / "default" / "stage3" / "results.md", ROOT / "docs" / "results" / "default.md")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
