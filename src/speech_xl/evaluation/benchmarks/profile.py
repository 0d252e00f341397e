"""Profile: a named way to score a benchmark's answers. Score: one figure of it. No profile is called the official one
where none is published."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np

from speech_xl.evaluation.metrics import BOOTSTRAP_DRAWS
from speech_xl.evaluation.prediction import Prediction


@dataclass(frozen=True)
class Score:
    """One figure of a task.

    metric    its name with its unit, such as "WER, %"
    value     NaN where nothing can be scored
    low, high 95 % interval, percentile bootstrap over sessions; NaN of fewer than two
    items     answers behind the figure
    left_out  answers that the profile's rules leave out of the figure, failures among them
    unparsed  answers in which the profile finds none of the possible ones
    better    whether a higher or a lower figure is better
    main      whether it is the figure that the benchmark's tables give for this task
    note      what must be known to read it: normaliser, tokeniser, signature, averages
    """

    metric: str
    value: float
    low: float
    high: float
    items: int
    left_out: int = 0
    unparsed: int = 0
    better: Literal["higher", "lower"] = "higher"
    main: bool = False
    note: str = ""


@dataclass(frozen=True)
class Judgement:
    """What a judge says of one answer.

    label   "YES", "PARTIALLY" or "NO"; None where its reply holds none of them
    judge   the model, as the user named it
    prompt  version of the prompt
    reply   as it came
    """

    label: str | None
    judge: str
    prompt: str
    reply: str


_DRAWS: ContextVar[int] = ContextVar("draws", default=BOOTSTRAP_DRAWS)
Judgements = Mapping[str, Judgement]  # by `Prediction.id`
Scorer = Callable[[Sequence[Prediction], Judgements], list[Score]]


@dataclass(frozen=True)
class TaskScorer:
    """How a profile scores one task.

    score      figures of the answers at one ratio, the main one first. Failed answers are among them
    constants  replies of a model that always says the same, for tasks with a closed set of answers: the best of them
               and the majority class stand beside the score. None: the set isn't closed
    judged     whether it needs judgements
    """

    score: Scorer
    constants: Callable[[Sequence[Prediction]], list[str]] | None = None
    judged: bool = False


@dataclass(frozen=True)
class Profile:
    """Rules to score a benchmark by.

    name   on the command line
    about  whose rules they are, in one sentence
    tasks  scorer of each task; a task that isn't here has no score in this profile
    """

    name: str
    about: str
    tasks: Mapping[str, TaskScorer]


@dataclass(frozen=True)
class Published:
    """A figure of somebody else's.

    system  the model
    task    of the benchmark
    metric  as its source names it
    value   on the source's scale
    source  where it stands
    note    what makes it comparable or not
    """

    system: str
    task: str
    metric: str
    value: float
    source: str
    note: str = ""


@dataclass(frozen=True)
class Benchmark:
    """A public benchmark.

    name       as in `Item.benchmark`
    title      in tables
    paper      where it is described
    tasks      in the order of its tables
    profiles   ways to score it, the first being the one that tables show first
    published  figures of others
    average    name of the profile -> whether the plain mean over all tasks' main scores is a figure of the benchmark
    """

    name: str
    title: str
    paper: str
    tasks: tuple[str, ...]
    profiles: tuple[Profile, ...]
    published: tuple[Published, ...] = ()
    average: Mapping[str, bool] = field(default_factory=dict)

    def profile(self, name: str) -> Profile:
        """Raises ValueError, which lists all, where there is none of that name."""
        for one in self.profiles:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.profiles)
        raise ValueError(f"--profile: {self.name} has no profile {name!r}; there are {known}")


@contextmanager
def without_intervals() -> Iterator[None]:
    """Scores made inside have no use for their intervals: one draw is made in place of a thousand."""
    token = _DRAWS.set(1)
    try:
        yield
    finally:
        _DRAWS.reset(token)


def bootstrap_weights(predictions: Sequence[Prediction], draws: int | None = None) -> np.ndarray:
    """[draws, items] float: how often each answer counts in each draw of as many sessions, with replacement.

    Seed 0; answers about one session are drawn together. draws: None: as many as everywhere.
    """
    return _weights(tuple(one.cut_id for one in predictions), draws or _DRAWS.get())


@lru_cache(maxsize=2)
def _weights(cuts: tuple[str, ...], draws: int) -> np.ndarray:
    """Kept, since all figures of a task, and its constant answers, draw the same sessions."""
    sessions = {cut: place for place, cut in enumerate(dict.fromkeys(cuts))}
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(sessions), np.full(len(sessions), 1 / len(sessions)), size=draws)
    weights = drawn[:, [sessions[cut] for cut in cuts]].astype(np.float64)
    weights.flags.writeable = False
    return weights


def interval(values: np.ndarray, sessions: int) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of a figure over draws [draws]; NaN of fewer than two sessions."""
    known = values[np.isfinite(values)]
    if sessions < 2 or not known.size:
        return math.nan, math.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def ratio_score(
    metric: str,
    predictions: Sequence[Prediction],
    above: Sequence[float],
    below: Sequence[float],
    scale: float = 100.0,
    **about,
) -> Score:
    """The score scale x sum(above) / sum(below) over answers, such as a corpus WER (errors, words) or a share of right
    answers (right, ones), with its interval. `about`: further fields of the `Score`."""
    if not predictions or not sum(below):
        return Score(metric, math.nan, math.nan, math.nan, len(predictions), **about)
    weights = bootstrap_weights(predictions)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = scale * (weights @ np.asarray(above, float)) / (weights @ np.asarray(below, float))
    low, high = interval(values, len({one.cut_id for one in predictions}))
    return Score(metric, scale * sum(above) / sum(below), low, high, len(predictions), **about)


def distinct_answers(predictions: Sequence[Prediction]) -> list[str]:
    """Every reference once, the most frequent first."""
    return by_frequency(one.reference for one in predictions)


def by_frequency(values: Iterable[str]) -> list[str]:
    """Every value once, the most frequent first, equally frequent ones by alphabet."""
    counts = Counter(values)
    return sorted(counts, key=lambda one: (-counts[one], one))
