"""LongSpeech speaker_count and content_separation: how often the number in the answer is the row's."""

from __future__ import annotations

from collections.abc import Sequence

from speech_xl.evaluation.benchmarks.answers import Failed, failed_note
from speech_xl.evaluation.benchmarks.closed_answers import Reader, parse
from speech_xl.evaluation.benchmarks.number_words import first_integer, only_integer
from speech_xl.evaluation.benchmarks.profile import Judgements, Score, TaskScorer, distinct_answers
from speech_xl.evaluation.prediction import Prediction

# The letters are the abbreviations of the paper's Table 4.
N_A = "correct (N.A), %"
P_R = "parsed (P.R), %"
PR = "correct of the parsed (Pr), %"
M_R = "unparsed (M.R), %"
FIRST_INTEGER = Reader(first_integer, "number: the first run of digits in the answer; words such as two are none")
ONLY_INTEGER = Reader(
    only_integer,
    "number: digits or English number words; several unlike ones, or one that isn't whole, are unparsed",
)


def counting(reader: Reader, failed: Failed) -> TaskScorer:
    """N.A, P.R, Pr and M.R of the paper's Table 4, by a reader of numbers."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        answers = parse(predictions, failed, reader.find)
        note = answers.note(f"{reader.note}; {failed_note(failed)}")
        return [
            answers.share(N_A, answers.right, main=True, note=f"correct / all; {note}"),
            answers.share(P_R, answers.parsed, note=f"parsed / all; {note}"),
            answers.share(PR, answers.right, of=answers.parsed, note=f"correct / parsed; {note}"),
            answers.share(
                M_R, [not one for one in answers.parsed], better="lower", note=f"unparsed / all = 100 - P.R; {note}"
            ),
        ]

    return TaskScorer(score, constants=distinct_answers)
