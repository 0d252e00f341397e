#!/usr/bin/env python3
"""Ways to keep less of long speech, side by side: error rates and answers at equal kept KV, after the paper's figure 5.

    python experiments/benchmarks/compression.py digits --base RUN/stage2 --sst RUN/stage3
    python experiments/benchmarks/compression.py digits --base RUN/stage2 --sst RUN/stage3 --pooled POOLED/stage3 \
        --appended APPENDED/stage3 --ratios 2 4 8 16 --methods SSTs "mean pooling" SnapKV

Folders are of finished stages. What isn't trained to compress runs on `--base`; SSTs interleaved, SSTs appended and
trained mean pooling on their own. Sessions come from the dev split of the corpus that the SSTs were trained on. Answers
are kept in `--work` as they come, so a run broken off goes on; eviction needs ``pip install -e ".[baselines]"``.

Writes results/compression_NAME.json and .csv and pictures/compression_NAME.png to docs or to `--out`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks.asking import Method, Sessions, answered, whisper_reference
from experiments.benchmarks.record import commit_of_tree, out_option, record, results_and_pictures
from speech_xl.evaluation.compressors import (
    PRESSES,
    Compressor,
    Eviction,
    MeanPooled,
    RandomFrames,
    SimilarFrames,
    Summarization,
    Truncation,
    Uncompressed,
    UniformStride,
)
from speech_xl.evaluation.pictures import picture
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.prediction_file import read_predictions
from speech_xl.evaluation.rows import (
    FULL_KV,
    WHISPER,
    accuracy_delta,
    rounded,
    row_of,
    summary_of,
    wer_delta,
)
from speech_xl.evaluation.tables import write_csv
from speech_xl.run.arguments import device_option, whole_number
from speech_xl.run.command import ConfigError
from speech_xl.run.trained_stage import TrainedStage
from speech_xl.run.user_errors import exit_on_user_error


def methods(folders: dict[str, Path | None], names: Sequence[str] | None = None) -> list[Method]:
    """All that can run on the folders given, or those of these names; evictions alone need kvpress.

    Raises ConfigError where a name is none, or its folder isn't given.
    """
    base: list[Compressor] = [Uncompressed(), Truncation(), UniformStride(), RandomFrames(), MeanPooled()]
    evictions = [(press, False) for press in PRESSES] + [("SnapKV", True)]
    wanted = [one for one in evictions if not names or Eviction.name_of(*one) in names]
    base += [SimilarFrames(), *(Eviction(*one) for one in wanted)]
    found = [Method(one, "base") for one in base]
    found.append(Method(MeanPooled(trained=True), "pooled"))
    found.append(Method(Summarization("SSTs appended"), "appended"))
    found.append(Method(Summarization(), "sst"))
    needed = {method.name: method.weights for method in found}
    for name in names or ():
        if name not in needed:
            known = ", ".join(dict.fromkeys([*needed, *(Eviction.name_of(*one) for one in evictions)]))
            raise ConfigError(f"--methods: there is no {name!r}; there are {known}")
        if folders[needed[name]] is None:
            raise ConfigError(f"--methods: {name!r} needs a stage of its own, --{needed[name]} RUN/stage3")
    return [m for m in found if folders[m.weights] is not None and (not names or m.name in names)]


def file_name(method: str, ratio: int) -> str:
    return f"{''.join(c if c.isalnum() else '_' for c in method)}_{ratio}x.jsonl"


def command_of(given: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """The command that was given, for the record; folders by their options' names: where they lie says nothing."""
    words = ["python experiments/benchmarks/compression.py", given.name]
    for name, value in vars(given).items():
        if name in ("name", "work") or value == parser.get_default(name):
            continue
        values = value if isinstance(value, list) else [name.upper() if isinstance(value, Path) else value]
        words += [f"--{name}", *(f'"{one}"' if " " in str(one) else str(one) for one in values)]
    return " ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the table, such as digits: docs/results/compression_NAME.json")
    parser.add_argument("--base", type=Path, required=True, help="stage without compression, for what isn't trained")
    parser.add_argument("--sst", type=Path, required=True, help="stage with SSTs interleaved")
    parser.add_argument("--appended", type=Path, help="stage with SSTs appended")
    parser.add_argument("--pooled", type=Path, help="stage of MeanPooling")
    parser.add_argument("--whisper", metavar="NAME", help="Whisper whose own decoder transcribes for comparison")
    parser.add_argument(
        "--ratios", type=whole_number(), nargs="+", default=[2, 4, 8, 16], help="1 is for SSTs alone (%(default)s)"
    )
    parser.add_argument("--methods", nargs="+", help="only these, by their names in the table")
    parser.add_argument("--tasks", nargs="+", default=["asr", "qa"], help="what is asked (%(default)s)")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="data settings other than the SSTs' training had, such as corpus.init_args.max_seconds=300",
    )
    device_option(parser)
    parser.add_argument(
        "--together",
        type=whole_number(),
        default=1,
        help="sessions asked at once, on a GPU; then without seconds and peaks (%(default)s)",
    )
    parser.add_argument("--sessions", type=whole_number(), help="only so many, spread over the split")
    parser.add_argument("--work", type=Path, default=Path("runs/compression"), help="of answers (%(default)s)")
    out_option(parser)
    given = parser.parse_args()
    if given.whisper and Path(given.whisper).is_dir():
        given.whisper = Path(given.whisper)
    folders = {"base": given.base, "sst": given.sst, "appended": given.appended, "pooled": given.pooled}
    commit, ours = commit_of_tree(), TrainedStage.of(given.sst)
    chosen = methods(folders, given.methods)  # before the corpus: what isn't installed is told at once
    sessions = Sessions(ours, given.sessions, given.tasks, given.data)
    decoding = ours.decoding
    rows: list[dict[str, Any]] = []
    found: dict[tuple[str, int], list[Prediction]] = {}
    for weights in dict.fromkeys(method.weights for method in chosen):
        folder = folders[weights]
        assert folder is not None
        stage = TrainedStage.of(folder)
        model = stage.model(given.device)
        trained = sum(p.numel() for n, p in model.named_parameters() if n.startswith("sst."))
        for method in (m for m in chosen if m.weights == weights):
            one = isinstance(method.compressor, Uncompressed)
            own = weights == "sst"  # at 1x: how SSTs' weights do where nothing is compressed
            for ratio in [1] if one else [ratio for ratio in given.ratios if ratio > 1 or own]:
                path = given.work / given.name / weights / file_name(method.name, ratio)
                records = answered(method, model, ratio, sessions, decoding, path, stage.weights, given.together)
                about = {
                    "weights": weights,
                    "trained_parameters": trained if method.compressor.trained else 0,
                    "needs_question": method.compressor.needs_question,
                    "streams": method.compressor.streams,
                    "device": ", ".join(sorted({record.device or "cpu" for record in records})),
                }
                rows.append(row_of(method.name, ratio, records, about))
                found[method.name, ratio] = records
    for row in rows:  # paired, so that sessions which are hard for all don't blur it
        mine, others = found[row["method"], row["ratio"]], found.get(("SSTs", row["ratio"]))
        if others and row["method"] != "SSTs":
            row |= wer_delta(mine, others) | accuracy_delta(mine, others, "more_right")
        if whole := found.get((FULL_KV, 1)):
            row |= accuracy_delta(mine, whole, "more_right_than_full_kv")
    if given.whisper:
        path = given.work / given.name / "whisper.jsonl"
        whisper_reference(given.whisper, sessions, path)
        rows.append(row_of(WHISPER, 1, read_predictions(path), {"weights": Path(given.whisper).name}))
    rows = [rounded(row) for row in rows]
    name = f"compression_{given.name}"
    results, pictures = results_and_pictures(given.out)
    write_csv(rows, results / f"{name}.csv")
    picture(rows, pictures / f"{name}.png")
    data = f"{len(sessions.cuts)} dev sessions of {sessions.data.corpus.name}"
    summary = summary_of(rows)
    command, asked = command_of(given, parser), len(sessions.cuts)
    written = record(name, summary, command, data, asked, commit=commit, folder=results, rows=rows)
    print(json.dumps(summary, indent=2), f"written: {written}", sep="\n")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
