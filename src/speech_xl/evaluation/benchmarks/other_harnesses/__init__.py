"""Predictions as the result files of other evaluation harnesses, and back, so that a score can be checked elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from speech_xl.evaluation.benchmarks.other_harnesses.lmms_eval import from_lmms_eval, to_lmms_eval
from speech_xl.evaluation.benchmarks.other_harnesses.open_asr import from_open_asr, origin_of, to_open_asr
from speech_xl.evaluation.benchmarks.other_harnesses.rows import Export, Origin
from speech_xl.evaluation.prediction import Prediction
from speech_xl.storage.files import write_text

__all__ = ["HARNESSES", "Export", "Origin", "export", "from_lmms_eval", "from_open_asr", "origin_of", "write_export"]
HARNESSES = ("lmms-eval", "open-asr")


def export(predictions: Sequence[Prediction], harness: str, model: str, date: str = "19700101_000000") -> Export:
    """The files of a harness, one a benchmark, task, split, compressor and ratio.

    model: as the harness names it, such as "my-group/speech-xl"; compressor and ratio are added to it. date: of the
    evaluation, ``YYYYMMDD_HHMMSS``, in names of lmms-eval. Raises ValueError for a harness that isn't known.
    """
    if harness not in HARNESSES:
        raise ValueError(f"--to {harness}: there is no such harness here; use {' or '.join(HARNESSES)}")
    return to_open_asr(predictions, model) if harness == "open-asr" else to_lmms_eval(predictions, model, date)


def write_export(made: Export, folder: str | Path) -> list[Path]:
    """Write the files below a folder, a JSON object a line; returns their paths."""
    paths = []
    for name, rows in made.files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        paths.append(path)
    return paths
