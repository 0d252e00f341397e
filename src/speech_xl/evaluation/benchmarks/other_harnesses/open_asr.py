"""Manifests of the Open ASR leaderboard (github.com/huggingface/open_asr_leaderboard).

`write_manifest` of its normalizer/eval_utils.py names files ``MODEL_<model>_DATASET_<path>_<name>_<split>.jsonl`` and
writes `audio_filepath`, `duration`, `time`, `text` and `pred_text`. Put them into its folder ``results``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speech_xl.evaluation.benchmarks.answers import hypothesis_of, reference_of
from speech_xl.evaluation.benchmarks.other_harnesses.rows import (
    Export,
    Origin,
    grouped,
    is_transcript,
    item_of,
    number_of,
    prediction_of,
    read_rows,
    suffix_of,
    text_of,
)
from speech_xl.evaluation.benchmarks.registry import MODULES
from speech_xl.evaluation.benchmarks.transcription import on_leaderboard
from speech_xl.evaluation.prediction import Prediction

RATIO = re.compile(r"-(\d+)x$")


def to_open_asr(predictions: Sequence[Prediction], model: str) -> Export:
    """Manifests of transcripts. `text` and `pred_text` are as they came: the leaderboard normalises when it scores.

    Left out: answers to questions, and what the leaderboard doesn't count (`transcription.on_leaderboard`).
    """
    made = Export({})
    transcripts = [one for one in predictions if is_transcript(one)]
    made.left_out["no transcript"] += len(predictions) - len(transcripts)
    for (benchmark, task, split, compressor, ratio), group in grouped(transcripts).items():
        kept, left_out = on_leaderboard(group)
        made.left_out["failed, no English, or no words in the reference"] += left_out
        named = f"{model}{suffix_of(compressor, ratio)}".replace("/", "-")
        rows = [
            {
                "audio_filepath": one.cut_id,
                "duration": one.duration,
                "time": _seconds(one),
                "text": reference_of(one),
                "pred_text": hypothesis_of(one),
            }
            for one in kept
        ]
        if rows:
            made.files[f"MODEL_{named}_DATASET_{benchmark}_{task}_{split}.jsonl".replace("/", "-")] = rows
    return made


def from_open_asr(path: str | Path, origin: Origin | None = None) -> list[Prediction]:
    """The transcripts of a manifest. origin: None: as its file name has it, where `to_open_asr` wrote it.

    Raises ValueError that names file and line for a row that is none, and for a name that says no benchmark known here.
    """
    origin = origin or origin_of(path)
    found = []
    for place, row in read_rows(path):
        reference, hypothesis = text_of(place, row, "text"), text_of(place, row, "pred_text")
        session = text_of(place, row, "audio_filepath")
        item = item_of(origin, session, reference, None)
        times = {"duration": number_of(place, row, "duration"), "decode_seconds": number_of(place, row, "time")}
        found.append(replace(prediction_of(origin, session, item, reference, hypothesis), **times))
    return found


def origin_of(path: str | Path) -> Origin:
    """What a manifest's name says: ``MODEL_<model>-<ratio>x_DATASET_<benchmark>_<task>_<split>.jsonl``."""
    match = re.fullmatch(r"MODEL_(.+)_DATASET_(.+)_([^_]+)\.jsonl", Path(path).name)
    known = [name for name in MODULES if match and match[2].startswith(f"{name}_")]
    if match is None or not known:
        raise ValueError(
            f"{path}: its name says no benchmark that is known here (MODEL_..._DATASET_<benchmark>_<task>_"
            "<split>.jsonl); name benchmark, task and split"
        )
    benchmark = max(known, key=len)
    ratio = RATIO.search(match[1])
    return Origin(
        benchmark=benchmark,
        task=match[2][len(benchmark) + 1 :],
        split=match[3],
        compressor=RATIO.sub("", match[1]),
        ratio=int(ratio[1]) if ratio else 1,
    )


def _seconds(one: Prediction) -> float | None:
    """Prefill and generation; None where either wasn't measured."""
    if one.prefill_seconds is None or one.decode_seconds is None:
        return None
    return one.prefill_seconds + one.decode_seconds
