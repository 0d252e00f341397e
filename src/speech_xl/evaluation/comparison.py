"""Comparison: which stages and compressors are set side by side, as a `compare:` entry of an experiment file says it.

``run.comparison.run_comparison`` carries it out; nothing here loads a model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from speech_xl.checks import whole
from speech_xl.data.tasks import SCORED, TASKS
from speech_xl.evaluation.compressors.registry import REGISTRY, ROLES, Registered, find
from speech_xl.model.ratios import check_ratios

SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Answering:
    """One row of the table, answered by one stage; several stages of a row are several seeds.

    row     its name in the table
    stage   whose weights answer
    method  the compressor; None: the stage's own
    """

    row: str
    stage: str
    method: Registered | None = None


@dataclass(frozen=True)
class Comparison:
    """What is compared, on which sessions.

    name       of the table and its files
    base       stages without compression, for whatever needs no training; several stages are several seeds
    sst        stages with SSTs interleaved
    appended   stages with SSTs appended
    pooled     stages of `MeanPooling`
    rows       name of a row -> stages, each with its own weights, data and way to compress, such as ablations. Each row
               has as many stages as the others: seeds in the same order
    baseline   the row that the others' differences are to: "SSTs", or a row of `rows`
    methods    compressors of the registry to run; empty: all whose stages are given
    tasks      that are asked
    ratios     speech frames per KV token kept; 1 is for SSTs and `rows` alone
    split      "test" or "dev"
    sessions   how many of the split, spread over it; None: all
    questions  the most that are asked about a session
    data       dotted key of the stages' `data` -> value that is otherwise here than in training
    whisper    hub name or folder of a Whisper model whose own decoder transcribes too; None: none
    together   sessions asked at once where a compressor can; 1 measures seconds and peaks
    summary    key -> name of a row, for the record's summary: `sst: SSTs` becomes sst_4x, sst_8x and so on. The values
               are means over seeds in percent: WER, or answers right where `tasks` begins with qa. Empty: rates of all
               methods as shares
    """

    name: str
    base: Sequence[str] = ()
    sst: Sequence[str] = ()
    appended: Sequence[str] = ()
    pooled: Sequence[str] = ()
    rows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    baseline: str | None = None
    methods: Sequence[str] = ()
    tasks: Sequence[str] = ("asr", "qa")
    ratios: Sequence[int] = (2, 4, 8, 16)
    split: str = "test"
    sessions: int | None = None
    questions: int = 8
    data: Mapping[str, Any] = field(default_factory=dict)
    whisper: str | None = None
    together: int = 1
    summary: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, entry: Mapping[str, Any], stages: Collection[str]) -> Comparison:
        """From a `compare:` entry of a file with these stages.

        Raises ValueError, which begins with the key, for an unknown key, stage, compressor, task or split, for a value
        out of range, and for a compressor whose stage isn't given.
        """
        where = f"compare.{name}"
        if not isinstance(entry, Mapping):
            raise ValueError(f"{where}: got {entry!r}; give a mapping, such as {{base: stage2, sst: stage3}}")
        known = [one.name for one in fields(cls) if one.name != "name"]
        if unknown := [key for key in entry if key not in known]:
            raise ValueError(f"{where}.{unknown[0]}: there is no such key; there are {', '.join(known)}")
        given = {key: value for key, value in entry.items() if value is not None}
        for role in ROLES:
            if role in given:
                given[role] = _listed(given[role])
        for key in ("methods", "tasks"):
            if key in given:
                given[key] = _listed(given[key])
        if "rows" in given:
            if not isinstance(given["rows"], Mapping):
                raise ValueError(f"{where}.rows: got {given['rows']!r}; give a mapping from a row's name to its stages")
            given["rows"] = {str(row): _listed(some) for row, some in given["rows"].items()}
        for key, what in (("data", "dotted keys to values"), ("summary", "keys to names of rows")):
            if not isinstance(given.get(key, {}), Mapping):
                raise ValueError(f"{where}.{key}: got {given[key]!r}; give a mapping from {what}")
        made = cls(name, **given)
        made._check(where, stages)
        return made

    def _check(self, where: str, stages: Collection[str]) -> None:
        if not re.fullmatch(r"[a-z0-9_]+", self.name):
            raise ValueError(f"{where}: use lower case letters, digits and underscores; it becomes a file name")
        named = {role: getattr(self, role) for role in ROLES} | {f"rows.{row}": some for row, some in self.rows.items()}
        for key, some in named.items():
            for stage in some:
                if stage not in stages:
                    raise ValueError(f"{where}.{key}: there is no stage {stage!r}; there are {', '.join(stages)}")
        check_ratios(self.ratios, f"{where}.ratios")
        for task in self.tasks:
            if task not in TASKS:
                raise ValueError(f"{where}.tasks: there is no task {task!r}; there are {', '.join(TASKS)}")
        if self.split not in SPLITS:
            raise ValueError(f"{where}.split: got {self.split!r}; give one of {', '.join(SPLITS)}")
        if self.sessions is not None:
            whole(f"{where}.sessions", self.sessions, least=1)
        whole(f"{where}.questions", self.questions, least=1)
        whole(f"{where}.together", self.together, least=1)
        for name in self.methods:
            line = find(name, f"{where}.methods")
            if not getattr(self, line.weights):
                raise ValueError(
                    f"{where}.methods: {line.name!r} needs a stage of its own; give {where}.{line.weights}"
                )
        if not self.answering:
            raise ValueError(f"{where}: nothing to compare; give stages ({', '.join(ROLES)}) or rows")
        counts = {row: len(some) for row, some in self.rows.items()}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            raise ValueError(
                f"{where}.rows: rows are compared seed by seed, and have {counts} stages; give all as many"
            )
        rows = list(dict.fromkeys(one.row for one in self.answering))
        if twice := [row for row in self.rows if any(line.name == row for line in REGISTRY)]:
            raise ValueError(f"{where}.rows.{twice[0]}: a compressor has this name; give the row another")
        if self.baseline is not None and self.baseline not in rows:
            raise ValueError(f"{where}.baseline: there is no row {self.baseline!r}; there are {', '.join(rows)}")
        self._check_summary(f"{where}.summary", rows)

    def _check_summary(self, where: str, rows: Sequence[str]) -> None:
        for key, row in self.summary.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", str(key)):
                raise ValueError(f"{where}: got the key {key!r}; use lower case letters, digits and underscores")
            if row not in rows:
                raise ValueError(f"{where}.{key}: there is no row {row!r}; there are {', '.join(rows)}")
        if self.summary and not set(self.tasks) & set(SCORED):
            raise ValueError(
                f"{where}: none of the tasks {', '.join(self.tasks)} has a rate; add {' or '.join(SCORED)}"
            )
        counts = {row: sum(one.row == row for one in self.answering) for row in self.summary.values()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"{where}: its rows have {counts} stages; give all as many seeds")

    @property
    def chosen(self) -> list[Registered]:
        """The compressors to run, in the registry's order; behind them settings that have no line there."""
        named = {line.name: line for line in (find(name, "methods") for name in self.methods)}
        lines = [line for line in REGISTRY if getattr(self, line.weights) and (not named or line.name in named)]
        known = {line.name for line in REGISTRY}
        return lines + [line for name, line in named.items() if name not in known]

    @property
    def answering(self) -> list[Answering]:
        """Which stage answers for which row, in the table's order; a row's stages in their own."""
        own = [Answering(row, stage) for row, some in self.rows.items() for stage in some]
        return own + [
            Answering(line.name, stage, line) for line in self.chosen for stage in getattr(self, line.weights)
        ]

    @property
    def differs_from(self) -> str:
        """The row that the others are compared with."""
        return self.baseline or next(iter(self.rows), "SSTs")

    @property
    def task(self) -> str:
        """The task whose rate the summary holds and methods are ranked by: the first in `tasks` that has one."""
        return next((task for task in self.tasks if task in SCORED), SCORED[0])

    @property
    def needed(self) -> list[str]:
        """The stages that must be trained before."""
        return list(dict.fromkeys(one.stage for one in self.answering))

    def installed(self) -> tuple[Comparison, list[str]]:
        """The comparison without compressors whose extra isn't installed, and a sentence about them, if any.

        Raises ImportError with the remedy where `methods` names such a compressor.
        """
        kept, missing = [], []
        for line in self.chosen:
            try:
                line.check_installed()
                kept.append(line.name)
            except ImportError:
                if self.methods:
                    raise
                missing.append(line)
        if not missing:
            return self, []
        names, extras = (
            ", ".join(line.name for line in missing),
            ",".join(sorted({str(line.extra) for line in missing})),
        )
        told = f"Left out, since their package isn't installed: {names}. Install it with pip install -e '.[{extras}]'."
        return replace(self, methods=tuple(kept)), [told]


def _listed(value: Any) -> tuple[Any, ...]:
    """One or several, as several."""
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
