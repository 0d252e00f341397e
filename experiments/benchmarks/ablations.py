#!/usr/bin/env python3
"""What each choice in stage 3 is worth: the same budget from the same stage 2, one thing changed at a time, some seeds.

    python experiments/benchmarks/ablations.py --base RUN/stage2 -- -c models/whisper_base_tiny.yaml \
        -c data/spoken_digits_long.yaml --data.corpus.init_args.corpus_dir DIR

What follows ``--`` are the overlays and flags that stage 2 was trained with. Finished runs are kept under `--runs` and
broken ones gone on with. Writes docs/results/ablations.json and docs/pictures/ablations.png.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
from tqdm import tqdm

from experiments.benchmarks.compression import Allowed, Method, Sessions, ask, row_of
from experiments.benchmarks.record import ROOT, commit_of_tree, publish
from speech_xl.evaluation.compressors import Summarization
from speech_xl.listen import load_model
from speech_xl.stages import LAST, WEIGHTS

RATIOS = (1, 2, 4, 8)
SCHEDULE = "--curriculum.init_args.schedule"
SST = "--model.init_args.sst"
BASE = "as it is"  # curriculum to 8x, ratio per interval, interleaved, full projections, original positions, 4 s


def curriculum(steps: int) -> str:
    """Ratios rising to 8x over the first half of the steps."""
    sets = ([1, 2], [1, 2, 4], [1, 2, 4, 8])
    stages = (f"{{start: {steps * n // 6}, ratios: {ratios}}}" for n, ratios in enumerate(sets))
    return f"[{', '.join(stages)}]"


def variants(steps: int) -> dict[str, list[str]]:
    """Flags of each run; what isn't said is as in `BASE`."""
    rising = [SCHEDULE, curriculum(steps)]
    return {
        BASE: rising,
        "8x from the start": [SCHEDULE, "[{start: 0, ratios: [8]}]"],
        "all ratios from the start": [SCHEDULE, "[{start: 0, ratios: [1, 2, 4, 8]}]"],
        "ratio per sample": [*rising, "--model.init_args.ratio_per", "sample"],
        "appended": [*rising, f"{SST}.placement", "appended"],
        "no clock": [*rising, f"{SST}.clock", "false"],
        "low-rank projections": [*rising, f"{SST}.projections", "lora"],
        "compact": [*rising, f"{SST}.positions", "compact"],
        "interpolated": [*rising, f"{SST}.positions", "interpolated"],
        "intervals of 2 s": [*rising, "--data.partition.init_args.seconds", "2.0"],
        "intervals of 8 s": [*rising, "--data.partition.init_args.seconds", "8.0"],
    }


def train(name: str, seed: int, flags: list[str], given: argparse.Namespace) -> Path:
    """The folder of a finished run; trained now where it isn't there."""
    variant = f"{name.replace(' ', '_')}-{seed}"
    folder = given.runs / variant / "stage3"
    if not (folder / WEIGHTS).is_file():
        command = [sys.executable, str(ROOT / "experiments" / "run.py"), "fit", "-c", "stage3.yaml", *given.overlays]
        command += ["--runs", str(given.runs), "--variant", variant, "--init_from", str(given.base / WEIGHTS), *flags]
        command += ["--seed_everything", str(seed), "--model.init_args.seed", str(seed), "--data.seed", str(seed)]
        command += ["--trainer.max_steps", str(given.steps), "--trainer.val_check_interval", str(given.steps)]
        command += ["--data.limit_dev", "1", "--ckpt_path", "last" if (folder / LAST).is_file() else "null"]
        subprocess.run(command, check=True)
    return folder


def measured(name: str, seed: int, folder: Path, sessions_asked: int) -> list[dict[str, Any]]:
    """Rates at every ratio on dev sessions."""
    kept = folder / "ablation.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    model, sessions, method = load_model(folder), Sessions(folder, sessions_asked), Method(Summarization(), "sst")
    allowed = Allowed.by(folder)
    records: dict[int, list[dict[str, Any]]] = {ratio: [] for ratio in RATIOS}
    for cut in tqdm(sessions.cuts, desc=f"{name}, seed {seed}", unit="session"):
        speech, turns = sessions.speech(model, cut), sessions.data.evaluation(cut)
        for ratio in RATIOS:
            records[ratio] += ask(method, model, cut, speech, turns, ratio, allowed)
    rows = [row_of(name, ratio, mine, {"seed": seed}) for ratio, mine in records.items()]
    kept.write_text(json.dumps(rows))
    return rows


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """WER cut, a group of bars a ratio, a point a seed."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row["method"] for row in rows))
    figure, axes = plt.subplots(1, len(RATIOS), figsize=(14, 4.5), sharey=True, layout="constrained")
    for axis, ratio in zip(axes, RATIOS, strict=True):
        for place, name in enumerate(names):
            found = [row["wer_cut"] for row in rows if row["method"] == name and row["ratio"] == ratio]
            axis.barh(place, statistics.mean(found), color="C0" if name == BASE else "0.7")
            axis.plot(found, [place] * len(found), "k.")
        axis.set(title=f"{ratio}x", xlabel="WER cut", yticks=range(len(names)), yticklabels=names)
        axis.invert_yaxis()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="folder of the finished stage 2")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"), help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps of each run (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="(%(default)s)")
    parser.add_argument("--sessions", type=int, default=40, help="dev sessions asked (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these variants alone")
    parser.add_argument("overlays", nargs="*", help="after --: overlays and flags of stage 2")
    given = parser.parse_args()
    commit, rows = commit_of_tree(), []
    for seed in given.seeds:
        for name, flags in variants(given.steps).items():
            if not given.only or name in given.only:
                rows += measured(name, seed, train(name, seed, flags, given), given.sessions)
    summary = {}
    for row in rows:
        key = f"{row['method'].replace(' ', '_')}_wer_cut_{row['ratio']}x"
        summary[key] = summary.get(key, 0.0) + row["wer_cut"] / len(given.seeds)
    picture(rows, ROOT / "docs" / "pictures" / "ablations.png")
    publish(
        __file__,
        summary={name: round(value, 4) for name, value in summary.items()},
        data=f"{given.sessions} dev sessions, stage 3 of {given.steps} steps from one stage 2, seeds {given.seeds}",
        items=given.sessions,
        commit=commit,
        rows=rows,
    )


if __name__ == "__main__":
    main()
