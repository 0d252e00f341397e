"""Corpus error rates over any units: all errors over all reference units, in percent, counted by jiwer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from speech_xl.evaluation.benchmarks.answers import hypothesis_of, language_of, reference_of
from speech_xl.evaluation.benchmarks.language_names import is_cjk
from speech_xl.evaluation.benchmarks.profile import Score, ratio_score
from speech_xl.evaluation.metrics import edit_counts
from speech_xl.evaluation.prediction import Prediction

Units = Callable[[str, str | None], list[str]]  # of a text in a language, which may be unknown


def error_rate_score(metric: str, predictions: Sequence[Prediction], units: Units, **about) -> Score:
    """Errors over reference units of all answers. `about`: further fields of the `Score`."""
    counts = [
        edit_counts(*(units(text, language_of(one)) for text in (reference_of(one), hypothesis_of(one))))
        for one in predictions
    ]
    return ratio_score(metric, predictions, [c[0] for c in counts], [c[1] for c in counts], better="lower", **about)


def words_of(normalise: Callable[[str], str]) -> Units:
    """Words between spaces, of a text as `normalise` has it."""
    return lambda text, language: normalise(text).split()


def characters_of(normalise: Callable[[str], str]) -> Units:
    """Characters without spaces, of a text as `normalise` has it."""
    return lambda text, language: list("".join(normalise(text).split()))


def in_cjk(prediction: Prediction) -> bool:
    """`is_cjk` of its language and its reference."""
    return is_cjk(language_of(prediction), reference_of(prediction))
