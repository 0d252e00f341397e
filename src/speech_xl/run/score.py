"""`python experiments/run.py score PREDICTIONS.jsonl ...`: score predictions files again, without any model."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from speech_xl.evaluation.benchmarks.judge_prompts import PROMPTS, THREE_LABELS, find_prompt
from speech_xl.evaluation.benchmarks.judges import EndpointJudge, Judge, LocalJudge
from speech_xl.evaluation.prediction_file import read_predictions
from speech_xl.evaluation.report import rows_of, write_report
from speech_xl.evaluation.rows import Row
from speech_xl.evaluation.tables import method_table
from speech_xl.run.reports import JUDGEMENTS, holds_items, write_item_scores


def score(argv: Sequence[str]) -> None:
    """Write NAME.results.json and NAME.results.md of every file, and print one table of them all; of a benchmark,
    its page."""
    parser = argparse.ArgumentParser(prog="run.py score", description=__doc__)
    parser.add_argument("predictions", nargs="+", type=Path, metavar="PREDICTIONS.jsonl")
    parser.add_argument("--profile", help="of a benchmark: the rules that its first table shows (its first)")
    parser.add_argument("--judge", help="of free answers: a Hugging Face LLM, or with --judge_url an endpoint's model")
    parser.add_argument("--judge_url", help="OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1")
    parser.add_argument("--judge_key_env", help="environment variable with the endpoint's key (none)")
    parser.add_argument("--judge_prompt", default=THREE_LABELS.name, help=f"{', '.join(PROMPTS)} ({THREE_LABELS.name})")
    parser.add_argument("--out", type=Path, help="folder of the scores (that of each file)")
    given = parser.parse_args(argv)
    rows, written = [], []
    judge = judge_of(given)
    for file in dict.fromkeys(map(whole_run, given.predictions)):
        if file.name.endswith(JUDGEMENTS):
            continue  # beside the predictions they are about
        out, name = given.out or file.parent, f"{file.stem}.results"
        if out / f"{name}.json" in written:
            raise ValueError(f"{file}: another file of this name was given, and --out {out} holds one; score it apart")
        if holds_items(file):
            print(write_item_scores(file, out, name, given.profile, judge, find_prompt(given.judge_prompt)))
        elif given.profile or judge:
            which = f"--profile {given.profile}" if given.profile else f"--judge {given.judge}"
            raise ValueError(f"{file}: {which}: holds no benchmark's items; leave it out")
        elif predictions := read_predictions(file):
            write_report(file, out, name)
            rows += named(rows_of(predictions), file.stem, rows)
        else:
            raise ValueError(f"{file}: holds no predictions; run predict (or test) first, or name another file")
        written.append(out / f"{name}.json")
    print(*([method_table(rows)] if rows else []), *(f"written: {path}" for path in written), sep="\n")


def judge_of(given: argparse.Namespace) -> Judge | None:
    """The judge that the command names; None: none is asked."""
    if given.judge is None:
        if given.judge_url is not None:
            raise ValueError(f"--judge_url {given.judge_url}: which model there? Add --judge NAME")
        return None
    if given.judge_url is None:
        return LocalJudge(given.judge)
    return EndpointJudge(given.judge_url, given.judge, given.judge_key_env)


def named(rows: Sequence[Row], file: str, others: Sequence[Row]) -> list[Row]:
    """Rows of a file, with its name where they have no method's, or where other files have rows of the same method."""
    taken = {row["method"] for row in others}
    return [
        row | {"method": f"{row['method']}, {file}".removeprefix(", ")}
        if not row["method"] or row["method"] in taken
        else row
        for row in rows
    ]


def whole_run(file: Path) -> Path:
    """The predictions file of all ranks that one rank's file is a part of."""
    return file.with_name(re.sub(r"\.rank\d+\.jsonl$", ".jsonl", file.name))
