"""Sections that stand on a page once their record is there: comparisons trained alike, default stages, windows.

A section is heading, table and the sentences that a record itself can say. Without its record it is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean, stdev
from typing import Any, Literal

from experiments.tables.markdown import PERCENT, POINTS, table
from experiments.tables.methods import FULL_KV, SHOWN, TRAINING_FREE
from experiments.tables.records import record, recorded, rows

Task = Literal["asr", "qa"]
RATIOS = (1, 4, 8, 16)
SSTS, POOLED = "SSTs", "mean pooling, trained"
LINES = {  # row of the record -> label
    FULL_KV: FULL_KV,
    SSTS: "SSTs",
    "SSTs as in Speech-XL": "SSTs as in Speech-XL",
    "SSTs appended": "SSTs appended",
    POOLED: "mean pooling, trained alike",
}
FIGURE = {"asr": "wer", "qa": "qa_accuracy"}
TITLE = {"asr": "WER, %", "qa": "questions right, %"}
DIFFERENCE = {"asr": "more_errors", "qa": "more_right"}
ERRORS = {"asr": "fewer errors", "qa": "fewer wrong answers"}


def once_recorded(names: str | Sequence[str], write: Callable[[], str], title: str = "") -> Callable[[], str]:
    """The text under a heading where one of the records is there, else nothing."""
    every = (names,) if isinstance(names, str) else names

    def made() -> str:
        if not any(map(recorded, every)):
            return ""
        return f"## {title}\n\n{write()}" if title else write()

    return made


def fair(name: str, task: Task) -> Callable[[], str]:
    """Ways to keep less that were trained alike, mean and deviation over seeds; SSTs against mean pooling, paired."""

    def write() -> str:
        found = rows(name)
        free = [_best_free(found, ratio, task) for ratio in RATIOS]
        values = {label: [_values(found, method, ratio, task) for ratio in RATIOS] for method, label in LINES.items()}
        values = {label: cells for label, cells in values.items() if any(cells)}
        named = dict.fromkeys(SHOWN.get(method, method) for method, _ in filter(None, free))
        if named:
            run = len({method for method, _ in found if method in TRAINING_FREE})
            values[f"best of {run} training-free ({'; '.join(named)})"] = [one[1] if one else [] for one in free]
        best = [_best([cells[n] for label, cells in values.items() if label != FULL_KV], task) for n in range(4)]
        body = [
            [
                label,
                *(
                    _cell(cell, ratio > 1 and center(cell) == top)
                    for cell, ratio, top in zip(cells, RATIOS, best, strict=True)
                ),
            ]
            for label, cells in values.items()
        ]
        if {LINES[SSTS], LINES[POOLED]} <= values.keys():
            body += [_paired(found, task), _relative(values, task)]
        return table([TITLE[task], *(f"{ratio}x" for ratio in RATIOS)], body) + "\n\n" + _said(name)

    return write


def fair_seeds(name: str, task: Task) -> Callable[[], str]:
    """Each training of the methods by itself, and the paired difference of each seed."""

    def write() -> str:
        found, body = rows(name), []
        for method, label in LINES.items():
            cells = [_values(found, method, ratio, task) for ratio in RATIOS]
            for seed in range(max(map(len, cells))):
                body.append([f"{label}, seed {seed + 1}", *(_seed(cell, seed) for cell in cells)])
        if task == "asr":
            every = [found.get((POOLED, ratio), {}).get("more_errors_by_seed") or [] for ratio in RATIOS]
            for seed in range(max(map(len, every))):
                cells = [POINTS.number(one[seed]) if seed < len(one) else "" for one in every]
                body.append([f"paired: mean pooling minus SSTs, seed {seed + 1}, points", *cells])
        return table([TITLE[task], *(f"{ratio}x" for ratio in RATIOS)], body)

    return write


def mechanism(name: str) -> Callable[[], str]:
    """Stage 3 with one choice changed: mean and deviation over seeds at each ratio, paired differences to the first."""

    def write() -> str:
        found, every = rows(name), RATIOS[1:]
        names = list(dict.fromkeys(method for method, _ in found))
        columns = [[_values(found, method, ratio, "asr") for method in names] for ratio in every]
        best = [_best(column, "asr") for column in columns]
        body = []
        for place, method in enumerate(names):
            cells = [
                _cell(column[place], center(column[place]) == top) for column, top in zip(columns, best, strict=True)
            ]
            body.append([method, *cells, *(_difference(found.get((method, ratio), {}), "asr") for ratio in every)])
        header = ["changed", *(f"WER, {ratio}x" for ratio in every), *(f"points, {ratio}x" for ratio in every)]
        return table(header, body) + "\n\n" + _said(name)

    return write


def default() -> str:
    """WER and answers right of the default stages by ratio, and the time that they took."""
    summary = record("default")["summary"]
    every = sorted({int(key[4:-1]) for key in summary if key.startswith("wer_") and key.endswith("x")})
    body = [[f"{ratio}x", *(_of_summary("default", f"{key}_{ratio}x") for key in ("wer", "qa"))] for ratio in every]
    said = (
        f"{_capital(record('default')['data'])}. Training all stages took {summary['all_stages_minutes']:.0f} minutes."
    )
    return table(["ratio", "WER, %", "questions right, %"], body) + "\n\n" + said


def gains() -> str:
    """The default stages and the comparisons of transcripts in a few lines, of those records that are there."""
    body = []
    if recorded("default"):
        cells = [_of_summary("default", f"wer_{ratio}x", interval=False) for ratio in RATIOS]
        body.append(["default stages, synthetic speech", *cells])
    for name, speech in (("fair_digits", "spoken digits"), ("fair_read_speech", "read speech")):
        if not recorded(name):
            continue
        for key, label in (("full", "full KV"), ("sst", "SSTs"), ("pooled", "mean pooling, trained alike")):
            body.append([f"{speech}, {label}", *(_of_summary(name, f"{key}_{ratio}x") for ratio in RATIOS)])
    return table(["WER on test sessions, %", *(f"{ratio}x" for ratio in RATIOS)], body)


def windows() -> str:
    """One long answer and windows side by side: WER and seconds."""
    found = record("windows")
    body = [
        [
            f"{row['audio']} ({row['sessions']})",
            *(f"{row[key]:.1f}" for key in ("wer_one", "wer_windows")),
            *(f"{row[key]:,.0f}" for key in ("heard_seconds", "decode_seconds_one", "decode_seconds_windows")),
            f"{row['decode_seconds_one'] / row['decode_seconds_windows']:.1f}",
        ]
        for row in found["rows"]
    ]
    header = ["WER, %: one answer", "windows", "hearing, s", "writing, s: one answer", "windows", "faster, times"]
    return table(["audio (number)", *header], body) + f"\n\n{_capital(found['data'])}."


def windows_blocks() -> str:
    """The hour by blocks of ten minutes."""
    body = [
        [row["minutes"], *(f"{row[key]:.1f}" for key in ("wer_one", "wer_windows"))]
        for row in record("windows")["blocks"]
    ]
    return table(["minutes of the hour", "WER, %: one answer", "windows"], body)


def center(values: Sequence[float]) -> float | None:
    """The mean, as it is shown."""
    return round(100 * mean(values), 1) if values else None


def _values(found: dict[tuple[str, int], dict[str, Any]], method: str, ratio: int, task: str) -> list[float]:
    """Rates of the seeds."""
    return [one for one in found.get((method, ratio), {}).get(f"{FIGURE[task]}_by_seed") or [] if one is not None]


def _best(cells: Sequence[Sequence[float]], task: str) -> float | None:
    known = [value for value in map(center, cells) if value is not None]
    return (min if task == "asr" else max)(known) if len(known) > 1 else None


def _best_free(found: dict[tuple[str, int], dict[str, Any]], ratio: int, task: str) -> tuple[str, list[float]] | None:
    every = {method: _values(found, method, ratio, task) for method in TRAINING_FREE}
    known = {method: values for method, values in every.items() if values}
    return (min if task == "asr" else max)(known.items(), key=lambda one: mean(one[1])) if known else None


def _cell(values: Sequence[float], bold: bool = False) -> str:
    if not values:
        return ""
    text = PERCENT.number(mean(values))
    text += f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"**{text}**" if bold else text


def _seed(values: Sequence[float], seed: int) -> str:
    return PERCENT.number(values[seed]) if seed < len(values) else ""


def _difference(row: dict[str, Any], task: str) -> str:
    key = DIFFERENCE[task]
    return POINTS.cell([(row[key], row.get(f"{key}_low"), row.get(f"{key}_high"))]) if row.get(key) is not None else ""


def _paired(found: dict[tuple[str, int], dict[str, Any]], task: str) -> list[str]:
    cells = [_difference(found.get((POOLED, ratio), {}), task) for ratio in RATIOS]
    return ["paired: mean pooling minus SSTs, points", *cells]


def _relative(values: dict[str, list[list[float]]], task: str) -> list[str]:
    """By how many percent SSTs make fewer errors than mean pooling."""
    cells = []
    for ours, pooled in zip(values[LINES[SSTS]], values[LINES[POOLED]], strict=True):
        errors = [mean(one) if task == "asr" else 1 - mean(one) for one in (ours, pooled) if one]
        cells.append(f"{100 * (1 - errors[0] / errors[1]):.0f}" if len(errors) == 2 and errors[1] else "")
    return [f"{ERRORS[task]} of SSTs than of mean pooling, %", *cells]


def _of_summary(name: str, key: str, interval: bool = True) -> str:
    """A figure of a summary, which is a share unless the record's unit says percent."""
    found = record(name)
    factor = 1.0 if "%" in found.get("unit", "") else 100.0
    known = [found["summary"].get(one) for one in (key, f"{key}_low", f"{key}_high")]
    if known[0] is None:
        return ""
    text = f"{known[0] * factor:.1f}"
    return text if None in known or not interval else f"{text} [{known[1] * factor:.1f}, {known[2] * factor:.1f}]"


def _said(name: str) -> str:
    """What the numbers rest on, of the record of a comparison."""
    found = record(name)
    seeds = max(row.get("seeds", 1) for row in found["rows"])
    spread = f"{seeds} trainings of each row: mean ± sample standard deviation. " if seeds > 1 else ""
    cut = "; differences of WER are of hypotheses cut at 1.2 times the words of the reference"
    spoken = any(row.get("wer") is not None for row in found["rows"])
    brackets = f"Brackets: 95 % interval of a paired bootstrap over sessions, seeds together{cut if spoken else ''}."
    chosen = " The best training-free method is chosen by these sessions, at each ratio."
    free = any(row["method"] in TRAINING_FREE for row in found["rows"])
    return f"{_capital(found['data'])}. {spread}{brackets}{chosen if free else ''}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
