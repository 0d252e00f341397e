"""Rows of a benchmark's tables out of predictions: scores of a profile, constant answers beside them, counts, costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from speech_xl.evaluation.benchmarks.profile import Benchmark, Judgements, Profile, Score, TaskScorer, without_intervals
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.rows import quotient


@dataclass(frozen=True)
class Constant:
    """A model that always gives one answer: its reply, and the main figure it would have."""

    reply: str
    value: float


@dataclass(frozen=True)
class TaskRow:
    """The answers to one task, by one compressor at one ratio.

    scores         of a profile, the main one first; none where the profile has no rule for the task
    majority       the most frequent reference as the answer to everything; None where the answers aren't a closed set
    best_constant  the one answer that would score best
    answered       items with an answer, finished or not
    failed         items without one
    cut            answers that the token limit ended; None where no answer says how it ended
    beyond_context answers about audio that takes more positions than the LLM was made for
    audio_seconds  seconds of audio given, over sessions; `heard_seconds`: that the LLM was given frames of
    kept_kv_bytes_per_audio_second, kept_kv_share  memory that stays after prefill; None where it wasn't measured
    """

    task: str
    compressor: str
    ratio: int
    scores: tuple[Score, ...]
    majority: Constant | None
    best_constant: Constant | None
    answered: int
    failed: int
    cut: int | None
    beyond_context: int
    audio_seconds: float
    heard_seconds: float | None
    kept_kv_bytes_per_audio_second: float | None
    kept_kv_share: float | None

    @property
    def main(self) -> Score | None:
        """The figure that the benchmark's tables give."""
        return next((one for one in self.scores if one.main), self.scores[0] if self.scores else None)

    def to_json(self) -> dict[str, Any]:
        """As plain data, NaN as null."""
        return _plain(asdict(self))


def rows_of(
    predictions: Sequence[Prediction], benchmark: Benchmark, profile: Profile, judgements: Judgements
) -> list[TaskRow]:
    """A row per task, compressor and ratio, in the benchmark's order of tasks."""
    groups: dict[tuple[str, str, int], list[Prediction]] = {}
    for one in predictions:
        groups.setdefault((one.kind, one.compressor, one.ratio), []).append(one)
    order = {task: place for place, task in enumerate(benchmark.tasks)}
    compressors = list(dict.fromkeys(one.compressor for one in predictions))
    keys = sorted(groups, key=lambda key: (order.get(key[0], len(order)), compressors.index(key[1]), key[2]))
    return [_row(key, groups[key], profile.tasks.get(key[0]), judgements) for key in keys]


def _row(
    key: tuple[str, str, int], answers: Sequence[Prediction], scorer: TaskScorer | None, judgements: Judgements
) -> TaskRow:
    scores = tuple(scorer.score(answers, judgements)) if scorer else ()
    majority, best = constants_of(answers, scorer) if scorer else (None, None)
    sessions = {one.cut_id: one for one in answers if one.failed is None}.values()
    return TaskRow(
        *key,
        scores=scores,
        majority=majority,
        best_constant=best,
        answered=sum(one.failed is None for one in answers),
        failed=sum(one.failed is not None for one in answers),
        cut=_cut(answers),
        beyond_context=sum(bool(one.beyond_context) for one in answers),
        audio_seconds=round(sum(one.duration or 0.0 for one in sessions), 3),
        heard_seconds=_sum(one.audio_seconds_heard for one in sessions),
        kept_kv_bytes_per_audio_second=quotient(sessions, "kept_kv_bytes", "duration"),
        kept_kv_share=quotient(sessions, "kept_kv_tokens", "total_kv_tokens"),
    )


def _cut(answers: Sequence[Prediction]) -> int | None:
    known = [one.finished for one in answers if one.finished is not None and one.failed is None]
    return known.count(False) if known or all(one.failed is not None for one in answers) else None


def constants_of(answers: Sequence[Prediction], scorer: TaskScorer) -> tuple[Constant | None, Constant | None]:
    """The majority class and the best constant answer, by the scorer's own main figure."""
    if scorer.constants is None:
        return None, None
    found = []
    for reply in scorer.constants(answers):
        constant = [replace(one, hypothesis=reply, failed=None, finished=True) for one in answers]
        with without_intervals():
            scores = scorer.score(constant, {})
        main = next((one for one in scores if one.main), scores[0])
        found.append((Constant(reply, main.value), main.better))
    if not found:
        return None, None
    references = [one.reference for one in answers]
    majority = max(found, key=lambda one: references.count(one[0].reply))[0]
    known = [one for one in found if not math.isnan(one[0].value)] or found
    best = max(known, key=lambda one: one[0].value if one[1] == "higher" else -one[0].value)[0]
    return majority, best


@dataclass(frozen=True)
class Average:
    """The plain mean of all tasks' main figures, where every task is there in full; else why there is none."""

    compressor: str
    ratio: int
    value: float | None
    reason: str = ""


def averages_of(rows: Sequence[TaskRow], benchmark: Benchmark, complete: bool) -> list[Average]:
    """An average per compressor and ratio. complete: whether all items that are published were answered."""
    groups: dict[tuple[str, int], dict[str, TaskRow]] = {}
    for row in rows:
        groups.setdefault((row.compressor, row.ratio), {})[row.task] = row
    found = []
    for key, tasks in groups.items():
        missing = [task for task in benchmark.tasks if task not in tasks or tasks[task].main is None]
        if missing:
            found.append(Average(*key, None, f"without {', '.join(missing)}"))
        elif not complete or any(row.failed for row in tasks.values()):
            found.append(Average(*key, None, "not on all published items"))
        else:
            found.append(Average(*key, sum(row.main.value for row in tasks.values() if row.main) / len(tasks)))
    return found


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known), 3) if known else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
