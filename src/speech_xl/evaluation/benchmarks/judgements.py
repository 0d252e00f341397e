"""Judgements files: one JSON line per answer that a judge was asked about, resumable, beside the predictions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from speech_xl.evaluation.benchmarks.answers import counted, hypothesis_of, reference_of
from speech_xl.evaluation.benchmarks.judge_prompts import LABELS, THREE_LABELS, JudgePrompt
from speech_xl.evaluation.benchmarks.judges import Judge, JudgeError
from speech_xl.evaluation.benchmarks.profile import Judgement, Judgements
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.prediction_file import digest_of, repair
from speech_xl.storage.json_lines import json_lines

FAILURES_IN_A_ROW = 5  # after so many the judge is taken for out of order


def judge(
    predictions: Sequence[Prediction], judge: Judge, path: str | Path, prompt: JudgePrompt = THREE_LABELS
) -> Judgements:
    """Ask a judge about every answer that it hasn't judged with this prompt, and append what it says to `path`.

    An answer that changed since is judged anew. Failed predictions are not sent. A judge's failure is written with its
    reason, is no judgement, and is tried again by the next call.

    Returns the judgements of these answers by this judge and prompt. Raises ValueError where the judge can't be used at
    all, or fails five times in a row; what it has judged is kept.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    repair(path)
    found = dict(read_judgements(path, predictions, judge.name, prompt.name)) if path.is_file() else {}
    wanted = [one for one in counted(predictions, "left out").answers if one.id not in found]
    failures = 0
    with path.open("a", encoding="utf-8") as file:
        for prediction in tqdm(wanted, desc=f"judge {judge.name}", unit="answer", disable=not wanted):
            line: dict[str, Any] = _key(prediction, judge.name, prompt.name)
            try:
                reply = judge.reply(prompt.messages(*_asked(prediction)), prompt.max_tokens)
            except JudgeError as error:
                line["failed"], failures = str(error), failures + 1
            else:
                line |= {"label": prompt.label(reply), "reply": reply}
                found[prediction.id], failures = _judgement(line), 0
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            if failures == FAILURES_IN_A_ROW:
                raise ValueError(
                    f"judge {judge.name}: failed {failures} times in a row, at last with: {line['failed']}; mend that "
                    f"and judge again, what {path} holds is kept"
                )
    return found


def read_judgements(
    path: str | Path, predictions: Sequence[Prediction], judge: str | None = None, prompt: str | None = None
) -> Judgements:
    """The judgements in a file that are about these answers as they are now.

    judge, prompt: names of which; None: the file's only ones. Raises FileNotFoundError without a file, ValueError for a
    line that is none of a judgements file, or where several judges or prompts are in it and none is named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no judgements here; let a judge write them first, or correct the path")
    now = {one.id: digest_of(_asked(one)) for one in predictions}
    lines = [
        line
        for line in _lines(path)
        if judge in (None, line["judge"]) and prompt in (None, line["prompt"]) and now.get(line["id"]) == line["asked"]
    ]
    makers = sorted({(line["judge"], line["prompt"]) for line in lines if line.get("failed") is None})
    if len(makers) > 1:
        known = ", ".join(f"{name} with {version}" for name, version in makers)
        raise ValueError(f"{path}: holds judgements of several makers ({known}); name the judge and the prompt")
    return {line["id"]: _judgement(line) for line in lines if line.get("failed") is None}


def _asked(prediction: Prediction) -> tuple[str, str, str]:
    """Question, reference and candidate."""
    return prediction.instruction, reference_of(prediction), hypothesis_of(prediction)


def _key(prediction: Prediction, judge: str, prompt: str) -> dict[str, Any]:
    return {"id": prediction.id, "asked": digest_of(_asked(prediction)), "judge": judge, "prompt": prompt}


def _judgement(line: dict[str, Any]) -> Judgement:
    return Judgement(line["label"], line["judge"], line["prompt"], line["reply"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every line, checked; a last one without its line end is still being written."""
    for number, raw, line, cut_off in json_lines(path):
        if cut_off:
            return
        if not _fits(line):
            raise ValueError(
                f"{path}, line {number}: not a judgement (a JSON object with id, asked, judge, prompt, and label and "
                f"reply or failed; label is {', '.join(LABELS)} or null): {raw[:80]!r}; take the line out, and judge "
                "again"
            )
        yield line


def _fits(line: Any) -> bool:
    if not isinstance(line, dict) or not all(
        isinstance(line.get(key), str) for key in ("id", "asked", "judge", "prompt")
    ):
        return False
    if line.get("failed") is not None:
        return isinstance(line["failed"], str)
    return "label" in line and line["label"] in (*LABELS, None) and isinstance(line.get("reply"), str)
