#!/usr/bin/env python3
"""Real speech and real weights by overlays alone; writes docs/results/real_speech_first_run.json.

    python experiments/benchmarks/real_speech_first_run.py --digits-flags "--data.corpus.init_args.corpus_dir DIR"

trains stages 1 to 3 with models/whisper_base_smollm2.yaml, first on data/spoken_digits.yaml, then on
data/mini_librispeech.yaml. A stage that is finished is not trained again, a stage that was broken off is resumed;
so the command can be given again until all six are there, and it records what there is each time.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.benchmarks.record import ROOT, commit_of_tree, record

MODEL = "whisper_base_smollm2"
STAGES = ("stage1", "stage2", "stage3")


def train(stage: str, corpus: str, runs: Path, flags: list[str]) -> Path:
    """Train one stage unless it is finished; returns its run folder."""
    folder = runs / f"{MODEL}+{corpus}" / stage
    if not (folder / "weights.safetensors").is_file():
        command = [sys.executable, "experiments/run.py", "fit", "-c", f"{stage}.yaml"]
        command += ["-c", f"models/{MODEL}.yaml", "-c", f"data/{corpus}.yaml", "--runs", str(runs), *flags]
        if (folder / "checkpoints" / "last.ckpt").is_file():
            command += ["--ckpt_path", "last"]
        print(shlex.join(command), flush=True)
        subprocess.run(command, cwd=ROOT, check=True)
    return folder


def scalars(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Every curve of a run: tag -> (step, value, wall seconds)."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value, e.wall_time) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def minutes(curves: dict[str, list[tuple[int, float, float]]]) -> float:
    """Wall minutes from a run's first to its last point; a pause between kill and resume counts too."""
    times = [time for points in curves.values() for _, _, time in points]
    return (max(times) - min(times)) / 60


def best(curves: dict[str, list[tuple[int, float, float]]], tag: str) -> float | None:
    """`tag` at the validation whose checkpoint was chosen."""
    chosen = min(curves.get("val/errors", []), key=lambda point: point[1], default=None)
    values = {step: value for step, value, _ in curves.get(tag, [])}
    return None if chosen is None else values.get(chosen[0])


def dev_sessions(runs: Path) -> int:
    """Dev sessions that the digits' validations used."""
    config = yaml.safe_load((runs / f"{MODEL}+spoken_digits" / "stage1" / "tensorboard" / "config.yaml").read_text())
    data = config["data"]
    every = data["corpus"]["init_args"]["dev_sessions"]
    return every if data["limit_dev"] is None else min(every, data["limit_dev"])


def digits(runs: Path) -> dict[str, float]:
    variant = runs / f"{MODEL}+spoken_digits"
    summary: dict[str, float] = {}
    if (variant / "stage1" / "tensorboard").is_dir():
        curves = scalars(variant / "stage1")
        summary["digits_stage1_minutes"] = round(minutes(curves), 1)
        if (wer := best(curves, "val/wer_1x")) is not None:
            summary["digits_wer_1x"] = wer
    if (variant / "stage3" / "tensorboard").is_dir():
        curves = scalars(variant / "stage3")
        for ratio in (2, 4, 8, 16):
            if (wer := best(curves, f"val/wer_{ratio}x")) is not None:
                summary[f"digits_wer_{ratio}x"] = wer
    return summary


def librispeech(runs: Path) -> dict[str, float]:
    summary: dict[str, float] = {}
    for stage in STAGES:
        folder = runs / f"{MODEL}+mini_librispeech" / stage
        if (folder / "tensorboard").is_dir():
            curves = scalars(folder)
            loss = [value for _, value, _ in curves["train/loss"]]
            few = max(1, len(loss) // 10)  # single batches are noisy: the first and the last tenth of the points
            first, last = sum(loss[:few]) / few, sum(loss[-few:]) / few
            summary |= {f"librispeech_{stage}_loss_first": first, f"librispeech_{stage}_loss_last": last}
            summary[f"librispeech_{stage}_minutes"] = round(minutes(curves), 1)
    if summary:
        done = [stage for stage in STAGES if f"librispeech_{stage}_loss_last" in summary]
        summary["librispeech_loss_first"] = summary[f"librispeech_{done[0]}_loss_first"]
        summary["librispeech_loss_last"] = summary[f"librispeech_{done[-1]}_loss_last"]
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--flags", default="", help="more flags for every stage, such as folders of corpora or weights")
    parser.add_argument("--digits-flags", default="", help="flags for the spoken digits alone")
    parser.add_argument("--librispeech-flags", default="", help="flags for Mini LibriSpeech alone")
    parser.add_argument("--record-only", action="store_true", help="train nothing, record the runs there are")
    parser.add_argument("--commit", help="with --record-only: the full hash the runs were trained at")
    given = parser.parse_args()
    commit = given.commit or commit_of_tree()
    if not given.record_only:
        for corpus, own in (("spoken_digits", given.digits_flags), ("mini_librispeech", given.librispeech_flags)):
            for stage in STAGES:
                train(stage, corpus, given.runs, [*shlex.split(given.flags), *shlex.split(own)])
    summary = digits(given.runs) | librispeech(given.runs)
    path = record(
        "real_speech_first_run",
        {name: round(value, 4) for name, value in summary.items()},
        command="python experiments/benchmarks/real_speech_first_run.py",
        data="Free Spoken Digit Dataset sessions, dev (no recording in two splits); Mini LibriSpeech, train. Audio "
        "re-encoded: training Opus 36 kb/s, LibriSpeech dev MP3 24 kb/s. SmolLM2-135M-Instruct dequantised from Q4_1.",
        items=dev_sessions(given.runs),
        commit=commit,
    )
    print(f"written: {path}")


if __name__ == "__main__":
    main()
