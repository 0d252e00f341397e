"""Scores of free answers: a judge's labels, and without a judge exact match and token F1 as diagnostics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from speech_xl.evaluation.benchmarks.answers import (
    Failed,
    counted,
    failed_note,
    hypothesis_of,
    language_of,
    reference_of,
)
from speech_xl.evaluation.benchmarks.profile import Judgements, Score, TaskScorer, ratio_score
from speech_xl.evaluation.normaliser import NORMALISER_VERSION, units
from speech_xl.evaluation.prediction import Prediction

STRICT = "judged YES (paper: Strict), %"
RELAXED = "judged YES or PARTIALLY (paper: Relaxed), %"
EXACT = "exact match, %"
TOKEN_F1 = "token F1, %"
DIAGNOSTIC = f"a diagnostic without a judge, by this suite's normaliser, version {NORMALISER_VERSION}"
# What becomes of answers whose judgement holds no label, or that a judge failed on.
Invalid = Literal["left out", "NO"]


def judged(failed: Failed, invalid: Invalid) -> TaskScorer:
    """Strict: share of YES. Relaxed: share of YES and PARTIALLY. Then the diagnostics, which stand alone where there
    are no judgements."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        answers, left_out = counted(predictions, failed)
        known = {one.id: judgements[one.id] for one in answers if one.id in judgements}
        diagnostics = _diagnostics(answers, left_out, failed, bool(known))
        if not known:
            return diagnostics
        labels = {one.id: known[one.id].label if one.id in known else None for one in answers}
        valid = [one for one in answers if labels[one.id] is not None or invalid == "NO"]
        missing = sum(label is None for label in labels.values())
        makers = ", ".join(sorted({f"{one.judge} with prompt {one.prompt}" for one in known.values()}))
        rule = "are left out" if invalid == "left out" else "count as NO"
        note = f"judge: {makers}; {missing} answers without a label {rule}; {failed_note(failed)}"
        about = {"left_out": left_out + len(answers) - len(valid), "unparsed": missing, "note": note}
        ones = [1.0] * len(valid)
        return [
            ratio_score(STRICT, valid, [labels[one.id] == "YES" for one in valid], ones, main=True, **about),
            ratio_score(RELAXED, valid, [labels[one.id] in ("YES", "PARTIALLY") for one in valid], ones, **about),
            *diagnostics,
        ]

    return TaskScorer(score, judged=True)


def token_f1(reference: Sequence[str], hypothesis: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of tokens, each as often as it is there (SQuAD, arXiv 1606.05250).

    Two empty texts are alike.
    """
    shared = sum((Counter(reference) & Counter(hypothesis)).values())
    return 2 * shared / (len(reference) + len(hypothesis)) if reference or hypothesis else 1.0


def exact_and_f1(answers: Sequence[Prediction], main: bool, **about) -> list[Score]:
    """Exact match after the suite's normaliser, and token F1: means over answers.

    main: whether exact match is the task's main figure. about: further fields of both.
    """
    pairs = [
        tuple(units(text(one), language_of(one), timestamps=False) for text in (reference_of, hypothesis_of))
        for one in answers
    ]
    ones = [1.0] * len(answers)
    return [
        ratio_score(EXACT, answers, [a == b for a, b in pairs], ones, main=main, **about),
        ratio_score(TOKEN_F1, answers, [token_f1(a, b) for a, b in pairs], ones, **about),
    ]


def _diagnostics(answers: Sequence[Prediction], left_out: int, failed: Failed, beside: bool) -> list[Score]:
    why = (
        "" if beside else "; the shares of YES and PARTIALLY need a judge's labels, and there are none of these answers"
    )
    return exact_and_f1(answers, main=False, left_out=left_out, note=f"{DIAGNOSTIC}; {failed_note(failed)}{why}")
