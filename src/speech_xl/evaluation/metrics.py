"""Word error rate and answer accuracy over predictions of generated answers, with bootstrap confidence intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import jiwer
import numpy as np

from speech_xl.evaluation.normaliser import characters, error_unit, units
from speech_xl.evaluation.prediction import Prediction
from speech_xl.extensions.timestamps.marks import has_time_marks, timed_parts

BOOTSTRAP_DRAWS = 1000
CUT_AT = 1.2  # wer_cut: hypothesis words kept, as a multiple of the reference's words


def wer_counts(
    reference: str, hypothesis: str, language: str | None = None, timestamps: bool = True
) -> tuple[int, int]:
    """Word errors (substitutions + deletions + insertions) and reference words, both texts normalised first.

    Words are `units`: a letter of a script without spaces is one. language, timestamps: as `normalize` takes them.
    """
    return edit_counts(*(units(text, language, timestamps) for text in (reference, hypothesis)))


def cer_counts(
    reference: str, hypothesis: str, language: str | None = None, timestamps: bool = True
) -> tuple[int, int]:
    """The same of `characters`."""
    return edit_counts(*(characters(text, language, timestamps) for text in (reference, hypothesis)))


def edit_counts(reference: list[str], hypothesis: list[str]) -> tuple[int, int]:
    """Errors (substitutions + deletions + insertions) and reference units, of texts in units without white space."""
    output = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    return output.substitutions + output.deletions + output.insertions, len(reference)


def cut_hypothesis(reference: str, hypothesis: str, language: str | None = None, timestamps: bool = True) -> str:
    """The hypothesis up to ceil(1.2 x reference words), normalised: what a runaway decoding is charged at most."""
    words = len(units(reference, language, timestamps))
    # Rounded first: 1.2 * 5 is 6.000000000000001 in some products, and its ceiling would be one word too many.
    return " ".join(units(hypothesis, language, timestamps)[: math.ceil(round(CUT_AT * words, 6))])


def is_correct(reference: str, hypothesis: str, language: str | None = None, timestamps: bool = True) -> bool:
    """Exact match after normalisation."""
    return units(reference, language, timestamps) == units(hypothesis, language, timestamps)


@dataclass(frozen=True)
class Rate:
    """A rate as a fraction with its 95 % interval and the counts behind it.

    `errors` are word errors over `words` reference words for a WER, and wrong answers over as many answers for an
    accuracy. `low` and `high` are NaN where they can't be told: fewer than two sessions.
    """

    value: float
    low: float
    high: float
    errors: int
    words: int
    items: int


def error_rate(predictions: Iterable[Prediction]) -> Rate:
    """Micro WER: all word errors over all reference words."""
    return _rate(predictions, word_errors)


def character_error_rate(predictions: Iterable[Prediction]) -> Rate:
    """Micro CER: all character errors over all reference characters, spaces left out (`words` counts characters)."""
    return _rate(
        predictions, lambda prediction: cer_counts(prediction.reference, prediction.hypothesis, **prediction.reading)
    )


def word_errors(prediction: Prediction) -> tuple[int, int]:
    """`wer_counts` of a prediction's texts."""
    return wer_counts(prediction.reference, prediction.hypothesis, **prediction.reading)


def unit_of(prediction: Prediction) -> str:
    """What a prediction's error rate counts: "word" or "character"."""
    return error_unit(prediction.reference, **prediction.reading)


