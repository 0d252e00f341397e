"""ROUGE F1 by Google's rouge_score: over its own words, and over characters for scripts that it has no words of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from speech_xl.evaluation.benchmarks.normalisers import without_punctuation

KINDS = ("rouge1", "rouge2", "rougeL")
NOTE = "rouge_score, F1 of each answer, plain mean; rougeL is over the whole text (not rougeLsum)"
WORDS = "Porter stemmer on; its words are of a-z and 0-9 alone, so that other scripts score 0"
CHARACTERS = "characters of the text in NFKC and lower case, without punctuation, symbols and spaces"


class Characters:
    """rouge_score's interface of a tokeniser."""

    def tokenize(self, text: str) -> list[str]:
        return list("".join(without_punctuation(text).split()))


def rouge_f1(hypothesis: str, reference: str, characters: bool = False) -> list[float]:
    """F1 of `KINDS`, 0 to 1. Raises ImportError where rouge_score is not installed."""
    found = _scorer(characters).score(reference, hypothesis)
    return [found[kind].fmeasure for kind in KINDS]


def rouge_name(kind: str, mode: str = "") -> str:
    """The metric's name in tables."""
    return f"ROUGE-{kind.removeprefix('rouge')}{mode and f' ({mode})'} F1, %"


@cache
def _scorer(characters: bool) -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ImportError('ROUGE needs rouge_score: pip install -e ".[eval]"') from error
    kinds: Sequence[str] = list(KINDS)
    return RougeScorer(kinds, tokenizer=Characters()) if characters else RougeScorer(kinds, use_stemmer=True)
