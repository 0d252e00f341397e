"""Stages chained like Make: what a stage starts from, and the stages that have to be trained before it.

`fit` trains the stage it starts from first where that one isn't finished; of an experiment file it trains all that is
missing. Nothing is trained before the commands of all of them are known, parsed and made without weights (`check.py`).
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from speech_xl.run.command import Command, parse_command
from speech_xl.run.config_files import config_of_stage, find_config, stage_of
from speech_xl.run.configs import ConfigError
from speech_xl.run.experiment import ConfigFile
from speech_xl.run.given import check_given
from speech_xl.run.run_folder import RunFolder
from speech_xl.run.signals import EARLY, run_command
from speech_xl.run.words import flags_with_values

# Flags that an earlier stage takes over too, and all below them: what is heard, what hears, and on which machine.
PASSED_ON = (
    "--data.corpus",
    "--data.cache_dir",
    "--data.transcript",
    "--data.partition",
    "--data.num_workers",
    "--data.seed",
    "--model.encoder",
    "--model.adapter",
    "--model.llm",
    "--model.frame_code",
    "--model.init_args.encoder",
    "--model.init_args.adapter",
    "--model.init_args.llm",
    "--model.init_args.frame_code",
    "--trainer.accelerator",
    "--trainer.devices",
    "--trainer.num_nodes",
    "--trainer.precision",
    "--trainer.strategy",
    "--seed_everything",
)


def pending(commands: list[Command], experiments: Path) -> list[Command]:
    """The commands of `fit` that have to run, in order: of all that `commands` need, those that aren't finished.

    The last one is run by this process. A single stage that is finished is in it too: whether it may be trained anew is
    decided by `claimed`. Raises ConfigError where a start is missing.
    """
    goal = commands[-1]
    if goal.experiment is None:
        return [*untrained(goal, experiments), goal]
    wanted = [command.stage for command in commands]
    found = []
    for name in goal.experiment.needed_for(wanted):
        own = name in wanted
        command = commands[wanted.index(name)] if own else _of_experiment(goal, name, experiments)
        again = own and (command.overwrite or command.flag("--ckpt_path") is not None)
        if not again and command.run_folder.finished:
            check_given(command)
        if again or not command.run_folder.finished:
            found.append(command)
            if command.flag("--ckpt_path") and command.init_from and not Path(command.init_from).is_file():
                raise ConfigError(
                    f"{command.stage}: the run began with {command.init_from}, which is missing. Restore it, name it "
                    f"with --only {command.stage} --init_from PATH, or start over: --only {command.stage} --overwrite"
                )
            if command.of is not None and command.of.start not in goal.experiment.stages:
                _check_path(command)
    return found


def _of_experiment(goal: Command, name: str, experiments: Path) -> Command:
    command = parse_command(["fit", *goal.words, "--only", name], experiments)
    assert command is not None
    return command


def untrained(command: Command, experiments: Path) -> list[Command]:
    """The commands that train what a single stage needs and isn't there, the earliest first.

    Raises ConfigError where `init_from` goes in a circle, or names a file that is missing, anywhere in the chain.
    """
    found: list[Command] = []
    stages = [command.stage]
    while (earlier := before(command, experiments)) is not None:
        stages.append(earlier.stage)
        if earlier.stage in stages[:-1]:
            raise ConfigError(
                f"{command.configs[0]}: init_from goes in a circle: {' -> '.join(stages)}. Let one of them start from "
                "a weights file, or from null"
            )
        if earlier.run_folder.finished:
            return found
        if command.flag("--ckpt_path"):
            raise ConfigError(
                f"--ckpt_path: the run began with {earlier.run_folder.weights}, which is missing. Restore it, name it "
                "with --init_from PATH, or leave --ckpt_path out to train both stages."
            )
        found.insert(0, earlier)
        command = earlier
    _check_path(command)
    return found


def before(command: Command, experiments: Path) -> Command | None:
    """The command that trains the stage a single stage starts from; None where it starts from a file or from nothing.

    A run of it that was broken off is gone on with.
    """
    config = None if command.init_from is None else config_of_stage(command.init_from, command.configs[0], experiments)
    if config is None:
        return None
    args, _ = _passed_on(command, config, experiments)
    earlier = parse_command(["fit", *args], experiments)
    assert earlier is not None  # it has a subcommand and a config
    return earlier


def _check_path(command: Command) -> None:
    if command.init_from is not None and not Path(command.init_from).is_file():
        if command.of is not None and not command.init_from_cli:
            raise ConfigError(
                f"{command.of.place}: from: {command.of.start}: {command.init_from} is missing. Train that stage, "
                "or name a .safetensors or .ckpt file"
            )
        place = "--init_from" if command.init_from_cli else f"{command.configs[0]}: init_from:"
        raise ConfigError(
            f"{place} {command.init_from}: no such file, and no stage of that name. Give a .safetensors or .ckpt file, "
            "the name of a stage (such as stage1, where there is a stage1.yaml), or null."
        )


def starting_weights(command: Command, experiments: Path) -> Path | None:
    """The weights the model begins with, for `fit` those of the stage before, which must be finished.

    Raises ConfigError where they are missing.
    """
    trains = command.subcommand == "fit"
    if command.init_from is not None and (trains or command.init_from_cli):
        config = None
        if command.experiment is None:
            config = config_of_stage(command.init_from, command.configs[0], experiments)
        if config is None:
            _check_path(command)
            return Path(command.init_from)
        folder = RunFolder(command.runs / command.variant / stage_of(ConfigFile.read(config)))
    elif trains or command.init_from_cli:
        return None  # from nothing, or the model as it is before any training
    else:
        folder = command.run_folder  # a config says where training starts from, not what is evaluated
    if folder.weights.is_file():
        return folder.weights
    if not trains and command.flag("--ckpt_path"):
        return None
    raise ConfigError(
        f"{command.subcommand}: {folder.weights} is missing. Train it with `fit` and the same configs, name a finished "
        "file with --init_from PATH, or a checkpoint with --ckpt_path PATH."
    )


@contextmanager
def claimed(command: Command) -> Iterator[None]:
    """Hold the command's run folder; `validate` reads alone and needs none.

    Raises ConfigError where `fit` would train a finished stage anew and --overwrite isn't given, RunFolderError where
    another process holds the folder. Only rank 0 looks: the others are its own.
    """
    if command.subcommand == "validate" or rank() > 0:
        yield
        return
    folder = command.run_folder
    with folder.locked():
        if command.subcommand == "fit" and not yaml.safe_load(command.flag("--trainer.fast_dev_run") or "false"):
            _check_claim(command, folder)
        yield


def _check_claim(command: Command, folder: RunFolder) -> None:
    """Raise ConfigError where `fit` would set aside what the user hasn't said may be, or what it starts from."""
    checkpoint, start = command.flag("--ckpt_path"), command.init_from
    aside = f"what it was is set aside as {folder.path}-earlier-N"
    if checkpoint is None and start is not None and Path(start).is_file() and folder.holds(Path(start)):
        raise ConfigError(
            f"init_from: {start} lies in the folder of this very stage, which is set aside before training. Copy the "
            "file elsewhere, or write to another folder with --variant NAME"
        )
    if command.overwrite:
        return
    if checkpoint is None and folder.finished:
        raise ConfigError(
            f"{command.stage} is finished: {folder.weights} is there. Train it anew with --overwrite ({aside}), beside "
            "it with --variant NAME, or further with --ckpt_path last and a larger --trainer.max_steps"
        )
    if checkpoint is not None and not folder.holds(Path(checkpoint)) and (folder.finished or folder.last.is_file()):
        raise ConfigError(
            f"--ckpt_path {checkpoint} is of another run than {folder.path}, which has weights or checkpoints of its "
            f"own. Go on with it in a folder of its own with --variant NAME, or here with --overwrite ({aside})"
        )


