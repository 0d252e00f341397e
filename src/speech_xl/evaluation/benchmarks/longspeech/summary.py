"""LongSpeech summary: ROUGE-1, -2 and -L; Chinese, Japanese and Korean rows by characters under names of their own."""

from __future__ import annotations

from collections.abc import Sequence

from speech_xl.evaluation.benchmarks.answers import Failed, counted, failed_note, hypothesis_of, reference_of
from speech_xl.evaluation.benchmarks.error_rates import in_cjk
from speech_xl.evaluation.benchmarks.profile import Judgements, Score, TaskScorer, ratio_score
from speech_xl.evaluation.benchmarks.rouge import CHARACTERS, KINDS, NOTE, WORDS, rouge_f1, rouge_name
from speech_xl.evaluation.prediction import Prediction

CJK_ROWS = "CJK rows, characters"
MIXED = "CJK rows by character"


def summary(failed: Failed, characters: bool = True) -> TaskScorer:
    """ROUGE over words of all rows; beside it, where `characters`, over characters of CJK rows."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        answers, left_out = counted(predictions, failed)
        cjk = [one for one in answers if in_cjk(one)]
        about = {"left_out": left_out}
        note = f"{NOTE}; {WORDS} ({len(cjk)} CJK rows here); {failed_note(failed)}"
        scores = _means(answers, [False] * len(answers), "", note=note, main=True, **about)
        if characters and cjk:
            scores += _means(cjk, [True] * len(cjk), CJK_ROWS, note=f"{NOTE}; {CHARACTERS}; {failed_note(failed)}")
        return scores

    return TaskScorer(score)


def mixed_summary(failed: Failed) -> TaskScorer:
    """ROUGE of every row in its own units: characters of CJK rows, else words."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        answers, left_out = counted(predictions, failed)
        by_character = [in_cjk(one) for one in answers]
        note = f"{NOTE}; {WORDS}; CJK rows ({sum(by_character)} here) by {CHARACTERS}; {failed_note(failed)}"
        return _means(answers, by_character, MIXED, note=note, main=True, left_out=left_out)

    return TaskScorer(score)


def _means(
    answers: Sequence[Prediction], by_character: Sequence[bool], mode: str, main: bool = False, **about
) -> list[Score]:
    """The mean of each kind, the first of them the main figure where `main`."""
    found = [
        rouge_f1(hypothesis_of(one), reference_of(one), characters)
        for one, characters in zip(answers, by_character, strict=True)
    ]
    ones = [1.0] * len(answers)
    return [
        ratio_score(
            rouge_name(kind, mode), answers, [f1[place] for f1 in found], ones, main=main and not place, **about
        )
        for place, kind in enumerate(KINDS)
    ]
