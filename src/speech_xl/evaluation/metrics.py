"""Word error rate and answer accuracy over records of generated answers, with bootstrap confidence intervals."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jiwer
import numpy as np

from speech_xl.data.time_marks import has_time_marks, timed_parts, without_time_marks

Record = Mapping[str, Any]

NORMALISER = (
    "time marks such as [12] out, Unicode NFKC, lower case, punctuation and symbols out (a space in their place), "
    "apostrophes kept inside words, white space collapsed; digits and number words are not mapped onto each other"
)
BOOTSTRAP_DRAWS = 1000
CUT_AT = 1.2  # wer_cut: hypothesis words kept, as a multiple of the reference's words

_APOSTROPHES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'", "`": "'"})
_LONE_APOSTROPHE = re.compile(r"(?<!\w)'|'(?!\w)")


def normalize(text: str) -> str:
    """`text` as it is compared; NORMALISER says how in words."""
    text = unicodedata.normalize("NFKC", without_time_marks(text)).lower().translate(_APOSTROPHES)
    # Unicode categories P* and S*: punctuation and symbols, of any script.
    text = "".join(" " if char != "'" and unicodedata.category(char)[0] in "PS" else char for char in text)
    return " ".join(_LONE_APOSTROPHE.sub(" ", text).split())


def wer_counts(reference: str, hypothesis: str) -> tuple[int, int]:
    """Word errors (substitutions + deletions + insertions) and reference words, both texts normalised first."""
    output = jiwer.process_words(normalize(reference), normalize(hypothesis))
    return (
        output.substitutions + output.deletions + output.insertions,
        output.hits + output.substitutions + output.deletions,
    )


def cut_hypothesis(reference: str, hypothesis: str) -> str:
    """The hypothesis up to ceil(1.2 x reference words), normalised: what a runaway decoding is charged at most."""
    words = len(normalize(reference).split())
    # Rounded first: 1.2 * 5 is 6.000000000000001 in some products, and its ceiling would be one word too many.
    return " ".join(normalize(hypothesis).split()[: math.ceil(round(CUT_AT * words, 6))])


def is_correct(reference: str, hypothesis: str) -> bool:
    """Exact match after normalisation."""
    return normalize(reference) == normalize(hypothesis)


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


def error_rate(records: Iterable[Record]) -> Rate:
    """Micro WER: all word errors over all reference words."""
    return _rate(records, lambda record: wer_counts(record["reference"], record["hypothesis"]))


def error_rate_by_time(records: Iterable[Record], seconds: float = 60.0) -> dict[int, Rate]:
    """Micro WER by where in the session words are said: number of the window of so many `seconds` -> rate.

    Time marks say where; references without any are left out. A word that is right but marked in a neighbouring window
    is an error in both, so windows shouldn't be short beside the marks' steps.
    """
    windows: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        if not has_time_marks(record["reference"]):
            continue
        said, heard = (_by_window(record[text], seconds) for text in ("reference", "hypothesis"))
        for window in said.keys() | heard.keys():
            texts = {"reference": said.get(window, ""), "hypothesis": heard.get(window, "")}
            windows[window].append({**record, **texts})
    return {window: error_rate(windows[window]) for window in sorted(windows)}


def cut_error_rate(records: Iterable[Record]) -> Rate:
    """Micro WER with every hypothesis cut at 1.2 times its reference's words."""
    return _rate(records, _cut_counts)


def cut_error_difference(records: Iterable[Record], others: Iterable[Record]) -> tuple[float, float, float]:
    """`cut_error_rate` of `records` less that of `others` about the same sessions, and its 95 % interval.

    Paired: a session is drawn for both, so what makes it hard for both cancels. Several answers about a session (of
    several seeds) are drawn with it. Raises ValueError where the sessions differ.
    """
    return _paired(records, others, _cut_counts)


