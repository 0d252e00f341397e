"""Corpus BLEU by sacrebleu (arXiv 1804.08771), and the counts that its bootstrap over sessions needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

FALLBACK = "char"  # where a tokeniser's dictionary is not installed
ORDER = 4


@dataclass(frozen=True)
class CorpusBleu:
    """BLEU of a set of translations.

    value      0 to 100; NaN of none
    signature  sacrebleu's, with the tokeniser, the case and its version
    missing    the tokeniser that was asked for and is not installed; "" where it is
    counts     [items, 10]: matches and n-grams of orders 1 to 4, hypothesis and reference tokens
    """

    value: float
    signature: str
    missing: str
    counts: np.ndarray

    def values(self, weights: np.ndarray) -> np.ndarray:
        """[draws]: BLEU of each draw of items, `weights` [draws, items] saying how often each is in it; NaN of a draw
        without any."""
        return np.array([_bleu(sums) for sums in (weights @ self.counts).round().astype(np.int64).tolist()])


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], tokeniser: str, lowercase: bool) -> CorpusBleu:
    """BLEU-4 of translations against one reference each, exponential smoothing as sacrebleu has it.

    The corpus's counts are the sums of its sentences', and `BLEU.compute_bleu` makes the score of them.

    Raises ImportError where sacrebleu is not installed.
    """
    metric, missing = _metric(tokeniser, lowercase, False)
    pairs = list(zip(hypotheses, references, strict=True))
    counts = np.array([_counts(*pair, tokeniser, lowercase) for pair in pairs], dtype=np.int64).reshape(
        -1, 2 * ORDER + 2
    )
    value = _bleu(counts.sum(axis=0).tolist())
    metric.corpus_score(list(hypotheses[:1]) or [""], [list(references[:1]) or [""]])  # its signature names references
    return CorpusBleu(value, str(metric.get_signature()), missing, counts)


@lru_cache(maxsize=1 << 16)
def _counts(hypothesis: str, reference: str, tokeniser: str, lowercase: bool) -> tuple[int, ...]:
    """A row of `CorpusBleu.counts`; several profiles and the pooled figure count the same pairs."""
    score = _metric(tokeniser, lowercase, True)[0].sentence_score(hypothesis, [reference])
    return (*score.counts, *score.totals, score.sys_len, score.ref_len)


@cache
def _metric(tokeniser: str, lowercase: bool, single: bool) -> tuple[Any, str]:
    """sacrebleu's metric, and the tokeniser where it is missing. single: for one sentence at a time."""
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise ImportError('BLEU needs sacrebleu: pip install -e ".[eval]"') from error
    options: dict[str, Any] = {"lowercase": lowercase, "effective_order": single, "force": True}
    try:
        return BLEU(tokenize=tokeniser, **options), ""
    except (RuntimeError, ImportError, AssertionError):  # no MeCab, or another dictionary than sacrebleu's
        return BLEU(tokenize=FALLBACK, **options), tokeniser


def _bleu(sums: list[int]) -> float:
    from sacrebleu.metrics.bleu import BLEU

    if not sums[-1]:  # no reference tokens
        return math.nan
    correct, total = sums[:ORDER], sums[ORDER : 2 * ORDER]
    return BLEU.compute_bleu(correct, total, sums[-2], sums[-1], smooth_method="exp").score
