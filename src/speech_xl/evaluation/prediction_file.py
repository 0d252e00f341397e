"""Predictions files: one JSON line per generated answer, resumable after a kill, never of two settings."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lhotse.cut import Cut
from lhotse.serialization import SequentialJsonlWriter
from lightning.pytorch.utilities import rank_zero_warn

from speech_xl.data.tasks import Turn
from speech_xl.evaluation.metrics import cer_counts, cut_hypothesis, is_correct, unit_of, wer_counts
from speech_xl.evaluation.normaliser import normalize
from speech_xl.evaluation.prediction import Prediction
from speech_xl.storage.files import write_text
from speech_xl.storage.json_lines import json_lines


def digest_of(value: Any) -> str:
    """Eight hex digits that change with plain data: what was asked, say, and what the truth was."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def prediction_path(folder: Path, name: str, tag: str, settings: Mapping[str, Any]) -> Path:
    """``folder/NAME-TAG-DIGEST.jsonl``: answers of other weights (tag) or other settings are in another file."""
    return folder / f"{re.sub(r'[^A-Za-z0-9]+', '_', name)}-{tag}-{digest_of(settings)}.jsonl"


def asked_of(cuts: Iterable[Cut], turns: Callable[[Cut], Iterable[Turn]]) -> str:
    """A digest of every question of these cuts, and its truth."""

    def about(turn: Turn) -> tuple[str, ...]:
        return turn.task, turn.instruction, turn.answer, *(window.instruction for window in turn.windows)

    return digest_of([[cut.id, cut.duration, [about(turn) for turn in turns(cut)]] for cut in cuts])


class PredictionWriter:
    """Appends answers to a JSONL file and knows which are written already, so that a killed predict can go on.

    A line holds the fields of a `Prediction`, its `id`, the normalised texts and the counts they give. A last line that
    a killed run left half written is taken out.

    Args:
        path: The file, ending in .jsonl. With several ranks each writes its own: `name.rank1.jsonl`.
        settings: Plain values that must stay the same for the file to make sense (checkpoint, split, ...); kept in
            `name.settings.json`, and going on with other ones is an error.
        rank, world_size: Of this process.
    """

    def __init__(
        self, path: str | Path, settings: Mapping[str, Any] | None = None, rank: int = 0, world_size: int = 1
    ) -> None:
        base = Path(path)
        if base.suffix != ".jsonl":
            raise ValueError(f"predictions path: got {base}; give a file name ending in .jsonl")
        base.parent.mkdir(parents=True, exist_ok=True)
        self.path = base if world_size == 1 else base.with_name(f"{base.stem}.rank{rank}.jsonl")
        if settings is not None:
            _check_settings(base, dict(settings), write=rank == 0)
        repair(self.path)
        # What other ranks, or an earlier run on another number of ranks, wrote is done too.
        files = prediction_files(base)
        lines = (line for file in files for _, line in _lines(file, being_written=file != self.path))
        self._done = {line["id"] for line in lines if line.get("failed") is None}
        self._writer = SequentialJsonlWriter(self.path, overwrite=False)

    def done(self, id: str) -> bool:
        """Whether the answer of that `answer_id` is written."""
        return id in self._done

    def write(self, prediction: Prediction) -> bool:
        """Append a prediction and flush it; False where it is written already."""
        if prediction.id in self._done:
            return False
        self._writer.write(prediction.to_json() | _counts(prediction), flush=True)
        if prediction.failed is None:
            self._done.add(prediction.id)
        return True

    def close(self) -> None:
        self._writer.close()

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def prediction_files(path: str | Path) -> list[Path]:
    """The files of a prediction run that exist: `path` itself and its ranks' siblings."""
    path = Path(path)
    files = [path, *sorted(path.parent.glob(f"{path.stem}.rank*.jsonl"))]
    return [file for file in files if file.is_file()]


def read_predictions(path: str | Path) -> list[Prediction]:
    """All answers of a prediction run, each once, over all its ranks' files; a failure where there is no answer."""
    files = prediction_files(path)
    if not files:
        raise FileNotFoundError(f"{path}: no predictions here; run predict (or test) first, or correct the path")
    found: dict[str, Prediction] = {}
    for file in files:
        for number, line in _lines(file):
            if line["id"] not in found or found[line["id"]].failed is not None:
                found[line["id"]] = Prediction.from_json(line, f"{file}, line {number}")
    return list(found.values())


def repair(path: Path) -> None:
    """Take a half-written last line out of `path`, with a warning; a whole one that only lacks its line end gets it.

    Only a line without its line end can be half written. Any other damage is left as it is, for `_lines` to name.
    """
    data = path.read_bytes() if path.is_file() else b""
    if not data or data.endswith(b"\n"):
        return
    start = data.rfind(b"\n") + 1
    try:
        json.loads(data[start:])
    except ValueError:  # also where a character was cut in two
        rank_zero_warn(f"{path}: its last line was half written (a killed run); taken out, and predicted again.")
        os.truncate(path, start)
    else:
        with path.open("ab") as file:
            file.write(b"\n")


def _counts(prediction: Prediction) -> dict[str, Any]:
    """What a reader of the lines may want to sort them by; `DERIVED` names the keys."""
    reference, hypothesis, reading = prediction.reference, prediction.hypothesis, prediction.reading
    counts: dict[str, Any] = {
        "reference_normalised": normalize(reference, **reading),
        "hypothesis_normalised": normalize(hypothesis, **reading),
    }
    if prediction.task == "asr":
        counts["unit"] = unit_of(prediction)
        counts["errors"], counts["words"] = wer_counts(reference, hypothesis, **reading)
        counts["errors_cut"], _ = wer_counts(reference, cut_hypothesis(reference, hypothesis, **reading), **reading)
        counts["character_errors"], counts["characters"] = cer_counts(reference, hypothesis, **reading)
    elif prediction.task == "qa":
        counts["correct"] = is_correct(reference, hypothesis, **reading)
    return counts


def _lines(path: Path, being_written: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of every line."""
    for number, line, record, cut_off in json_lines(path):
        if being_written and cut_off:
            return  # another rank is in the middle of its last line
        if not isinstance(record, dict) or "id" not in record:
            raise ValueError(
                f"{path}, line {number}: not a prediction (a JSON object with an id): {line[:80]!r}; take the line "
                "out, or the whole file away, and predict anew"
            )
        yield number, record


def read_settings(path: str | Path) -> dict[str, Any] | None:
    """What the answers at `path` were made with, their lineage among it; None where nothing says so."""
    file = _settings_file(Path(path))
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _settings_file(base: Path) -> Path:
    return base.with_name(f"{base.stem}.settings.json")


def _check_settings(base: Path, settings: dict[str, Any], write: bool) -> None:
    file = _settings_file(base)
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    if file.is_file() and prediction_files(base):
        before, now = json.loads(file.read_text(encoding="utf-8")), json.loads(text)
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                raise ValueError(
                    f"{base}: its answers were made with {key} = {before.get(key)!r}, and this run has "
                    f"{now.get(key)!r}; write to another file, or take {base.name} and {file.name} away to predict anew"
                )
    elif write:
        write_text(file, text + "\n")
