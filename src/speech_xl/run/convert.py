"""`python experiments/run.py convert FILE ...`: predictions as result files of other evaluation harnesses, and back.

  convert PREDICTIONS.jsonl --to open-asr --model my-group/my-model --out exported
  convert PREDICTIONS.jsonl --to lmms-eval --model my-group/my-model --out exported
  convert MODEL_other-1x_DATASET_librispeech_long_ASR_test.jsonl --from open-asr --out other.jsonl
  convert 20260101_120000_samples_own_MC_test.jsonl --from lmms-eval --like PREDICTIONS.jsonl --out other.jsonl

What is read back is a predictions file, so `score` gives it the same table as ours.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from speech_xl.evaluation.benchmarks.answer_file import read_answers
from speech_xl.evaluation.benchmarks.other_harnesses import (
    HARNESSES,
    Origin,
    export,
    from_lmms_eval,
    from_open_asr,
    origin_of,
    write_export,
)
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.prediction_file import PredictionWriter


def convert(argv: Sequence[str]) -> None:
    """Write the result files of a harness, or a predictions file of them, and print what was written."""
    parser = argparse.ArgumentParser(
        prog="run.py convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--to", choices=HARNESSES, help="write the result files of this harness")
    way.add_argument("--from", choices=HARNESSES, dest="source", help="read a result file of this harness")
    parser.add_argument("--out", type=Path, required=True, help="folder of the result files, or a new predictions file")
    parser.add_argument("--model", default="speech-xl", help="--to: the model's name in the harness (speech-xl)")
    parser.add_argument("--like", type=Path, help="--from lmms-eval: predictions of the same items, in their order")
    parser.add_argument("--benchmark", help="--from: the items' benchmark (as --like or the file's name says)")
    parser.add_argument("--task", help="--from: the items' task (likewise)")
    parser.add_argument("--compressor", help="--from: what made the answers, in tables (the file's name)")
    given = parser.parse_args(argv)
    if given.to is not None:
        _write(given)
    else:
        _read(given)


def _write(given: argparse.Namespace) -> None:
    date = datetime.now().strftime("%Y%m%d_%H%M%S")
    made = export(read_answers(given.file).predictions, given.to, given.model, date)
    if not made.files:
        raise ValueError(f"{given.file}: holds no answer that {given.to} has a place for")
    for reason, count in (+made.left_out).items():
        print(f"left out: {count} answers ({reason})")
    for path in write_export(made, given.out):
        print(f"written: {path}")


def _read(given: argparse.Namespace) -> None:
    if given.out.exists():
        raise ValueError(f"--out {given.out}: is there already; name another file")
    like = [] if given.like is None else read_answers(given.like).predictions
    origin = _origin(given, like)
    found = (
        from_open_asr(given.file, origin) if given.source == "open-asr" else from_lmms_eval(given.file, origin, like)
    )
    with PredictionWriter(given.out) as writer:
        for one in found:
            writer.write(one)
    print(f"written: {given.out}, {len(found)} answers of {origin.benchmark}, task {origin.task}")


def _origin(given: argparse.Namespace, like: Sequence[Prediction]) -> Origin:
    """What the file's rows don't say: by the command, else by the answers it is like, else by the file's name."""
    item = (like[0].item or {}) if like else {}
    ratio = re.search(r"-(\d+)x$", given.file.parent.name)  # lmms-eval keeps a model's samples in a folder of its name
    named = given.file.parent.name if given.source == "lmms-eval" and ratio else ""
    known = None
    if item:
        about = str(item.get("benchmark", "")), str(item.get("task", "ASR")), like[0].split
        known = Origin(*about, compressor=named, ratio=int(ratio[1]) if ratio else 1)
    if known is None and given.source == "open-asr" and given.benchmark is None:
        known = origin_of(given.file)
    benchmark = given.benchmark or (known.benchmark if known else "")
    if not benchmark:
        raise ValueError(f"{given.file}: of which benchmark? Add --benchmark NAME --task NAME, or --like PREDICTIONS")
    return Origin(
        benchmark=benchmark,
        task=given.task or (known.task if known else "ASR"),
        split=known.split if known and known.split else "test",
        compressor=given.compressor or (known.compressor if known and known.compressor else given.file.stem),
        ratio=known.ratio if known else 1,
    )
