"""Scorers of tasks with a closed set of answers: as AudioMarathon's scripts score them, and strictly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from speech_xl.evaluation.benchmarks.audiomarathon.f1 import Average, f1_score
from speech_xl.evaluation.benchmarks.audiomarathon.official_parsers import Parser
from speech_xl.evaluation.benchmarks.audiomarathon.replies import (
    Choices,
    ChoicesOf,
    item_choices,
    label_of,
    reference_of,
    reply_of,
)
from speech_xl.evaluation.benchmarks.audiomarathon.strict_parser import parse_choice
from speech_xl.evaluation.benchmarks.profile import (
    Judgements,
    Score,
    TaskScorer,
    distinct_answers,
    ratio_score,
)
from speech_xl.evaluation.prediction import Prediction

UNPARSED = ""  # class of a reply that names no choice, or several
Classes = Sequence[str] | Literal["true"]  # "true": the classes that are among the references


def official_closed(
    parse: Parser,
    classes: Classes,
    average: Average = "macro",
    fixed: bool = False,
    drops_failures: bool = False,
    lower: bool = False,
    note: str = "",
) -> TaskScorer:
    """A closed task as the Qwen2.5-Omni scripts score it: answers that the parser finds no class in leave the F1 figure
    with their references, and count as wrong in the accuracy.

    classes         that answers are kept of
    fixed           average over all of `classes`, also those that no kept answer has to do with
    drops_failures  failed answers leave the accuracy too
    lower           references are lower-cased
    note            the script and what is peculiar about it
    """

    def score(predictions: Sequence[Prediction], _judgements: Judgements) -> list[Score]:
        truths = [_official_truth(one, lower) for one in predictions]
        known = sorted(set(truths)) if classes == "true" else list(classes)
        found = [UNPARSED if one.failed is not None else parse(reply_of(one), _texts(one)) for one in predictions]
        kept = [place for place, pair in enumerate(zip(truths, found, strict=True)) if set(pair) <= set(known)]
        failures = sum(one.failed is not None for one in predictions)
        nothing = sum(guess == UNPARSED or (classes != "true" and guess not in known) for guess in found)
        unparsed = nothing - failures
        over = f"over {'all of' if fixed else 'those present of'} {_listed(known)}"
        figure = f1_score(
            f"{average} F1, %",
            [predictions[place] for place in kept],
            [truths[place] for place in kept],
            [found[place] for place in kept],
            average,
            known if fixed else None,
            left_out=len(predictions) - len(kept),
            unparsed=unparsed,
            main=True,
            note=f"{average} {over}; answers outside them are dropped; {note}",
        )
        if predictions and not kept:  # the scripts write 0 where nothing could be parsed
            figure = replace(figure, value=0.0)
        counted = [place for place, one in enumerate(predictions) if not (drops_failures and one.failed is not None)]
        accuracy = ratio_score(
            "accuracy, %",
            [predictions[place] for place in counted],
            [float(truths[place] == found[place]) for place in counted],
            [1.0] * len(counted),
            left_out=len(predictions) - len(counted),
            unparsed=unparsed,
            note="unparsed answers count as wrong" + ("" if drops_failures else ", and so do failed ones"),
        )
        return [figure, accuracy]

    return TaskScorer(score, _official_constants(parse))


def strict_closed(
    classes: Literal["labels", "texts"], choices_of: ChoicesOf = item_choices, note: str = ""
) -> TaskScorer:
    """A closed task with any number of choices: macro F1 over all classes that are offered. A reply that doesn't name
    exactly one choice (`parse_choice`) and a failed answer are of a class of their own, which is always wrong.

    classes     what is a class: a choice's label, such as "A", or its text, such as "Male"
    choices_of  the choices as the prompt lists them
    note        what else must be known

    Raises ValueError, which names the item, where it has no choices, or its truth is none of them.
    """

    def score(predictions: Sequence[Prediction], _judgements: Judgements) -> list[Score]:
        offered = [choices_of(one) for one in predictions]
        truths = [_strict_truth(*pair, classes) for pair in zip(predictions, offered, strict=True)]
        found = [_strict_guess(*pair, classes) for pair in zip(predictions, offered, strict=True)]
        every = sorted({_class(label, some, classes) for some in offered for label in some})
        failures = sum(one.failed is not None for one in predictions)
        unparsed = sum(guess == UNPARSED for guess in found) - failures
        wrong = f"unparsed and failed answers ({failures}) are a wrong class of their own"
        figure = f1_score(
            "macro F1, %",
            predictions,
            truths,
            found,
            "macro",
            every,
            unparsed=unparsed,
            main=True,
            note=f"macro over all of {_listed(every)}; {wrong}{'; ' if note else ''}{note}",
        )
        right = [float(truth == guess) for truth, guess in zip(truths, found, strict=True)]
        ones = [1.0] * len(right)
        accuracy = ratio_score("accuracy, %", predictions, right, ones, unparsed=unparsed, note=wrong)
        return [figure, accuracy]

    def constants(predictions: Sequence[Prediction]) -> list[str]:
        return _constants(predictions, [choices_of(one) for one in predictions])

    return TaskScorer(score, constants)


def _official_truth(prediction: Prediction, lower: bool) -> str:
    truth = reference_of(prediction).strip()
    return truth.lower() if lower else truth


def _official_constants(parse: Parser) -> Callable[[Sequence[Prediction]], list[str]]:
    """References and choices' labels, as far as the parser finds something in them."""

    def constants(predictions: Sequence[Prediction]) -> list[str]:
        every = _constants(predictions, [_choices(one) or {"a": "", "b": ""} for one in predictions])
        return [reply for reply in every if any(parse(reply, _texts(one)) != UNPARSED for one in predictions)]

    return constants


def _constants(predictions: Sequence[Prediction], offered: Sequence[Choices]) -> list[str]:
    """Replies that say one thing always: every reference, and the label of every choice."""
    labels = sorted({label for some in offered for label in some})
    return list(dict.fromkeys([*distinct_answers(predictions), *labels]))


def _choices(prediction: Prediction) -> Choices:
    return (prediction.item or {}).get("choices") or {}


def _texts(prediction: Prediction) -> list[str]:
    """The choices' texts in the order of their labels."""
    return [text for _, text in sorted(_choices(prediction).items())]


def _class(label: str, choices: Choices, classes: str) -> str:
    return label.strip().upper() if classes == "labels" else choices[label].strip()


def _strict_truth(prediction: Prediction, choices: Choices, classes: str) -> str:
    label = label_of(reference_of(prediction), choices)
    if label is None:
        raise ValueError(
            f"item {(prediction.item or {}).get('id', prediction.id)}: its answer {prediction.reference!r} is none of "
            f"its choices {dict(choices)}; correct it where the benchmark was prepared from"
        )
    return _class(label, choices, classes)


def _strict_guess(prediction: Prediction, choices: Choices, classes: str) -> str:
    label = None if prediction.failed is not None else parse_choice(reply_of(prediction), choices)
    return UNPARSED if label is None else _class(label, choices, classes)


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(classes)
