"""From a predictions file of a benchmark to its scores as JSON and as a page of tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speech_xl.evaluation.benchmarks.answer_file import read_answers
from speech_xl.evaluation.benchmarks.page import page_of
from speech_xl.evaluation.benchmarks.profile import Benchmark, Judgements
from speech_xl.evaluation.benchmarks.registry import find_benchmark
from speech_xl.evaluation.benchmarks.rows import averages_of, rows_of
from speech_xl.evaluation.metrics import BOOTSTRAP_DRAWS
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.prediction_file import read_settings
from speech_xl.storage.files import write_text


def write_benchmark_report(
    jsonl: str | Path,
    folder: Path,
    name: str,
    profile: str | None = None,
    judging: Callable[[Benchmark, Sequence[Prediction]], Judgements] = lambda benchmark, predictions: {},
) -> dict[str, Any]:
    """Score a predictions file by every profile, write NAME.json and NAME.md into `folder`, return the scores.

    profile: whose scores the page's first table shows; None: the benchmark's first. judging: gives the judgements of
    the file's answers.
    """
    answers = read_answers(jsonl)
    predictions = answers.predictions
    benchmark = benchmark_of(predictions, jsonl)
    first = benchmark.profiles[0] if profile is None else benchmark.profile(profile)
    settings = read_settings(jsonl) or {}
    judgements = judging(benchmark, predictions)
    ordered = [first, *(one for one in benchmark.profiles if one is not first)]
    scored = {one.name: rows_of(predictions, benchmark, one, judgements) for one in ordered}
    coverage = settings.get("coverage") or {}
    complete = is_complete(coverage, predictions)
    averages = {
        one.name: averages_of(scored[one.name], benchmark, complete)
        for one in ordered
        if benchmark.average.get(one.name)
    }
    scores = {
        "benchmark": benchmark.name,
        "predictions": Path(jsonl).name,
        "items": len({(one.cut_id, (one.item or {}).get("id")) for one in predictions}),
        "sessions": len({one.cut_id for one in predictions}),
        "interval": f"95 %, percentile bootstrap over sessions, {BOOTSTRAP_DRAWS} draws, seed 0",
        **seconds_of(predictions),
        "coverage": coverage,
        "complete": complete,
        "failures": failures_of(predictions),
        "faults": dict(answers.faults),
        "judgements": len(judgements),
        "profiles": {
            one.name: {
                "about": one.about,
                "rows": [row.to_json() for row in scored[one.name]],
                "averages": [vars(average) for average in averages.get(one.name, [])],
            }
            for one in ordered
        },
        "published": [vars(one) for one in benchmark.published],
        "made_with": settings,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.json", json.dumps(scores, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    page = page_of(benchmark, ordered, scored, averages.get(first.name, []), scores)
    write_text(folder / f"{name}.md", page)
    return scores


def benchmark_of(predictions: Sequence[Prediction], source: str | Path) -> Benchmark:
    """The benchmark of these answers. Raises ValueError where there are several, or answers to no item among them."""
    names = {None if one.item is None else str(one.item.get("benchmark")) for one in predictions}
    if len(names) != 1 or None in names:
        listed = ", ".join(sorted("no benchmark" if name is None else name for name in names))
        raise ValueError(f"{source}: holds answers of {listed}; score the answers of one benchmark at a time")
    return find_benchmark(str(names.pop()))


def is_complete(coverage: Mapping[str, Any], predictions: Sequence[Prediction]) -> bool:
    """Whether every item that is published, and that the benchmark's own rules keep, has an answer."""
    published, filtered = coverage.get("published") or {}, coverage.get("filtered") or {}
    missing = any(count for reasons in (coverage.get("missing") or {}).values() for count in reasons.values())
    if not published or missing or coverage.get("limit") is not None:
        return False
    answered: dict[tuple[str, int, str], set[Any]] = {}
    for one in predictions:
        if one.failed is None:
            answered.setdefault((one.compressor, one.ratio, one.kind), set()).add((one.item or {}).get("id"))
    wanted = {task: count - sum((filtered.get(task) or {}).values()) for task, count in published.items()}
    methods = {key[:2] for key in answered}
    return all(len(answered.get((*method, task), ())) >= count for method in methods for task, count in wanted.items())


def seconds_of(predictions: Sequence[Prediction]) -> dict[str, float | None]:
    """Seconds of audio in all sessions, failed ones too, each counted once, and those of them that the LLM was given;
    None where no answer says it."""
    asked = {one.cut_id: one for one in predictions}.values()
    answered = {one.cut_id: one for one in predictions if one.failed is None}.values()
    heard = [one.audio_seconds_heard for one in answered if one.audio_seconds_heard is not None]
    given = round(sum(one.duration or 0.0 for one in asked), 3)
    return {"audio_seconds": given, "heard_seconds": round(sum(heard), 3) if heard or not answered else None}


def failures_of(predictions: Sequence[Prediction]) -> dict[str, int]:
    """Reason -> items without an answer."""
    found: dict[str, int] = {}
    for one in predictions:
        if one.failed is not None:
            reason = one.failed.replace(one.cut_id, "SESSION")
            found[reason] = found.get(reason, 0) + 1
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
