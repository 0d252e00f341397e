"""`python experiments/run.py compare -c digits.yaml`: the tables of an experiment file's `compare` section."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from speech_xl.evaluation.comparison import Comparison
from speech_xl.run.command import place_of_runs
from speech_xl.run.comparison import run_comparison
from speech_xl.run.config_files import check_overlay, find_config
from speech_xl.run.configs import ConfigError, check_flags
from speech_xl.run.experiment import COMPARE, ConfigFile, Experiment
from speech_xl.run.given import remarks_about
from speech_xl.run.run_folder import RunFolder
from speech_xl.run.words import split_configs, take, take_switch

USAGE = """\
Compare the stages of an experiment: error rates and answers of all ways to keep less, on the same sessions.

  python experiments/run.py compare -c digits.yaml                 every table of its `compare` section
  python experiments/run.py compare -c digits.yaml --only words    one of them
  python experiments/run.py compare -c digits.yaml --sessions 4    keys of a table, laid over what the file says

Stages that a table names must be finished: `fit -c digits.yaml` trains them. Each table becomes NAME.md, .csv, .json
and .png in RUNS/EXPERIMENT/compare. Answers are kept beside them: a comparison that was broken off goes on.

  --only TABLE            one table
  --out DIR               another folder for the files
  --device cpu|cuda       (a GPU where there is one)
  --runs DIR, --variant NAME, -c OVERLAY, --rehearse     as of `fit`; a rehearsal asks one session
"""


def compare(argv: list[str], experiments: Path) -> list[Path]:
    """Carry out the comparisons that a command asks for; the JSON files written.

    Raises ConfigError where a table, a key or a stage isn't there, or a stage isn't finished.
    """
    names, flags = split_configs(argv)
    if any(flag in ("-h", "--help") for flag in flags):
        print(USAGE + "\n" + str(Comparison.__doc__))
        return []
    if not names:
        raise ConfigError(
            "compare: of which experiment? Begin with its file, such as -c digits.yaml. See compare --help"
        )
    first, *overlays = (ConfigFile.read(find_config(name, experiments)) for name in names)
    for overlay in overlays:
        check_overlay(overlay)
    experiment = Experiment(first, overlays)
    only, out, device = (take(flags, name, None) for name in ("--only", "--out", "--device"))
    rehearses = take_switch(flags, "--rehearse")
    runs, variant = place_of_runs(flags, experiment, names, rehearses)
    check_flags(flags)
    entries = experiment.comparisons
    if only is not None and only not in entries:
        raise ConfigError(f"--only: {first.path} has no table {only!r}; there are {', '.join(entries) or 'none'}")
    given = ({"sessions": 1} if rehearses else {}) | _keys(flags)
    wanted = list(entries) if only is None else [only]
    if not wanted:
        raise ConfigError(f"{first.path}: has no `{COMPARE}` section; docs/experiments_files.md says how to write one")
    comparisons = comparisons_of(experiment, wanted, given)
    folders = {name: runs / variant / name for name in experiment.stages}
    needed = dict.fromkeys(stage for one in comparisons for stage in one.needed)
    if missing := [name for name in needed if not RunFolder(folders[name]).weights.is_file()]:
        configs = " ".join(f"-c {shlex.quote(name)}" for name in names)
        raise ConfigError(f"compare: {', '.join(missing)} isn't finished; train it with: fit {configs}")
    for one in comparisons:
        one.installed()  # raises where a table names a method whose package is missing
    written = []
    folder = Path(out) if out is not None else runs / variant / "compare"
    for one in comparisons:
        words = [word for name in names for word in ("-c", Path(name).name)]
        command = shlex.join(["python", "experiments/run.py", "compare", *words, "--only", one.name, *flags])
        remarks = [line for name in one.needed for line in remarks_about(experiment.stages[name], folders[name])]
        written.append(run_comparison(one, folders, folder, command=command, device=device, remarks=remarks))
        print(f"written: {written[-1]}", f"table: {folder / one.name}.md", sep="\n")
    return written


def comparisons_of(
    experiment: Experiment, names: list[str] | None = None, over: Mapping[str, Any] | None = None
) -> list[Comparison]:
    """Tables of an experiment, checked. Raises ConfigError with file and line.

    over: keys that are otherwise than in the file
    """
    made = []
    for name, entry in experiment.comparisons.items():
        if names is not None and name not in names:
            continue
        try:
            made.append(Comparison.of(name, entry | dict(over or {}), experiment.stages))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{_place(experiment, name, str(error))}: {error}") from error
    return made


def _place(experiment: Experiment, table: str, message: str) -> str:
    """``FILE:LINE`` of the key that a message begins with."""
    found = re.match(rf"compare\.{re.escape(table)}\.(\w+)", message)
    keys = [(table, found.group(1)), (table,)] if found else [(table,)]
    for place in keys:
        for file in (*reversed(experiment.overlays), experiment.file):
            if (node := file.comparisons.value(*place)) is not None:
                return file.comparisons.place(node)
    return str(experiment.file.path)


def _keys(flags: list[str]) -> dict[str, Any]:
    """Flags as keys of a table: ``--sessions 4`` -> {"sessions": 4}."""
    known = [one.name for one in fields(Comparison) if one.name != "name"]
    rest, keys = list(flags), {}
    for name in known:
        value = take(rest, f"--{name}", None)
        if value is not None:
            keys[name] = yaml.safe_load(value)
    if rest:
        raise ConfigError(f"compare: {rest[0]}: there is no such option; there are --{', --'.join(known)}. See --help")
    return keys
