"""Commands taken apart. Needs no torch, so that mistakes show at once.

The first config of a command is a stage or an experiment file, the others are overlays. A stage writes to
``RUNS/VARIANT/STAGE``; the variant is named after the overlays, and of an experiment file after that as well.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speech_xl.run.config_files import NamedConfigs, ancestors, config_of_stage, none_of, stage_of
from speech_xl.run.configs import ConfigError, check_flags, folder_name, read_config
from speech_xl.run.experiment import ConfigFile, Experiment, Stage
from speech_xl.run.layers import ELSEWHERE, Layer, layer_of, with_class, with_folders
from speech_xl.run.run_folder import CONFIG, LAST, WEIGHTS, RunFolder
from speech_xl.run.words import split_configs, take, take_switch
from speech_xl.storage.hub_folder import is_hub_folder, weights_file

__all__ = ["CONFIG", "LAST", "SUBCOMMANDS", "WEIGHTS", "Command", "ConfigError", "parse_command", "read_config"]

SUBCOMMANDS = ("fit", "validate", "test", "predict")
REHEARSAL = {"trainer.max_steps": 2, "trainer.val_check_interval": 2, "data.limit_dev": 1, "data.excerpt": "null"}
"""Flags that --rehearse lays over every stage: a few steps of everything, before hours are spent on it."""


@dataclass
class Command:
    """A command line about one stage, taken apart."""

    subcommand: str
    configs: list[Path]
    flags: list[str]  # everything else, in order
    stage: str
    variant: str
    runs: Path
    init_from: str | None  # of an experiment file's stage: the weights file; else as a config or the command says it
    config_names: list[str] = field(default_factory=list)  # the configs as the user wrote them
    init_from_cli: bool = False  # whether init_from is the command line's rather than a config's
    resumes_last: bool = False  # whether it goes on from whatever the run has that is whole (--ckpt_path last)
    overwrite: bool = False  # train a finished stage anew
    force: bool = False  # let weights be used with other settings than they were trained with
    # what the configs say about the stage, the later over the earlier
    layers: list[Layer] = field(default_factory=list)
    of: Stage | None = None  # the stage of the experiment file, where the command has one
    experiment: Experiment | None = None
    words: list[str] = field(default_factory=list)  # of an experiment's command, what all its stages are given
    rehearses: bool = False

    @property
    def folder(self) -> Path:
        return self.runs / self.variant / self.stage

    @property
    def run_folder(self) -> RunFolder:
        return RunFolder(self.folder)

    @property
    def not_yet(self) -> list[Path]:
        """Folders of stages that this one needs and that aren't finished."""
        folders = [RunFolder(self.folder.with_name(name)) for name in (self.of.needs if self.of else ())]
        return [folder.path for folder in folders if not folder.finished]

    @property
    def help_only(self) -> bool:
        """Whether only help or the configuration is wanted."""
        names = {flag.split("=")[0] for flag in self.flags}
        return bool(names & {"--print_config", "--help", "-h"}) or any(name.endswith(".help") for name in names)

    def flag(self, name: str) -> str | None:
        """The last value of ``--name value`` or ``--name=value``."""
        return take(list(self.flags), name, None)

    def argv(self) -> list[str]:
        """Arguments of the parser. It takes a config's text as well as its path."""
        return [self.subcommand, *(arg for layer in self.layers for arg in ("-c", layer.text())), *self.flags]


def parse_command(argv: list[str], experiments: Path) -> Command | None:
    """Take `argv` apart; None where no subcommand or no config is given (LightningCLI then speaks for itself).

    Of an experiment file's stages the one named by --only, or the last.
    """
    commands = parse_commands(argv, experiments)
    return commands[-1] if commands else None


def parse_commands(argv: list[str], experiments: Path) -> list[Command]:
    """The commands that `argv` asks for: one a stage, all of an experiment file's in their order where `fit` has no
    --only. Empty where no subcommand or no config is given."""
    if not argv or argv[0] not in SUBCOMMANDS:
        return []
    names, flags = split_configs(argv[1:])
    if not names:
        return []
    found = NamedConfigs.find(names, experiments)
    if found.benchmarks:
        _check_benchmark(argv[0], found)
    first, overlays, names = found.first, [*found.overlays, *found.benchmarks], found.names
    assert first is not None
    if found.folder is not None:
        flags += _of_folder(argv[0], flags, found.folder)
    if first.sections:
        return _of_experiment(argv, names, flags, Experiment(first, overlays))
    for name in ("--only", "--rehearse"):
        if any(flag.split("=")[0] == name for flag in flags):
            short = "; --trainer.max_steps 2 --trainer.val_check_interval 2 tries it" if name == "--rehearse" else ""
            raise ConfigError(
                f"{name}: is for an experiment file; {first.path} has no `stages`, it is one stage{short}"
            )
    return [_of_stage(argv[0], names, flags, first, overlays, experiments)]


