"""LongSpeech language_detection: correct, wrong or unparsed, and both readings of the paper's M.R and D.E."""

from __future__ import annotations

from collections.abc import Sequence

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

D_A = "D.A, %"
WRONG = "wrong language, %"
UNPARSED = "no language found, %"
# The paper's M.R, D.E and D.A sum to 100, and it isn't known which of the two errors is which.
READINGS = {
    "M.R if it means wrong, %": WRONG,
    "D.E if it means unparsed, %": UNPARSED,
    "M.R if it means unparsed, %": UNPARSED,
    "D.E if it means wrong, %": WRONG,
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


def expected_language(prediction: Prediction) -> str | None:
    """Code of the row's language; of a row without one, of the language that its reference names."""
    language = language_of(prediction)
    return code_of(language) if language else first_language(reference_of(prediction), names())


def spellings_of(predictions: Sequence[Prediction]) -> Aliases:
    """Names of languages, and every reference in these answers as a name of its row's language."""
    rows = [(reference_of(one), expected_language(one)) for one in predictions]
    return with_spellings((name, code) for name, code in rows if code is not None)


def language_detection(reader: Reader, failed: Failed) -> TaskScorer:
    """D.A, the shares of both errors, and these under the paper's names in both readings."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        aliases = spellings_of(predictions)
        answers = parse(predictions, failed, lambda text: reader.find(text, aliases), expected_language)
        note = answers.note(f"{reader.note}; {len(languages())} languages and the references' own names for them")
        note = f"{note}; {failed_note(failed)}"
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
