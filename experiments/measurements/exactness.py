#!/usr/bin/env python3
"""One pass against streaming, in float64, over every admitted family of decoders, position scheme and projection.

    python experiments/measurements/exactness.py            # all combinations
    python experiments/measurements/exactness.py --quick    # one projection

For each: the largest difference between the two paths' losses (summed over the answers' tokens) and between their
gradients, on a ragged batch with ratios mixed per interval; and whether each negative control, which breaks one thing,
is noticed. Models are random and small; what is exact for them is exact for large ones. Needs the `test` extra.
Writes results/exactness.json and pictures/exactness.png to docs or to `--out`.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import torch
from tqdm import tqdm

from experiments.measurements.record import commit_of_tree, out_option, publish, results_and_pictures
from experiments.measurements.two_paths import (
    CONTROLS,
    FAMILIES,
    RATIOS,
    SCHEMES,
    TURNS,
    broken,
    gradients,
    sample,
    streamed,
)
from experiments.random_models import listener, llm_folder, suffixes

PROJECTIONS = ("full", "lora")
NOTICED = 1e-3  # a control's difference in loss from here on counts as noticed


def compare(folder: str, scheme: Any, projections: str) -> dict[str, float]:
    """Largest differences of the two paths, in value and in gradient."""
    model = listener(folder, projections, positions=scheme)
    asked = suffixes(model, *TURNS)
    one = gradients(model, sample(), lambda heard: model(heard, RATIOS, asked).loss_sum)
    stream = gradients(model, sample(), lambda heard: streamed(model, heard, RATIOS, asked))
    gradient = max((value - stream[1][name]).abs().max().item() for name, value in one[1].items())
    return {"value": abs(one[0] - stream[0]), "gradient": gradient}


@torch.no_grad()
def control(folder: str, scheme: Any, case: str) -> float:
    """Difference in loss with one thing broken."""
    model = listener(folder, "full", positions=scheme)
    asked = suffixes(model, *TURNS)
    with broken(model, case):
        return abs(float(model(sample(), RATIOS, asked).loss_sum - streamed(model, sample(), RATIOS, asked)))


def picture(rows: list[dict[str, Any]], controls: list[dict[str, Any]], path: Path) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
    floor = 1e-17  # where a difference of 0 is drawn
    names = [f"{row['family']}\n{row['scheme']}" for row in rows]
    for what, mark in (("value", "o"), ("gradient", "x")):
        axis.scatter(names, [max(floor, row[what]) for row in rows], marker=mark, label=f"largest {what} difference")
    broken_names = [f"{row['family']}\n{row['scheme']}" for row in controls]
    axis.scatter(broken_names, [row["difference"] for row in controls], marker="v", label="negative controls")
    axis.set(yscale="log", ylabel="difference, float64", ylim=(floor / 3, None))
    axis.tick_params(axis="x", rotation=90, labelsize=6)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one projection, within two minutes")
    out_option(parser)
    given = parser.parse_args()
    projections = PROJECTIONS[: 1 if given.quick else 2]
    commit, rows, controls = commit_of_tree(), [], []
    with tempfile.TemporaryDirectory() as root:
        folders = {family: llm_folder(Path(root) / family, family) for family in FAMILIES}
        for family, scheme in tqdm(list(product(FAMILIES, SCHEMES)), unit="pair", disable=None):
            for kind in projections:
                found = compare(folders[family], scheme, kind)
                rows.append({"family": family, "scheme": scheme, "projections": kind, **found})
            for case in CONTROLS:
                difference = control(folders[family], scheme, case)
                controls.append({"family": family, "scheme": scheme, "control": case, "difference": difference})
    summary = {
        "combinations": len(rows),
        "max_abs_diff_float64": max(row["value"] for row in rows),
        "max_grad_diff_float64": max(row["gradient"] for row in rows),
        "negative_controls": len(controls),
        "negative_controls_caught": sum(row["difference"] > NOTICED for row in controls),
    }
    results, pictures = results_and_pictures(given.out)
    picture(rows, controls, pictures / "exactness.png")
    publish(
        __file__,
        summary=summary,
        data="random tiny models, ragged batch of four rows, ratios mixed per interval (two_paths.py)",
        items=len(rows),
        commit=commit,
        folder=results,
        rows=rows,
        controls=controls,
    )


if __name__ == "__main__":
    main()