def _check_benchmark(subcommand: str, found: NamedConfigs) -> None:
    """Raise ConfigError where a benchmark is trained on, or no stage is to be asked."""
    path = found.benchmarks[0].path
    if subcommand == "fit":
        raise ConfigError(f"{path}: a benchmark is asked by test, predict or validate; fit trains on `data` of a stage")
    if found.first is None:
        raise ConfigError(
            f"{subcommand}: which stage is asked {path.stem}? Add -c STAGE.yaml, or -c FOLDER of a trained stage"
        )


def _of_folder(subcommand: str, flags: list[str], folder: Path) -> list[str]:
    """What a trained stage's folder says beside its configuration: its weights, and where an evaluation writes: into
    the folder, where it is RUNS/VARIANT/STAGE, else into RUNS/trained."""
    if subcommand == "fit":
        weights = _weights_in(folder)
        raise ConfigError(f"fit -c {folder}: is a trained stage. Train on from it: -c STAGE.yaml --init_from {weights}")
    given = {flag.split("=")[0] for flag in flags}
    runs = Path(take(list(flags), "--runs", "runs"))
    inside = folder.resolve().parent.parent == runs.resolve()
    own = {"--init_from": str(_weights_in(folder)), "--variant": folder.resolve().parent.name if inside else "trained"}
    return [word for name, value in own.items() if name not in given for word in (name, value)]


def _weights_in(folder: Path) -> Path:
    """The weights of a trained stage's folder, a run's or one in the Hugging Face form."""
    return weights_file(folder) if is_hub_folder(folder) else folder / WEIGHTS


def _of_stage(
    subcommand: str,
    names: list[str],
    flags: list[str],
    first: ConfigFile,
    overlays: list[ConfigFile],
    experiments: Path,
) -> Command:
    """The command of a file that is one stage."""
    stage = stage_of(first)
    merged: dict[str, Any] = {}
    for keys in (first.keys, *(overlay.keys for overlay in overlays)):
        merged |= {k: v for k, v in keys.items() if k in ("init_from", "runs", "variant", "model")}
    if "model" not in merged and not any(flag.startswith("--model") for flag in flags):
        raise ConfigError(f"{first.path}: has neither a model nor stages. Begin with a stage, as -c stage1.yaml")
    known, starts = [stage, *ancestors(first, experiments)], []
    for overlay in overlays:
        for name, section in overlay.sections.items():
            if name not in known and config_of_stage(name, first.path, experiments) is None:
                raise ConfigError(
                    f"{section.place}: stages.{name}: there is no such stage; there are {', '.join(known)}"
                )
        if not overlay.speaks_of(stage):
            only = ", ".join(overlay.sections) or "no stage"
            raise ConfigError(f"{overlay.path}: an overlay for {only} alone, and this is {stage}. Leave it out")
        start = overlay.sections[stage].start if stage in overlay.sections else None
        if start is not None:
            merged["init_from"] = start.value
            starts.append(layer_of(overlay.path, {"init_from": none_of(start.value)}))
    runs, variant = _place(flags, merged, names[1:])
    init_from_cli = any(flag.split("=")[0] == "--init_from" for flag in flags)
    init_from = none_of(take(flags, "--init_from", merged.get("init_from")))
    overwrite, force = (take_switch(flags, name) for name in ("--overwrite", "--force"))
    check_flags(flags)
    layers = with_class([first.common, *(layer for overlay in overlays for layer in overlay.over(stage)), *starts])
    paths = [first.path, *(overlay.path for overlay in overlays)]
    command = Command(subcommand, paths, flags, stage, variant, runs, init_from, names, init_from_cli)
    command.overwrite, command.force, command.layers = overwrite, force, layers
    _settle_checkpoint(command)
    return command


