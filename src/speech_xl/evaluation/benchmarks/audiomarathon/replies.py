"""What a scorer reads of a prediction: its reply without time marks, its item's choices, its truth as a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from speech_xl.evaluation.normaliser import units
from speech_xl.evaluation.prediction import Prediction
from speech_xl.extensions.timestamps.marks import without_time_marks

Choices = Mapping[str, str]  # label -> text, in the order in which the prompt lists them
ChoicesOf = Callable[[Prediction], Choices]


def reply_of(prediction: Prediction) -> str:
    """The hypothesis; without its time marks where the corpus has them."""
    return _words_alone(prediction, prediction.hypothesis)


def reference_of(prediction: Prediction) -> str:
    """The reference; without its time marks where the corpus has them."""
    return _words_alone(prediction, prediction.reference)


def item_choices(prediction: Prediction) -> Choices:
    """The choices of the item. Raises ValueError, which names the item, where it has none."""
    choices = (prediction.item or {}).get("choices") or {}
    if not choices:
        raise ValueError(
            f"item {(prediction.item or {}).get('id', prediction.id)}: has no choices, and its task is multiple "
            "choice; prepare the benchmark with its recipe, and predict again"
        )
    return choices


def fixed_choices(choices: Choices) -> ChoicesOf:
    """The same choices for every prediction: of a task whose prompt is fixed, whatever its rows say."""
    return lambda _prediction: choices


def label_of(truth: str, choices: Choices) -> str | None:
    """The label of the choice that a truth names, by its label or by its text; None where it names none of them."""
    wanted = truth.strip().casefold()
    for label in choices:
        if label.strip().casefold() == wanted:
            return label
    named = [
        label for label, text in choices.items() if units(text, timestamps=False) == units(truth, timestamps=False)
    ]
    return named[0] if len(named) == 1 else None


def _words_alone(prediction: Prediction, text: str) -> str:
    return text if prediction.timestamps is None else without_time_marks(text)