def error_rate_by_time(predictions: Iterable[Prediction], seconds: float = 60.0) -> dict[int, Rate]:
    """Micro WER by where in the session words are said: number of the window of so many `seconds` -> rate.

    Time marks say where; references without any are left out. A word that is right but marked in a neighbouring window
    is an error in both, so windows shouldn't be short beside the marks' steps.
    """
    windows: dict[int, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        if prediction.timestamps is None or not has_time_marks(prediction.reference):
            continue
        reference, hypothesis = (_by_window(text, seconds) for text in (prediction.reference, prediction.hypothesis))
        for window in reference.keys() | hypothesis.keys():
            texts = {"reference": reference.get(window, ""), "hypothesis": hypothesis.get(window, "")}
            windows[window].append(replace(prediction, **texts, timestamps=None))
    return {window: error_rate(windows[window]) for window in sorted(windows)}


def cut_error_rate(predictions: Iterable[Prediction]) -> Rate:
    """Micro WER with every hypothesis cut at 1.2 times its reference's words."""
    return _rate(predictions, _cut_counts)


def cut_error_difference(predictions: Iterable[Prediction], others: Iterable[Prediction]) -> tuple[float, float, float]:
    """`cut_error_rate` of `predictions` less that of `others` about the same sessions, and its 95 % interval.

    Paired: a session is drawn for both, so what makes it hard for both cancels. Several answers about a session (of
    several seeds) are drawn with it. Raises ValueError where the sessions differ.
    """
    return _paired(predictions, others, _cut_counts)


def accuracy(predictions: Iterable[Prediction]) -> Rate:
    """Share of answers that equal their reference after normalisation."""
    wrong = _rate(predictions, _wrong)
    return Rate(1 - wrong.value, 1 - wrong.high, 1 - wrong.low, wrong.errors, wrong.words, wrong.items)


def accuracy_difference(predictions: Iterable[Prediction], others: Iterable[Prediction]) -> tuple[float, float, float]:
    """`accuracy` of `predictions` less that of `others`, and its 95 % interval, paired as in `cut_error_difference`."""
    return _paired(others, predictions, _wrong)


def summarise(predictions: Iterable[Prediction]) -> dict[int, dict[str, Rate]]:
    """Rates by ratio in rising order: "wer", "wer_cut" and "cer" of task asr, "qa" and "qa/<kind>" of task qa.

    Where some transcripts are counted by words and others by characters, also "wer/word" and "wer/character".
    A rate without items is left out, and so are tasks without a metric here, such as caption (report.py counts them).
    """
    groups: dict[int, dict[str, list[Prediction]]] = defaultdict(lambda: defaultdict(list))
    for prediction in predictions:
        if prediction.failed is not None:
            continue
        tasks = groups[prediction.ratio]
        tasks[prediction.task].append(prediction)
        if prediction.task == "qa" and prediction.kind:
            tasks[f"qa/{prediction.kind}"].append(prediction)
    summary: dict[int, dict[str, Rate]] = {}
    for ratio in sorted(groups):
        tasks = groups[ratio]
        rates = summary.setdefault(ratio, {})
        if "asr" in tasks:
            rates["wer"] = error_rate(tasks["asr"])
            rates["wer_cut"] = cut_error_rate(tasks["asr"])
            rates["cer"] = character_error_rate(tasks["asr"])
            by_unit: dict[str, list[Prediction]] = defaultdict(list)
            for prediction in tasks["asr"]:
                by_unit[unit_of(prediction)].append(prediction)
            if len(by_unit) > 1:
                rates |= {f"wer/{unit}": error_rate(by_unit[unit]) for unit in sorted(by_unit)}
        for name in sorted(name for name in tasks if name == "qa" or name.startswith("qa/")):
            rates[name] = accuracy(tasks[name])
    return summary


def insertions_without_speech(predictions: Iterable[Prediction]) -> tuple[int, int]:
    """(transcripts of audio without speech, words inserted in them): those whose reference has no words."""
    inserted = [word_errors(prediction) for prediction in predictions if prediction.task == "asr"]
    return sum(not words for _, words in inserted), sum(errors for errors, words in inserted if not words)


def _by_window(text: str, seconds: float) -> dict[int, str]:
    windows: dict[int, str] = defaultdict(str)
    for second, words in timed_parts(text):
        windows[int(second // seconds)] += f" {words}"
    return windows


def _cut_counts(prediction: Prediction) -> tuple[int, int]:
    hypothesis = cut_hypothesis(prediction.reference, prediction.hypothesis, **prediction.reading)
    return wer_counts(prediction.reference, hypothesis, **prediction.reading)


def _wrong(prediction: Prediction) -> tuple[int, int]:
    return int(not is_correct(prediction.reference, prediction.hypothesis, **prediction.reading)), 1


def _by_session(
    predictions: Iterable[Prediction], count: Callable[[Prediction], tuple[int, int]]
) -> dict[str, list[int]]:
    """Errors and words of every session. What is drawn anew in the bootstrap are sessions: answers about the same audio
    are not independent of each other."""
    sessions: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for prediction in predictions:
        errors, words = count(prediction)
        totals = sessions[prediction.cut_id]
        totals[0] += errors
        totals[1] += words
    return dict(sessions)


def _share(sums: np.ndarray) -> float:
    """errors / words."""
    errors, words = sums
    return float(errors / words) if words else math.nan


def _difference(sums: np.ndarray) -> float:
    """errors / words of the first two less that of the last two."""
    return _share(sums[:2]) - _share(sums[2:])


def _rate(predictions: Iterable[Prediction], count: Callable[[Prediction], tuple[int, int]]) -> Rate:
    """Errors over words of all predictions."""
    predictions = list(predictions)
    counts = np.array(list(_by_session(predictions, count).values()), dtype=np.int64).reshape(-1, 2)
    sums = counts.sum(axis=0)
    low, high = _bootstrap(counts, _share)
    return Rate(_share(sums), low, high, int(sums[0]), int(sums[1]), len(predictions))


def _paired(
    predictions: Iterable[Prediction], others: Iterable[Prediction], count: Callable[[Prediction], tuple[int, int]]
) -> tuple[float, float, float]:
    """Rate of `predictions` less that of `others` about the same sessions, and its 95 % interval."""
    own, other = _by_session(predictions, count), _by_session(others, count)
    if own.keys() != other.keys() or not own:
        raise ValueError(f"a paired difference needs the same sessions on both sides, not {len(own)} and {len(other)}")
    both = np.array([own[name] + other[name] for name in own], dtype=np.int64)
    low, high = _bootstrap(both, _difference)
    return _difference(both.sum(axis=0)), low, high


def _bootstrap(counts: np.ndarray, rate: Callable[[np.ndarray], float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of `rate` of the sums over resampled rows of `counts` [sessions, ...]."""
    sessions = len(counts)
    if sessions < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    # One draw at a time: memory stays small for tens of thousands of sessions.
    draws = (counts[rng.integers(0, sessions, sessions)].sum(axis=0) for _ in range(BOOTSTRAP_DRAWS))
    rates = [found for found in map(rate, draws) if not math.isnan(found)]
    if not rates:
        return math.nan, math.nan
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)