def rank() -> int:
    """This process's number among those that train together, as torchrun, Lightning or SLURM say it."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
    return next((int(value) for name in names if (value := os.environ.get(name, "")).isdigit()), 0)


def _passed_on(command: Command, config: Path, experiments: Path) -> tuple[list[str], list[str]]:
    """The arguments of `fit` that train the stage of `config` for `command`, and those that are for `command` alone."""
    argv, own = ["-c", str(config)], []
    stage = stage_of(ConfigFile.read(config))
    for name in command.config_names[1:]:
        overlay = ConfigFile.read(find_config(name, experiments))
        (argv if overlay.speaks_of(stage) else own).extend(["-c", name])
    for key, words in flags_with_values(command.flags):
        passed_on = any(key == name or key.startswith(f"{name}.") for name in PASSED_ON)
        if passed_on or key.startswith(("--data.", "--trainer.", "--model.", "--curriculum", "--seed")):
            (argv if passed_on else own).extend(words)
    return [*argv, "--runs", str(command.runs), "--variant", command.variant], own


def train_first(command: Command, after: Command, experiments: Path) -> None:
    """Train one of the stages that `after` needs, in a process of its own; a run that was broken off is gone on with.

    Raises ConfigError where it fails, SystemExit where it was stopped.
    """
    script, folder = experiments / "run.py", command.run_folder
    resumes = any(folder.last.parent.glob("*.ckpt"))
    if command.experiment is not None:
        argv, own = ["fit", *command.words, "--only", command.stage], []
    else:
        argv, own = _passed_on(after, command.configs[0], experiments)
        argv = ["fit", *argv, *(["--ckpt_path", "last"] if resumes else [])]
    does = "making" if command.of is not None and command.of.make else "training"
    what = f"going on with {command.stage}, which was broken off" if resumes else f"{does} {command.stage} first"
    print(f"\n{after.stage} needs {folder.path}, which isn't finished: {what}.", flush=True)
    print(f"  python {shlex.join([str(script), *argv])}", flush=True)
    if own:
        print(
            f"  {' '.join(own)} is for {after.stage} alone; train {command.stage} by itself to have it there",
            flush=True,
        )
    print(flush=True)
    status = run_command([sys.executable, str(script), *argv])
    if status in EARLY:
        print(f"{command.stage} isn't finished, so {after.stage} wasn't begun; this command goes on", file=sys.stderr)
        raise SystemExit(status)
    if status:
        raise ConfigError(f"{command.stage} failed (exit status {status}), so {after.stage} can't start from it")