def accuracy(records: Iterable[Record]) -> Rate:
    """Share of answers that equal their reference after normalisation."""
    wrong = _rate(records, _wrong)
    return Rate(1 - wrong.value, 1 - wrong.high, 1 - wrong.low, wrong.errors, wrong.words, wrong.items)


def accuracy_difference(records: Iterable[Record], others: Iterable[Record]) -> tuple[float, float, float]:
    """`accuracy` of `records` less that of `others`, and its 95 % interval, paired as in `cut_error_difference`."""
    return _paired(others, records, _wrong)


def summarise(records: Iterable[Record]) -> dict[int, dict[str, Rate]]:
    """Rates by ratio in rising order: "wer" and "wer_cut" of task asr, "qa" and "qa/<kind>" of task qa.

    A rate without items is left out, and so are tasks without a metric here, such as caption (report.py counts them).
    """
    groups: dict[int, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        tasks = groups[record["ratio"]]
        tasks[record["task"]].append(record)
        if record["task"] == "qa" and record.get("kind"):
            tasks[f"qa/{record['kind']}"].append(record)
    summary: dict[int, dict[str, Rate]] = {}
    for ratio in sorted(groups):
        tasks = groups[ratio]
        rates = summary.setdefault(ratio, {})
        if "asr" in tasks:
            rates["wer"] = error_rate(tasks["asr"])
            rates["wer_cut"] = cut_error_rate(tasks["asr"])
        for name in sorted(name for name in tasks if name == "qa" or name.startswith("qa/")):
            rates[name] = accuracy(tasks[name])
    return summary


def insertions_without_speech(records: Iterable[Record]) -> tuple[int, int]:
    """(transcripts of audio without speech, words inserted in them): those whose reference has no words."""
    inserted = [wer_counts(r["reference"], r["hypothesis"]) for r in records if r["task"] == "asr"]
    return sum(not words for _, words in inserted), sum(errors for errors, words in inserted if not words)


def session_id(record: Record) -> str:
    """The cut an answer belongs to: several answers may share one."""
    return str(record.get("cut_id", record["id"]))


def _by_window(text: str, seconds: float) -> dict[int, str]:
    windows: dict[int, str] = defaultdict(str)
    for second, words in timed_parts(text):
        windows[int(second // seconds)] += f" {words}"
    return windows


def _cut_counts(record: Record) -> tuple[int, int]:
    return wer_counts(record["reference"], cut_hypothesis(record["reference"], record["hypothesis"]))


def _wrong(record: Record) -> tuple[int, int]:
    return int(not is_correct(record["reference"], record["hypothesis"])), 1


def _by_session(records: Iterable[Record], count: Callable[[Record], tuple[int, int]]) -> dict[str, list[int]]:
    """Errors and words of every session. What is drawn anew in the bootstrap are sessions: answers about the same audio
    are not independent of each other."""
    sessions: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for record in records:
        errors, words = count(record)
        totals = sessions[session_id(record)]
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


def _rate(records: Iterable[Record], count: Callable[[Record], tuple[int, int]]) -> Rate:
    """Errors over words of all records."""
    records = list(records)
    counts = np.array(list(_by_session(records, count).values()), dtype=np.int64).reshape(-1, 2)
    sums = counts.sum(axis=0)
    low, high = _bootstrap(counts, _share)
    return Rate(_share(sums), low, high, int(sums[0]), int(sums[1]), len(records))


def _paired(
    records: Iterable[Record], others: Iterable[Record], count: Callable[[Record], tuple[int, int]]
) -> tuple[float, float, float]:
    """Rate of `records` less that of `others` about the same sessions, and its 95 % interval."""
    mine, theirs = _by_session(records, count), _by_session(others, count)
    if mine.keys() != theirs.keys() or not mine:
        raise ValueError(
            f"a paired difference needs the same sessions on both sides, not {len(mine)} and {len(theirs)}"
        )
    both = np.array([mine[name] + theirs[name] for name in mine], dtype=np.int64)
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
