"""F1 over classes, by scikit-learn, with a bootstrap interval from weighted confusion counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from speech_xl.evaluation.benchmarks.profile import Score, bootstrap_weights, interval
from speech_xl.evaluation.prediction import Prediction

Average = Literal["macro", "weighted"]


def f1_score(
    metric: str,
    predictions: Sequence[Prediction],
    truths: Sequence[str],
    guesses: Sequence[str],
    average: Average,
    classes: Sequence[str] | None = None,
    **about: Any,
) -> Score:
    """The score 100 x F1 of guesses, a class for each prediction. A class without a truth and a guess has F1 0.

    classes: those that are averaged over; None: all that are among truths and guesses. `about`: further fields of the
    `Score`. Raises ImportError with the remedy where scikit-learn isn't installed.
    """
    if not predictions:
        return Score(metric, math.nan, math.nan, math.nan, 0, **about)
    value = 100 * sklearn_f1(truths, guesses, average, classes)
    draws = 100 * weighted_f1(bootstrap_weights(predictions), truths, guesses, average, classes)
    low, high = interval(draws, len({one.cut_id for one in predictions}))
    return Score(metric, value, low, high, len(predictions), **about)


def sklearn_f1(
    truths: Sequence[str], guesses: Sequence[str], average: Average, classes: Sequence[str] | None = None
) -> float:
    """F1 as scikit-learn has it, 0..1, with zero_division 0."""
    try:
        from sklearn.metrics import f1_score as f1
    except ImportError as error:
        raise ImportError("F1 is computed by scikit-learn, which isn't installed: pip install -e '.[eval]'") from error
    options: dict[str, Any] = {"labels": None if classes is None else list(classes), "zero_division": 0}
    return float(f1(list(truths), list(guesses), average=average, **options))


def weighted_f1(
    weights: np.ndarray,
    truths: Sequence[str],
    guesses: Sequence[str],
    average: Average,
    classes: Sequence[str] | None = None,
) -> np.ndarray:
    """`sklearn_f1` where each item counts as often as `weights` [draws, items] say: [draws], from confusion counts.

    With `classes` None, a draw averages over the classes that are among its own truths and guesses.
    """
    names = sorted({*truths, *guesses}) if classes is None else list(classes)
    truth, guess = (np.array([[one == name for name in names] for one in some], float) for some in (truths, guesses))
    right, golden, guessed = weights @ (truth * guess), weights @ truth, weights @ guess  # [draws, classes]
    seen = golden + guessed > 0
    f1 = np.divide(2 * right, golden + guessed, out=np.zeros_like(right), where=seen)
    counts = golden if average == "weighted" else seen.astype(float) if classes is None else np.ones_like(f1)
    total = counts.sum(axis=1)
    return np.divide((counts * f1).sum(axis=1), total, out=np.zeros_like(total), where=total > 0)
