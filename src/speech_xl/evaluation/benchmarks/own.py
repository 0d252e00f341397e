"""A benchmark of the user's own data (`speech_xl.data.item_folder.ItemFolder`) and its profile `plain`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from speech_xl.data.item_folder import ANSWER, CHOICE, TRANSCRIPT
from speech_xl.data.item_folder import BENCHMARK as NAME
from speech_xl.evaluation import normaliser
from speech_xl.evaluation.benchmarks.answers import (
    counted,
    failed_note,
    hypothesis_of,
)
from speech_xl.evaluation.benchmarks.error_rates import error_rate_score
from speech_xl.evaluation.benchmarks.free_answers import exact_and_f1
from speech_xl.evaluation.benchmarks.profile import (
    Benchmark,
    Judgements,
    Profile,
    Score,
    Scorer,
    TaskScorer,
    ratio_score,
)
from speech_xl.evaluation.prediction import Prediction

ACCURACY, WER = "accuracy, %", "WER, %"
NORMALISER = f"normaliser: this suite's, version {normaliser.NORMALISER_VERSION}"
EMPTY = failed_note("empty")
_AROUND = " \t\n\"'*_`([{<>}])."  # around a letter that stands alone, such as **(B)**
# The words before a label in any case, the label as it is written: "the answer is a storm" names no A.
_NAMED = r"\b(?i:answer|choice|option)(?:\s+(?i:is))?\s*[:=]?\s*[\"'*(\[]*"
_ENDED = r"(?![\w'-])"


def choice_of(reply: str, choices: Mapping[str, str]) -> str | None:
    """The label that a reply chooses; None where it names none, or several.

    The first of these rules that finds any label decides. Texts are compared as `normaliser.units`.

    1. The reply is a choice's text, or a label with nothing but brackets, quotes, stars or a point around it: "(b)".
    2. It begins with a label and one of ``. ) :``, or a label in brackets: "B. A storm".
    3. A label, as it is written, follows "answer", "choice" or "option": "The answer is B".
    4. Exactly one choice's text is in it, whole words. A text that another found one contains doesn't count.
    """
    words = {label: normaliser.units(text) for label, text in choices.items()}
    said = normaliser.units(reply)
    for found in (
        [label for label, text in words.items() if text == said],
        [label for label in choices if reply.strip(_AROUND).casefold() == label.casefold()],
        [label for label in choices if re.match(rf"\W*{re.escape(label)}\s*[.):\]]", reply, re.IGNORECASE)],
        [label for label in choices if re.search(_NAMED + re.escape(label) + _ENDED, reply)],
        _contained(words, said),
    ):
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _contained(words: Mapping[str, list[str]], said: list[str]) -> list[str]:
    found = [label for label, text in words.items() if text and _within(text, said)]
    return [
        label
        for label in found
        if not any(
            other != label and words[label] != words[other] and _within(words[label], words[other]) for other in found
        )
    ]


def _within(part: list[str], whole: list[str]) -> bool:
    return any(whole[place : place + len(part)] == part for place in range(len(whole) - len(part) + 1))


def choice_scores(answers: Sequence[Prediction], left_out: int) -> list[Score]:
    """Share of items whose chosen label is the true one."""
    items = [one.item or {} for one in answers]
    found = [choice_of(hypothesis_of(one), item.get("choices") or {}) for one, item in zip(answers, items, strict=True)]
    right = [float(label == one.reference) for label, one in zip(found, answers, strict=True)]
    note = (
        "a reply is read as a label alone or at its beginning, as a label after answer, choice or option, or as "
        f"exactly one choice's text; what can't be read is wrong and counted as unparsed; {EMPTY}"
    )
    about = {"left_out": left_out, "unparsed": found.count(None), "note": note}
    return [ratio_score(ACCURACY, answers, right, [1.0] * len(right), main=True, **about)]


def answer_scores(answers: Sequence[Prediction], left_out: int) -> list[Score]:
    """Exact match after normalisation, and token F1: means over items."""
    return exact_and_f1(answers, main=True, left_out=left_out, note=f"{NORMALISER}; mean over items; {EMPTY}")


def transcript_scores(answers: Sequence[Prediction], left_out: int) -> list[Score]:
    """Corpus WER."""
    note = f"{NORMALISER}; a letter of a script without spaces is a word; corpus average; {EMPTY}"
    about = {"main": True, "left_out": left_out, "note": note}
    return [error_rate_score(WER, answers, lambda text, code: normaliser.units(text, code, False), **about)]


def by_task(figures: Callable[[Sequence[Prediction], int], list[Score]]) -> Scorer:
    """The figures of all answers, and after them of each task that the user named, where not all are of one."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        answers, left_out = counted(predictions, "empty")
        groups: dict[str, list[Prediction]] = {}
        for one in answers:
            groups.setdefault(str(((one.item or {}).get("about") or {}).get("task") or ""), []).append(one)
        found = figures(answers, left_out)
        for task in sorted(groups.keys() - {""}) if len(groups) > 1 else []:
            found += [replace(one, metric=f"{one.metric}, of {task}", main=False) for one in figures(groups[task], 0)]
        return found

    return score


def labels_of(predictions: Sequence[Prediction]) -> list[str]:
    """Every label that some item has."""
    return sorted({label for one in predictions for label in (one.item or {}).get("choices") or {}})


BENCHMARK = Benchmark(
    name=NAME,
    title="Own items",
    paper="Data of the user's own",
    tasks=(CHOICE, ANSWER, TRANSCRIPT),
    profiles=(
        Profile(
            "plain",
            "This suite's rules for items of the user's own: accuracy over choices, exact match and token F1 of free "
            "answers, WER of transcripts",
            {
                CHOICE: TaskScorer(by_task(choice_scores), labels_of),
                ANSWER: TaskScorer(by_task(answer_scores)),
                TRANSCRIPT: TaskScorer(by_task(transcript_scores)),
            },
        ),
    ),
)
