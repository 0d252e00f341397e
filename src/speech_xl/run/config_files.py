"""Configs found by name: stages, experiment files, overlays, benchmarks, and folders of trained stages. Needs no torch
but for a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from speech_xl.run.configs import ConfigError, folder_name
from speech_xl.run.experiment import ConfigFile
from speech_xl.run.layers import layer_of

BENCHMARK = "benchmark"  # the key of an overlay that asks a benchmark's items


@dataclass(frozen=True)
class NamedConfigs:
    """The configs of a command, by what they are.

    names       as the user wrote them, without benchmarks
    first       a stage, an experiment file, or a trained stage's folder read as a stage; None where there is none
    overlays    over it, in order
    benchmarks  overlays that ask a benchmark's items; they lie over all others, wherever they stand, and name no run
    folder      of the trained stage, where `first` is one
    """

    names: list[str]
    first: ConfigFile | None
    overlays: list[ConfigFile]
    benchmarks: list[ConfigFile]
    folder: Path | None = None

    @classmethod
    def find(cls, names: Sequence[str], experiments: Path) -> NamedConfigs:
        """Raises ConfigError for a config that isn't there, can't be read, or stands where it can't be used."""
        benchmarks, kept, files, folder = [], [], [], None
        for name in names:
            if Path(name).is_dir():
                if kept:
                    raise ConfigError(f"-c {name}: the folder of a trained stage stands first, before overlays")
                folder = Path(name)
                files.append(trained_stage(folder))
            else:
                file = ConfigFile.read(find_config(name, experiments))
                if file.common.value(BENCHMARK) is not None:
                    benchmarks.append(file)
                    continue
                files.append(file)
            kept.append(name)
        if len(benchmarks) > 1:
            both = " and ".join(str(file.path) for file in benchmarks)
            raise ConfigError(f"{both}: two benchmarks; ask one at a time")
        for overlay in files[1:]:
            check_overlay(overlay)
        return cls(kept, files[0] if files else None, files[1:], benchmarks, folder)


def trained_stage(folder: Path) -> ConfigFile:
    """A trained stage's folder as the config of a stage: its model, its partition, its transcripts; no corpus."""
    from speech_xl.run.trained_stage import TrainedStage  # torch comes with it

    stage = TrainedStage.of(folder)
    return ConfigFile(stage.source, layer_of(stage.source, stage.as_config()), {}, layer_of(stage.source, {}))


def find_config(name: str, experiments: Path) -> Path:
    """A config by path or bare name: the working directory first, then experiments/."""
    for path in (Path(name), experiments / name):
        if path.is_file():
            return path
    if not experiments.is_dir():
        raise ConfigError(
            f"config {name}: not in {Path.cwd()}. Stages and experiment files come with the repository: clone it and "
            "run this there, or name a config of your own (docs/experiments_files.md)"
        )
    found = (str(p.relative_to(experiments)) for p in experiments.rglob("*.yaml") if p.name != "config.yaml")
    known = "\n  ".join(sorted(found, key=lambda one: (one.count("/"), one)))  # stages first
    raise ConfigError(f"config {name}: neither in {Path.cwd()} nor in {experiments}. There are:\n  {known}")


def stage_of(file: ConfigFile) -> str:
    """The name of a file's stage: what it says, or the file's own name."""
    node = file.common.value("stage")
    if node is not None and not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{file.common.place(node)}: stage: give a name; sections of stages stand below `stages`")
    return folder_name(f"{file.path}: stage", node.value if node is not None else file.path.stem)


def config_of_stage(name: str, beside: Path, experiments: Path) -> Path | None:
    """The config of the stage `name`: beside another config, else where configs are looked for. None where `name` is no
    stage, but a path."""
    if Path(name).name != name:
        return None
    places = (beside.parent, Path(), experiments)
    return next((place / f"{name}.yaml" for place in places if (place / f"{name}.yaml").is_file()), None)


def ancestors(file: ConfigFile, experiments: Path) -> list[str]:
    """Names of the stages that a file's stage comes from, as the configs say it."""
    found: list[str] = []
    while (start := none_of(file.keys.get("init_from"))) is not None:
        path = config_of_stage(start, file.path, experiments)
        if path is None or path.resolve() == file.path.resolve():
            break
        file = ConfigFile.read(path)
        if stage_of(file) in found:
            break
        found.append(stage_of(file))
    return found


def none_of(value: Any) -> str | None:
    return None if value in (None, "null", "None", "") else str(value)


def check_overlay(overlay: ConfigFile) -> None:
    """Raise ConfigError where an overlay is a stage or an experiment of its own."""
    if (node := overlay.common.value("stage")) is not None:
        raise ConfigError(
            f"{overlay.common.place(node)}: stage: begin the command with a stage; what an overlay says about one "
            "stage alone stands in it below stages: {NAME: {...}}"
        )
    for name, section in overlay.sections.items():
        if section.like is not None or section.make is not None:
            raise ConfigError(
                f"{section.place}: stages.{name}: an overlay makes no stages, so like and make stand in the file "
                "that it lies over; take them out, or begin the command with this file"
            )
