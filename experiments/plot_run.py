"""Draws a run's curves from its TensorBoard event files, one PNG a subject: loss, WER, Q&A, curriculum, memory.

    python experiments/plot_run.py runs/default --out docs/pictures

Every folder of event files under the given ones becomes a panel (a run of three stages: three panels).
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display needed: pictures are only written
import matplotlib.pyplot as plt
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Curve = tuple[list[int], list[float]]  # steps, values
Curves = dict[str, Curve]  # by tag


@dataclass(frozen=True)
class Subject:
    """One picture: which tags belong to it and how they are drawn."""

    name: str
    pattern: str  # searched in the tag; its group, where it has one, is the compression ratio
    title: str
    scale: float = 1.0
    step_like: bool = False  # a value holds until the next one
    row_a_tag: bool = False  # the tags have different units, so each gets a row of its own; .../2x and .../4x share one


SUBJECTS = (
    Subject("loss", r"(?:^|[/_])loss(?:_step|_epoch)?$", "loss (bold: running mean)"),
    Subject("wer", r"^val/wer_(\d+)x$", "word error rate, %", scale=100.0),
    Subject("qa", r"^val/qa_(\d+)x$", "Q&A accuracy, %", scale=100.0),
    Subject("curriculum", r"^curriculum/max_ratio$", "highest ratio trained", step_like=True),
    Subject("memory", r"^memory/[^/]+(?:/(\d+)x)?$", "memory", row_a_tag=True),
)


def read_runs(folders: list[Path]) -> dict[str, Curves]:
    """Scalars of every folder that directly holds event files, by a short name of the folder.

    Several files in one folder are one run, killed and resumed: steps done twice count once, as they were done last.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such run folder; give the folder a run wrote (run.py prints it)")
        parents = sorted({file.parent for file in folder.rglob("events.out.tfevents.*")})
        if not parents:
            raise FileNotFoundError(f"{folder}: no TensorBoard event files (events.out.tfevents.*) in it or below it")
        for parent in parents:
            found.setdefault(parent, folder)
    return {_name(parent, folder): _scalars(parent) for parent, folder in found.items()}


def _name(parent: Path, folder: Path) -> str:
    below = parent.relative_to(folder).as_posix()
    return folder.name if below == "." else f"{folder.name}/{below}"


def _scalars(parent: Path) -> Curves:
    events = EventAccumulator(str(parent), size_guidance={"scalars": 0})  # 0: keep every point, the default samples
    events.Reload()
    curves: Curves = {}
    for tag in events.Tags()["scalars"]:
        last = {event.step: event.value for event in sorted(events.Scalars(tag), key=lambda event: event.wall_time)}
        steps = sorted(last)
        curves[tag] = (steps, [last[step] for step in steps])
    return curves


def draw(subject: Subject, runs: dict[str, Curves], path: Path) -> bool:
    """Draw one subject over all runs that logged it; False, and no file, where none did."""
    chosen = {
        name: {tag: curve for tag, curve in curves.items() if re.search(subject.pattern, tag)}
        for name, curves in runs.items()
    }
    chosen = {name: curves for name, curves in chosen.items() if curves}
    if not chosen:
        return False
    rows = sorted({_row(subject, tag) for curves in chosen.values() for tag in curves})
    figure, axes = plt.subplots(
        len(rows),
        len(chosen),
        figsize=(1.5 + 4.5 * len(chosen), 0.6 + (2.2 if len(rows) > 1 else 3.2) * len(rows)),
        squeeze=False,
        sharey="row",
        layout="constrained",
    )
    for column, (name, curves) in enumerate(chosen.items()):
        axes[0][column].set_title(name, fontsize=10)
        axes[-1][column].set_xlabel("step")
        for row, label in enumerate(rows):
            axis = axes[row][column]
            tags = sorted((tag for tag in curves if _row(subject, tag) == label), key=_ratio_order(subject))
            if not tags:
                axis.text(0.5, 0.5, "not logged", transform=axis.transAxes, ha="center", color="grey")
                axis.set_xticks([])
            for tag in tags:
                _line(axis, subject, tag, curves[tag])
            if column == 0:
                axis.set_ylabel(textwrap.fill(label.replace("_", " "), 24), fontsize=8 if len(rows) > 1 else 9)
            if len(tags) > 1:
                axis.legend(fontsize=8)
            axis.grid(alpha=0.25)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def _row(subject: Subject, tag: str) -> str:
    """What stands beside the row of panels that a tag is drawn in."""
    return re.sub(r"/\d+x$", "", tag).removeprefix("memory/") if subject.row_a_tag else subject.title


def _ratio(subject: Subject, tag: str) -> int | None:
    match = re.search(subject.pattern, tag)
    return int(match.group(1)) if match and match.groups() and match.group(1) else None


def _ratio_order(subject: Subject) -> Callable[[str], tuple[int, str]]:
    return lambda tag: (_ratio(subject, tag) or 0, tag)


def _line(axis: Any, subject: Subject, tag: str, curve: Curve) -> None:
    steps, values = curve[0], [value * subject.scale for value in curve[1]]
    ratio = _ratio(subject, tag)
    label = tag if ratio is None else f"{ratio}x"
    # The same ratio has the same colour in every picture; 32x is the palest.
    color = None if ratio is None else plt.get_cmap("viridis")(min(1.0, (ratio.bit_length() - 1) / 5.5))
    if subject.step_like:
        axis.step(steps, values, where="post", color=color, label=label)
    elif subject.name == "loss" and len(values) > 50:
        (raw,) = axis.plot(steps, values, alpha=0.25, linewidth=0.8)
        axis.plot(steps, _smooth(values, len(values) // 25), color=raw.get_color(), label=f"{label} (running mean)")
    else:
        axis.plot(steps, values, marker="o" if len(values) <= 60 else None, markersize=3, color=color, label=label)


def _smooth(values: list[float], width: int) -> list[float]:
    """Mean of the last `width` values at every point; shorter at the start, so no point is invented."""
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value - (values[i - width] if i >= width else 0.0)
        means.append(total / min(i + 1, width))
    return means


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, searched for event files all the way down")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), help="where the PNGs go (%(default)s)")
    parser.add_argument("--prefix", default="", help="put before the PNGs' names, for a second run's pictures")
    options = parser.parse_args(arguments)
    try:
        runs = read_runs(options.runs)
    except FileNotFoundError as error:
        print(f"plot_run: {error}", file=sys.stderr)
        return 1
    for subject in SUBJECTS:
        path = options.out / f"{options.prefix}{subject.name}.png"
        print(f"{path}" if draw(subject, runs, path) else f"no {subject.name} in these runs: {path} not drawn")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
