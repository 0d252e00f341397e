"""Which answers a rule counts, and their texts as every scorer of a benchmark reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from speech_xl.evaluation.prediction import Prediction
from speech_xl.extensions.timestamps.marks import without_time_marks

# What a rule does with a failed answer: it leaves it out of the score, or it takes it for an empty one.
Failed = Literal["left out", "empty"]


class Counted(NamedTuple):
    """Answers behind a score, and how many are left out of it."""

    answers: list[Prediction]
    left_out: int


def counted(predictions: Sequence[Prediction], failed: Failed) -> Counted:
    """Each answer once: of several with one id the first that did not fail. Failed ones as `failed` says."""
    once: dict[str, Prediction] = {}
    for prediction in predictions:
        if prediction.id not in once or (once[prediction.id].failed is not None and prediction.failed is None):
            once[prediction.id] = prediction
    answers = [one for one in once.values() if failed == "empty" or one.failed is None]
    return Counted(answers, len(predictions) - len(answers))


def failed_note(failed: Failed) -> str:
    """The rule in words, for `Score.note`."""
    return "failed answers are left out" if failed == "left out" else "failed answers count as empty ones"


def hypothesis_of(prediction: Prediction) -> str:
    """The answer without time marks."""
    return _words(prediction.hypothesis, prediction)


def reference_of(prediction: Prediction) -> str:
    """The truth without time marks."""
    return _words(prediction.reference, prediction)


def language_of(prediction: Prediction) -> str | None:
    """The language as its publishers write it, such as "zh-CN"; None where nothing says it."""
    return prediction.language or (prediction.item or {}).get("language") or None


def _words(text: str, prediction: Prediction) -> str:
    return without_time_marks(text) if prediction.timestamps is not None else text
