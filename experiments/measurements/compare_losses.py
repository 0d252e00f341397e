#!/usr/bin/env python3
"""Whether a change left training as it was: the losses of two runs of the same stages, step by step.

    python experiments/measurements/compare_losses.py BEFORE AFTER

BEFORE and AFTER are folders of runs, such as runs/default of two checkouts, that hold the same stages trained with the
same configuration on the same machine. Every step's training loss is compared, and every validation's errors. The exit
status is 0 where all are equal to the last digit, else 1. A change that leaves results alone shows differences of 0.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from experiments.measurements.record import RESULTS, record
from experiments.plot_run import read_runs

TAGS = ("train/loss", "val/errors")


def differences(before: Path, after: Path) -> dict[str, dict[str, tuple[int, float]]]:
    """Stage -> tag -> how many values both runs have, and the largest difference between two of one step.

    Raises ValueError where the folders hold other stages, or a stage logged at other steps.
    """
    runs = [read_runs([folder]) for folder in (before, after)]
    stages = [{name.split("/")[-2]: curves for name, curves in one.items() if "earlier" not in name} for one in runs]
    if stages[0].keys() != stages[1].keys():
        raise ValueError(f"{before} has the stages {sorted(stages[0])}, {after} {sorted(stages[1])}; give like folders")
    found: dict[str, dict[str, tuple[int, float]]] = {}
    for stage in sorted(stages[0]):
        found[stage] = {}
        for tag in TAGS:
            curves = [dict(zip(*one[stage].get(tag, ([], [])), strict=True)) for one in stages]
            if curves[0].keys() != curves[1].keys() or not curves[0]:
                raise ValueError(f"{stage}: {tag} stands at {len(curves[0])} and {len(curves[1])} other steps")
            found[stage][tag] = len(curves[0]), max(abs(curves[0][step] - curves[1][step]) for step in curves[0])
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="folder of the runs before the change")
    parser.add_argument("after", type=Path, help="folder of the runs after it")
    parser.add_argument("--data", default="embedded", help="what they were trained on, for the record (%(default)s)")
    parser.add_argument("--command", default="", help="how they were trained, for the record")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the record (%(default)s)")
    given = parser.parse_args(arguments)
    found = differences(given.before, given.after)
    summary: dict[str, float | int] = {}
    for stage, tags in found.items():
        for tag, (count, largest) in tags.items():
            print(f"{stage}: {tag}: {count} values, largest difference {largest:g}")
            key = f"{stage}_{tag.replace('/', '_')}"
            summary |= {f"{key}_values": count, f"{key}_largest_difference": largest}
    items = sum(count for tags in found.values() for count, _ in tags.values())
    command = given.command or "python experiments/measurements/compare_losses.py BEFORE AFTER"
    print(record("unchanged_losses", summary, command, given.data, items, folder=given.out))
    return 0 if all(math.isclose(largest, 0.0) for tags in found.values() for _, largest in tags.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