def _of_experiment(argv: list[str], names: list[str], flags: list[str], experiment: Experiment) -> list[Command]:
    """The commands of an experiment file: of the stage named by --only, else of all."""
    path = experiment.file.path
    for overlay in experiment.overlays:
        if (node := overlay.common.value("init_from")) is not None:
            raise ConfigError(
                f"{overlay.common.place(node)}: init_from: {path} has several stages; write `from` in one's section"
            )
    only = take(flags, "--only", None)
    if only is None:
        known = ", ".join(experiment.stages)
        if argv[0] != "fit":
            raise ConfigError(f"{argv[0]}: which stage of {path}? Add --only NAME; there are {known}")
        given = {flag.split("=")[0] for flag in flags}
        if found := sorted(given & {"--init_from", "--ckpt_path", "--overwrite", "--print_config"}):
            raise ConfigError(f"{found[0]}: of which stage of {path}? Add --only NAME; there are {known}")
    _ = experiment.comparisons  # what is wrong with them shows now
    wanted = experiment.stages.values() if only is None else [experiment.stage(only)]
    words = _shared(argv[1:])
    rehearses = take_switch(flags, "--rehearse")
    runs, variant = place_of_runs(flags, experiment, names, rehearses)
    init_from_cli = any(flag.split("=")[0] == "--init_from" for flag in flags)
    given_start = none_of(take(flags, "--init_from", None))
    overwrite, force = (take_switch(flags, name) for name in ("--overwrite", "--force"))
    check_flags(flags)
    folders = {name: runs / variant / name for name in experiment.stages}
    paths = [path, *(overlay.path for overlay in experiment.overlays)]
    commands = []
    for stage in wanted:
        start = stage.start if not init_from_cli else given_start
        if start in folders:
            start = str(folders[start] / WEIGHTS)
        elif start is not None and not init_from_cli and ELSEWHERE.fullmatch(start) and not Path(start).is_file():
            start = str(runs / start / WEIGHTS)  # EXPERIMENT/STAGE
        own = list(flags)
        if rehearses and stage.make is None:
            own += [f"--{key}={value}" for key, value in REHEARSAL.items()]
        command = Command(argv[0], paths, own, stage.name, variant, runs, start, names, init_from_cli)
        command.overwrite, command.force = overwrite, force
        command.layers = [with_folders(layer, folders, runs) for layer in stage.layers]
        command.of, command.experiment, command.words, command.rehearses = stage, experiment, words, rehearses
        broken_off = not command.run_folder.finished and any(command.run_folder.last.parent.glob("*.ckpt"))
        if argv[0] == "fit" and broken_off and not command.overwrite and command.flag("--ckpt_path") is None:
            command.flags += ["--ckpt_path", "last"]
        _settle_checkpoint(command)
        commands.append(command)
    return commands


def _shared(words: list[str]) -> list[str]:
    """The words of an experiment's command without those about a single stage."""
    shared = list(words)
    for name in ("--only", "--init_from", "--ckpt_path"):
        take(shared, name, None)
    take_switch(shared, "--overwrite")
    return shared


def place_of_runs(flags: list[str], experiment: Experiment, names: list[str], rehearses: bool) -> tuple[Path, str]:
    """The folder of all runs and the variant, for an experiment's stages; their flags are taken out."""
    merged: dict[str, Any] = {}
    for file in (experiment.file, *experiment.overlays):
        merged |= {k: v for k, v in file.keys.items() if k in ("runs", "variant")}
    runs, variant = _place(flags, merged, names)
    return runs / "rehearsal" if rehearses else runs, variant


def _place(flags: list[str], merged: dict[str, Any], names: list[str]) -> tuple[Path, str]:
    """The folder of all runs and the variant, out of flags or configs; by default named after these configs."""
    variant = take(flags, "--variant", merged.get("variant"))
    variant = variant or "+".join(Path(name).stem for name in names) or "default"
    runs = Path(take(flags, "--runs", merged.get("runs")) or "runs")
    return runs, folder_name("--variant", variant)


def _settle_checkpoint(command: Command) -> None:
    """``--ckpt_path last`` to its path; a path must be there before anything is made."""
    path = take(command.flags, "--ckpt_path", None)
    if path in (None, "null"):
        return
    command.resumes_last = path == "last"
    path = command.folder / LAST if command.resumes_last else Path(path)
    others = sorted(path.parent.glob("*.ckpt"), key=lambda one: one.stat().st_mtime) if command.resumes_last else []
    if others and not path.exists():
        print(f"{path} is missing: going on from {others[-1]}, the newest that is there", file=sys.stderr)
        path = others[-1]
    if not path.exists() and not command.help_only:
        raise ConfigError(f"--ckpt_path {path}: no such checkpoint. Leave --ckpt_path out to start the stage over.")
    command.flags += ["--ckpt_path", str(path)]
