"""The page of a benchmark's scores for people: tables of Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from speech_xl.evaluation.benchmarks.profile import Benchmark, Profile, Score
from speech_xl.evaluation.benchmarks.rows import Average, TaskRow
from speech_xl.evaluation.tables import markdown


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
        beyond_text(rows),
        seconds_text(scores),
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
                "-" if row.cut is None else str(row.cut),
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
    sources = list(dict.fromkeys((one.source, one.note) for one in benchmark.published))
    systems = list(dict.fromkeys((one.system, (one.source, one.note)) for one in benchmark.published))
    at = {(one.system, (one.source, one.note), one.task, one.metric): one.value for one in benchmark.published}
    table = [["system", *(f"{task}, {metric}" for task, metric in columns), "source"]]
    for system, source in systems:
        values = [at.get((system, source, *column)) for column in columns]
        cells = ["-" if value is None else f"{value:g}" for value in values]
        table.append([system, *cells, str(sources.index(source) + 1)])
    listed = "\n".join(f"{n}. {source}{'. ' + note if note else ''}" for n, (source, note) in enumerate(sources, 1))
    return f"Measured by others, with other prompts and code.\n\n{markdown(table)}\n\nSources:\n\n{listed}"


def seconds_text(scores: Mapping[str, Any]) -> str:
    """Seconds given and heard, in a sentence."""
    given, heard = scores["audio_seconds"], scores["heard_seconds"]
    known = "not recorded" if heard is None else f"{heard:.1f} s"
    return f"Audio of all sessions, failed ones too: {given:.1f} s. Heard by the LLM: {known}."


def beyond_text(rows: Sequence[TaskRow]) -> str:
    """A warning about answers beyond the LLM's context; empty where there are none."""
    beyond = sum(row.beyond_context for row in rows)
    if not beyond:
        return ""
    return f"**{beyond} answers are about audio of more positions than the LLM was made for: don't trust them.**"


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
