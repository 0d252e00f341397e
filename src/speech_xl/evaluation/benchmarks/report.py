"""From a predictions file of a benchmark to its scores as JSON and as a page of tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speech_xl.evaluation.benchmarks.answer_file import read_answers
from speech_xl.evaluation.benchmarks.profile import Benchmark, Judgements, Profile, Score
from speech_xl.evaluation.benchmarks.registry import find_benchmark
from speech_xl.evaluation.benchmarks.rows import Average, TaskRow, averages_of, rows_of
from speech_xl.evaluation.metrics import BOOTSTRAP_DRAWS
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.prediction_file import read_settings
from speech_xl.evaluation.tables import markdown
from speech_xl.storage.files import write_text


def write_benchmark_report(
    jsonl: str | Path, folder: Path, name: str, profile: str | None = None, judgements: Judgements | None = None
) -> dict[str, Any]:
    """Score a predictions file by every profile, write NAME.json and NAME.md into `folder`, return the scores.

    profile: whose scores the page's first table shows; None: the benchmark's first.
    """
    answers = read_answers(jsonl)
    predictions = answers.predictions
    benchmark = benchmark_of(predictions, jsonl)
    first = benchmark.profiles[0] if profile is None else benchmark.profile(profile)
    settings = read_settings(jsonl) or {}
    judgements = judgements or {}
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


def seconds_of(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Seconds of audio in the sessions that were answered, each counted once, and those that the LLM heard of them."""
    sessions = {one.cut_id: one for one in predictions if one.failed is None}.values()
    found = {"audio_seconds": sum(one.duration or 0.0 for one in sessions)}
    found["heard_seconds"] = sum(one.audio_seconds_heard or 0.0 for one in sessions)
    return {key: round(value, 3) for key, value in found.items()}


def failures_of(predictions: Sequence[Prediction]) -> dict[str, int]:
    """Reason -> items without an answer."""
    found: dict[str, int] = {}
    for one in predictions:
        if one.failed is not None:
            reason = one.failed.replace(one.cut_id, "SESSION")
            found[reason] = found.get(reason, 0) + 1
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


# The page


