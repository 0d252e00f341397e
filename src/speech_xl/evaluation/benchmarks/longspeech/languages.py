"""LongSpeech language_detection: correct, wrong or unparsed, and both readings of the paper's M.R and D.E."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from speech_xl.evaluation.benchmarks.answers import Failed, failed_note, language_of, reference_of
from speech_xl.evaluation.benchmarks.closed_answers import Reader, parse
from speech_xl.evaluation.benchmarks.language_names import (
    Aliases,
    code_of,
    first_language,
    languages,
    names,
    only_language,
    with_spellings,
)
from speech_xl.evaluation.benchmarks.profile import Judgements, Score, TaskScorer, distinct_answers
from speech_xl.evaluation.prediction import Prediction

D_A = "correct (D.A), %"
WRONG = "wrong language, %"
UNPARSED = "no language found, %"
# The paper's M.R, D.E and D.A sum to 100, and it isn't known which of the two errors is which.
READINGS = {
    "wrong language, if that is M.R, %": WRONG,
    "no language found, if that is D.E, %": UNPARSED,
    "no language found, if that is M.R, %": UNPARSED,
    "wrong language, if that is D.E, %": WRONG,
}
FIRST_LANGUAGE = Reader(
    first_language,
    "language: a tag such as <|it|>, else the whole answer as a name or code, else the longest name anywhere in it",
)
ONLY_LANGUAGE = Reader(
    only_language,
    "language: the only one that is named as a whole word, by a tag, or by an answer that is a code; several are "
    "unparsed",
)


# What the truth is first, the row's answer or its `language`; the other one holds where that is missing or unread.
Truth = Literal["answer", "language"]
RULES = {
    "answer": "truth: the language that the row's answer names, else the row's `language` (profile h1: the other way "
    "round)",
    "language": "truth: the row's `language`, else the language that its answer names (other profiles: the other way "
    "round)",
}


def languages_of(prediction: Prediction) -> tuple[str | None, str | None]:
    """Code of the only language that the reference names, and code of the row's `language`; None without one."""
    language = language_of(prediction)
    return only_language(reference_of(prediction), names()), code_of(language) if language else None


def expected_language(prediction: Prediction, truth: Truth) -> str | None:
    """Code of the language that is right. A reference that names none of the known ones leaves the row's language."""
    named, language = languages_of(prediction)
    if truth == "answer":
        return named or language
    return language or first_language(reference_of(prediction), names())


def spellings_of(predictions: Sequence[Prediction], truth: Truth) -> Aliases:
    """Names of languages, and references as a name of the language that is right: with truth "answer" those alone that
    name no known language, else every one, as the profile h1 has it."""
    rows = [
        (reference_of(one), expected_language(one, truth))
        for one in predictions
        if truth == "language" or languages_of(one)[0] is None
    ]
    return with_spellings((name, code) for name, code in rows if code is not None)


def language_detection(reader: Reader, failed: Failed, truth: Truth = "answer") -> TaskScorer:
    """D.A, the shares of both errors, and these under the paper's names in both readings."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        aliases = spellings_of(predictions, truth)
        answers = parse(
            predictions, failed, lambda text: reader.find(text, aliases), lambda one: expected_language(one, truth)
        )
        unlike = sum(None not in pair and pair[0] != pair[1] for pair in map(languages_of, answers.predictions))
        rule = RULES[truth] + (f"; the two disagree in {unlike} of {len(answers.predictions)} rows" if unlike else "")
        note = answers.note(f"{reader.note}; {len(languages())} languages and the references' own names for them")
        note = f"{rule}; {note}; {failed_note(failed)}"
        errors = {
            WRONG: [parsed and not right for parsed, right in zip(answers.parsed, answers.right, strict=True)],
            UNPARSED: [not parsed for parsed in answers.parsed],
        }
        shares = {name: (which, note) for name, which in errors.items()} | {
            name: (errors[error], f"the same as {error!r}; the paper's meaning isn't known")
            for name, error in READINGS.items()
        }
        return [
            answers.share(D_A, answers.right, main=True, note=f"correct / all; {note}"),
            *(answers.share(name, which, better="lower", note=about) for name, (which, about) in shares.items()),
        ]

    return TaskScorer(score, constants=distinct_answers)
