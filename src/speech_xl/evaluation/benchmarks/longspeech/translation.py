"""LongSpeech translation: BLEU of each target language with its own tokeniser, their mean, and one pooled figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from speech_xl.evaluation.benchmarks.answers import (
    Failed,
    counted,
    failed_note,
    hypothesis_of,
    language_of,
    reference_of,
)
from speech_xl.evaluation.benchmarks.bleu import FALLBACK, CorpusBleu, corpus_bleu
from speech_xl.evaluation.benchmarks.language_names import code_of
from speech_xl.evaluation.benchmarks.profile import Judgements, Score, TaskScorer, bootstrap_weights, interval
from speech_xl.evaluation.prediction import Prediction

MEAN = "BLEU, mean over target languages"
POOLED = "BLEU, all target languages as one corpus, 13a"
BOOTSTRAP = "interval: sacrebleu's counts of each answer, drawn over sessions"
SPREAD: dict[str, tuple[Callable[[np.ndarray], float], str]] = {
    "standard deviation": (lambda values: float(np.std(values)), "of these languages (divided by their number)"),
    "highest": (lambda values: float(np.max(values)), "the best language"),
    "lowest": (lambda values: float(np.min(values)), "the worst language"),
}


@dataclass(frozen=True)
class BleuRule:
    """How a profile scores translations.

    lowercase   whether case is ignored
    failed      what becomes of failed answers
    tokenisers  code of a target language -> sacrebleu's tokeniser; 13a of all others
    spread      whether the standard deviation, the highest and the lowest value over languages are figures too
    pooled      whether the corpus of all languages is a figure too
    """

    lowercase: bool
    failed: Failed
    tokenisers: Mapping[str, str] = field(default_factory=dict)
    spread: bool = False
    pooled: bool = True


OWN = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
PAPER_WORDS = BleuRule(True, "empty", OWN)
H1 = BleuRule(True, "left out")
AUTHORS_DEV = BleuRule(False, "left out", {"zh": "zh", "ja": "ja-mecab"}, spread=True, pooled=False)
# 13a leaves these scripts without spaces whole: a line of Thai would be one token.
STRICT = BleuRule(True, "empty", OWN | dict.fromkeys(("th", "lo", "km", "my"), "char"))


def translations(rule: BleuRule) -> TaskScorer:
    """The mean over target languages first, then its spread, each language, and all languages as one corpus."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        answers, left_out = counted(predictions, rule.failed)
        weights = _weights(answers)
        targets = [code_of(language_of(one) or "unknown") for one in answers]
        each, drawn, notes = [], [], []
        for target in sorted(set(targets)):
            places = [place for place, code in enumerate(targets) if code == target]
            rows = [answers[place] for place in places]
            bleu = _bleu(rows, rule.tokenisers.get(target, "13a"), rule.lowercase)
            drawn.append(bleu.values(weights[:, places]))
            notes.append(f"{target}: {_note(bleu)}")
            each.append(_score(f"BLEU, {target}", bleu.value, drawn[-1], rows, note=_note(bleu)))
        values = np.array([one.value for one in each])
        # A draw of sessions may be without some language: the mean is over those that it has.
        means = np.nanmean(drawn, axis=0) if drawn else np.array([])
        note = f"per target language, then the plain mean; {'; '.join(notes)}; {failed_note(rule.failed)}; {BOOTSTRAP}"
        mean = float(values.mean()) if len(values) else math.nan
        return [
            _score(MEAN, mean, means, answers, main=True, left_out=left_out, note=note),
            *(_spread(values, len(answers), left_out) if rule.spread else []),
            *each,
            *([_pooled(answers, weights, rule, main=False, left_out=left_out)] if rule.pooled else []),
        ]

    return TaskScorer(score)


def pooled_translation(rule: BleuRule) -> TaskScorer:
    """One corpus of all target languages."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        answers, left_out = counted(predictions, rule.failed)
        weights = _weights(answers)
        return [_pooled(answers, weights, rule, main=True, left_out=left_out)]

    return TaskScorer(score)


def _bleu(answers: Sequence[Prediction], tokeniser: str, lowercase: bool) -> CorpusBleu:
    hypotheses, references = ([text(one) for one in answers] for text in (hypothesis_of, reference_of))
    return corpus_bleu(hypotheses, references, tokeniser, lowercase)


def _pooled(answers: Sequence[Prediction], weights: np.ndarray, rule: BleuRule, **about) -> Score:
    bleu = _bleu(answers, "13a", rule.lowercase)
    note = (
        f"{_note(bleu)}; 13a doesn't part Chinese, Japanese and Thai into words; not comparable with a mean over "
        f"languages; {failed_note(rule.failed)}; {BOOTSTRAP}"
    )
    return _score(POOLED, bleu.value, bleu.values(weights), answers, note=note, **about)


def _score(metric: str, value: float, drawn: np.ndarray, answers: Sequence[Prediction], **about) -> Score:
    low, high = interval(drawn, len({one.cut_id for one in answers}))
    return Score(metric, value, low, high, len(answers), **about)


def _weights(answers: Sequence[Prediction]) -> np.ndarray:
    """`bootstrap_weights`; no draws of fewer than two sessions, which have no interval."""
    alone = len({one.cut_id for one in answers}) < 2
    return np.zeros((0, len(answers))) if alone else bootstrap_weights(answers)


def _spread(values: np.ndarray, items: int, left_out: int) -> list[Score]:
    return [
        Score(f"BLEU, {name} over target languages", of(values), math.nan, math.nan, items, left_out, note=meaning)
        for name, (of, meaning) in SPREAD.items()
        if len(values)
    ]


def _note(bleu: CorpusBleu) -> str:
    missing = (
        f" ({FALLBACK}, since {bleu.missing} is not installed: pip install sacrebleu[ja,ko])" if bleu.missing else ""
    )
    return f"sacreBLEU {bleu.signature}{missing}"