def page_of(
    benchmark: Benchmark,
    profiles: Sequence[Profile],
    scored: Mapping[str, Sequence[TaskRow]],
    averages: Sequence[Average],
    scores: Mapping[str, Any],
) -> str:
    """The scores for people: the first profile's table, the others beside it, coverage, published figures."""
    first = profiles[0]
    rows = scored[first.name]
    parts = [
        f"# {benchmark.title}",
        f"{benchmark.paper}. {scores['items']} items on {scores['sessions']} sessions, from {scores['predictions']}.",
        f"## Scores by profile `{first.name}`",
        f"{first.about.rstrip('.')}.",
        main_table(rows),
        averages_line(averages),
        notes_of(rows),
        f"Audio of these sessions: {scores['audio_seconds']:.1f} s, heard: {scores['heard_seconds']:.1f} s.",
        f"In brackets: {scores['interval']}. Kept KV: keys and values that stay of a second of audio, measured on the "
        "tensors. Majority class, best constant: a model that gives one answer to everything. Cut: answers that the "
        "token limit ended. Left out: answers that the profile's rules leave out of the figure.",
        "## Other figures of this profile",
        other_table(rows),
        "## The same answers by every profile",
        profiles_table(profiles, scored),
        "\n".join(f"- `{one.name}`: {one.about}" for one in profiles),
        "## Coverage",
        coverage_text(scores["coverage"], settings_asked(scores), rows, scores["complete"]),
        reasons_text("Answers that failed", scores["failures"]),
        reasons_text("Lines of the predictions file", scores["faults"]),
        "## Published figures",
        published_table(benchmark),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def main_table(rows: Sequence[TaskRow]) -> str:
    """A line per task, compressor and ratio: the main figure, constant answers beside it, counts and memory."""
    titles = ["task", "compressor", "ratio", "kept KV a second", "tokens kept", "figure", "score", "majority class"]
    titles += ["best constant", "answers", "failed", "left out", "unparsed", "cut"]
    table = [titles]
    for row in rows:
        main = row.main
        memory = row.kept_kv_bytes_per_audio_second
        table.append(
            [
                row.task,
                row.compressor,
                f"{row.ratio}x",
                "-" if memory is None else f"{memory / 1024:.2f} KiB",
                "-" if row.kept_kv_share is None else f"{100 * row.kept_kv_share:.1f} %",
                "no rule in this profile" if main is None else main.metric,
                _cell(main),
                _constant(row.majority),
                _constant(row.best_constant),
                str(row.answered),
                str(row.failed),
                *(["-", "-"] if main is None else [str(main.left_out), str(main.unparsed)]),
                str(row.cut),
            ]
        )
    return markdown(table)


def other_table(rows: Sequence[TaskRow]) -> str:
    """Every figure of a profile beside the main ones; empty where there are none."""
    table = [["task", "compressor", "ratio", "figure", "score", "items"]]
    for row in rows:
        for score in row.scores:
            if score is not row.main:
                cells = [row.task, row.compressor, f"{row.ratio}x", score.metric, _cell(score), str(score.items)]
                table.append(cells)
    return markdown(table) if len(table) > 1 else "There are none."


def profiles_table(profiles: Sequence[Profile], scored: Mapping[str, Sequence[TaskRow]]) -> str:
    """The main figure of every profile, side by side."""
    table = [["task", "compressor", "ratio", *(one.name for one in profiles)]]
    for rows in zip(*(scored[one.name] for one in profiles), strict=True):
        cells = [f"{_cell(row.main)}, {row.main.metric}" if row.main else "-" for row in rows]
        table.append([rows[0].task, rows[0].compressor, f"{rows[0].ratio}x", *cells])
    return markdown(table)


def averages_line(averages: Sequence[Average]) -> str:
    """The mean over tasks of each compressor and ratio, or why there is none."""
    found = [
        f"{one.compressor} {one.ratio}x: {one.reason if one.value is None else f'{one.value:.1f}'}" for one in averages
    ]
    return f"Mean over the tasks: {'; '.join(found)}." if found else ""


def notes_of(rows: Sequence[TaskRow]) -> str:
    """What must be known to read the main figures, once each."""
    notes: dict[str, str] = {}
    for row in rows:
        if row.main and row.main.note:
            notes.setdefault(f"{row.task}: {row.main.note}", "")
    return "\n".join(f"- {note}" for note in notes)


def settings_asked(scores: Mapping[str, Any]) -> Mapping[str, int]:
    """Items asked by task, as the predictions' settings have them."""
    return (scores["made_with"] or {}).get("asked_items") or {}


def coverage_text(
    coverage: Mapping[str, Any], asked: Mapping[str, int], rows: Sequence[TaskRow], complete: bool
) -> str:
    """What of the benchmark is here, what was asked and answered, what isn't here and why, in a table."""
    if not coverage and not asked:
        return "The predictions say nothing about the items that were not asked."
    counts = ("published", "here", "missing", "filtered")
    tasks = list(dict.fromkeys([*(task for key in counts for task in coverage.get(key) or {}), *asked, *_tasks(rows)]))
    titles = ["task", "published", "here", "asked", "answered", "missing, with the reason"]
    table = [[*titles, "left out by the benchmark's rules"]]
    for task in tasks:
        published, here = ((coverage.get(key) or {}).get(task) for key in ("published", "here"))
        cells = [_reasons((coverage.get(key) or {}).get(task) or {}) for key in ("missing", "filtered")]
        answered = sorted({row.answered for row in rows if row.task == task}) or [0]
        answers = " to ".join(map(str, (answered[0], answered[-1]) if len(answered) > 1 else answered))
        table.append([task, _count(published), _count(here), _count(asked.get(task)), answers, *cells])
    limit = coverage.get("limit")
    whole = "All published items have answers." if complete else "These are not scores of the whole benchmark."
    return markdown(table) + f"\n\n{whole}" + (f" Asked at most {limit} items a task (limit)." if limit else "")


def reasons_text(title: str, reasons: Mapping[str, int]) -> str:
    """Reasons with their counts, below a title; empty where there are none."""
    return f"{title}:\n\n" + "\n".join(f"- {count} {reason}" for reason, count in reasons.items()) if reasons else ""


def published_table(benchmark: Benchmark) -> str:
    """Figures of others, none of which was measured here."""
    if not benchmark.published:
        return "None are known."
    columns = list(dict.fromkeys((one.task, one.metric) for one in benchmark.published))
    systems = list(dict.fromkeys((one.system, one.source, one.note) for one in benchmark.published))
    at = {(one.system, one.source, one.note, one.task, one.metric): one.value for one in benchmark.published}
    table = [["system", *(f"{task}, {metric}" for task, metric in columns), "source"]]
    for system in systems:
        values = [at.get((*system, *column)) for column in columns]
        cells = ["-" if value is None else f"{value:g}" for value in values]
        table.append([system[0], *cells, f"{system[1]}{'. ' + system[2] if system[2] else ''}"])
    return "Measured by others, with other prompts and code.\n\n" + markdown(table)


def _tasks(rows: Sequence[TaskRow]) -> list[str]:
    return list(dict.fromkeys(row.task for row in rows))


def _cell(score: Score | None) -> str:
    if score is None or math.isnan(score.value):
        return "-"
    if math.isnan(score.low):
        return f"{score.value:.1f}"
    return f"{score.value:.1f} [{score.low:.1f}, {score.high:.1f}]"


def _constant(constant: Any) -> str:
    return "-" if constant is None or math.isnan(constant.value) else f"{constant.value:.1f} ({constant.reply!r:.40})"


def _reasons(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "0"


def _count(count: int | None) -> str:
    return "unknown" if count is None else str(count)
