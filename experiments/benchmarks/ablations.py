#!/usr/bin/env python3
"""What each choice in stage 3 is worth: the same budget from the same weights, one thing changed at a time, some seeds.

    python experiments/benchmarks/ablations.py --base RUN/stage1 -- -c models/whisper_base_tiny.yaml \
        -c data/spoken_digits_long.yaml --data.corpus.init_args.corpus_dir DIR

What follows ``--`` are the overlays and flags that the base was trained with. Finished runs are kept under `--runs` and
broken ones gone on with. Every variant is set beside `as it is` on the same sessions, its seeds together: the
difference of their WER and its interval. Writes results/ablations.json and pictures/ablations.png to docs or `--out`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib

from experiments.benchmarks.asking import Method, Sessions, answered
from experiments.benchmarks.record import ROOT, commit_of_tree, out_option, publish, results_and_pictures
from speech_xl.evaluation.compressors import Summarization
from speech_xl.evaluation.metrics import cut_error_rate
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.rows import rounded, row_of, wer_delta
from speech_xl.run.arguments import whole_number
from speech_xl.run.command import LAST, WEIGHTS
from speech_xl.run.trained_stage import TrainedStage
from speech_xl.run.user_errors import exit_on_user_error

RATIOS = (2, 4, 8)
SCHEDULE = "--curriculum.init_args.schedule"
SST = "--model.init_args.sst"
SSTS = Summarization()
FEWEST_STEPS = 6  # the curriculum rises in sixths
BASE = "as it is"  # curriculum to 8x, ratio per interval, interleaved, full projections, original positions, 4 s


def curriculum(steps: int) -> str:
    """Ratios rising to 8x over the first half of the steps."""
    sets = ([2], [2, 4], [2, 4, 8])
    stages = (f"{{start: {steps * n // FEWEST_STEPS}, ratios: {ratios}}}" for n, ratios in enumerate(sets))
    return f"[{', '.join(stages)}]"


def variants(steps: int) -> dict[str, list[str]]:
    """Flags of each run; what isn't said is as in `BASE`."""
    rising = [SCHEDULE, curriculum(steps)]
    return {
        BASE: rising,
        "8x from the start": [SCHEDULE, "[{start: 0, ratios: [8]}]"],
        "all ratios from the start": [SCHEDULE, "[{start: 0, ratios: [2, 4, 8]}]"],
        "ratio per sample": [*rising, "--model.init_args.ratio_per", "sample"],
        "appended": [*rising, f"{SST}.placement", "appended"],
        "no time code": [*rising, "--model.init_args.frame_code.init_args.ssts", "false"],
        "started as the mean": [*rising, f"{SST}.start", "mean"],
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


def answers(name: str, seed: int, folder: Path, sessions_asked: int) -> list[Prediction]:
    """Answers at every ratio about dev sessions; kept beside the weights."""
    stage, path = TrainedStage.of(folder), folder / f"answers_to_{sessions_asked}.jsonl"
    model, sessions = stage.model(), Sessions(stage, sessions_asked, ["asr"])
    found: list[Prediction] = []
    for ratio in RATIOS:
        file = path.with_stem(f"{path.stem}_{ratio}x")
        found += answered(Method(SSTS, "sst"), model, ratio, sessions, stage.decoding, file, stage.weights)
    return found


def compared(found: dict[str, dict[int, list[Prediction]]]) -> list[dict[str, Any]]:
    """A row a variant and ratio, from answers by name and seed: rates of all seeds together and of each, and how far
    from `BASE` with the same seeds. The interval is of sessions: what another seed would change it doesn't know."""
    rows = []
    for name, seeds in found.items():
        for ratio in RATIOS:
            mine, base = (
                {seed: [r for r in some[seed] if r.ratio == ratio] for seed in seeds if seed in some}
                for some in (seeds, found.get(BASE, {}))
            )
            rates, others = ([cut_error_rate(r).value for r in some.values()] for some in (mine, base))
            about: dict[str, Any] = {"wer_cut_by_seed": [round(rate, 4) for rate in rates]}
            if name != BASE and base.keys() == mine.keys():
                about |= wer_delta(*(list(chain.from_iterable(some.values())) for some in (mine, base)))
                about["more_errors_by_seed"] = [round(a - b, 4) for a, b in zip(rates, others, strict=True)]
            rows.append(row_of(name, ratio, list(chain.from_iterable(mine.values())), about))
    return rows


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Points of WER more than as it is, with the interval, and a mark for every seed; a panel a ratio."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in rows if "more_errors" in row]
    names = list(dict.fromkeys(row["method"] for row in rows))
    figure, axes = plt.subplots(1, len(RATIOS), figsize=(12, 4.5), sharey=True, layout="constrained")
    for axis, ratio in zip(axes, RATIOS, strict=True):
        for row in (row for row in rows if row["ratio"] == ratio):
            place, worse = names.index(row["method"]), 100 * row["more_errors"]
            ends = [[worse - 100 * row["more_errors_low"]], [100 * row["more_errors_high"] - worse]]
            axis.errorbar(worse, place, xerr=ends, fmt="o", color="C0", capsize=3)
            seeds = [100 * one for one in row["more_errors_by_seed"]]
            axis.plot(seeds, [place] * len(seeds), "k|", ms=10)
        axis.axvline(0, color="k", lw=0.8)
        axis.set(title=f"{ratio}x", xlabel="points of WER more", yticks=range(len(names)), yticklabels=names)
        axis.grid(alpha=0.3, axis="x")
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="folder of the stage that every run starts from")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"), help="(%(default)s)")
    parser.add_argument("--steps", type=whole_number(), default=300, help="optimizer steps of each run (%(default)s)")
    parser.add_argument("--seeds", type=whole_number(0), nargs="+", default=[1, 2], help="(%(default)s)")
    parser.add_argument("--sessions", type=whole_number(), default=40, help="dev sessions asked (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these variants alone")
    out_option(parser)
    parser.add_argument("overlays", nargs="*", help="after --: overlays and flags of the base")
    given = parser.parse_args()
    if given.steps < FEWEST_STEPS:
        parser.error(f"--steps {given.steps}: the curriculum rises in sixths of them; give {FEWEST_STEPS} or more")
    commit, found = commit_of_tree(), defaultdict(dict)
    for seed in given.seeds:
        for name, flags in variants(given.steps).items():
            if not given.only or name in given.only:
                folder = train(name, seed, flags, given)
                found[name][seed] = answers(name, seed, folder, given.sessions)
    rows = compared(found)
    results, pictures = results_and_pictures(given.out)
    picture(rows, pictures / "ablations.png")
    rows = [rounded(row) for row in rows]
    publish(
        __file__,
        summary={f"{row['method'].replace(' ', '_')}_wer_cut_{row['ratio']}x": row["wer_cut"] for row in rows},
        data=f"{given.sessions} dev sessions, stage 3 of {given.steps} steps from one base, seeds {given.seeds}",
        items=given.sessions,
        commit=commit,
        folder=results,
        rows=rows,
    )


if __name__ == "__main__":
    with exit_on_user_error():
        main()
