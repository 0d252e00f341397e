"""Stages chained like Make: what a stage starts from, and the stages that have to be trained before it.

`fit` trains the stage it starts from first where that one isn't finished. Nothing is trained before the commands of the
whole chain are known; experiments/run.py has each of them parsed and made, without weights, before the first one runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from speech_xl.run.command import Command, ConfigError, find_config, is_for, parse_command, stage_of
from speech_xl.run.run_folder import RunFolder
from speech_xl.run.signals import EARLY, run_command

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


def untrained(command: Command, experiments: Path) -> list[Command]:
    """The commands that train what `command` needs and isn't there, the earliest first; empty unless it is `fit`.

    Raises ConfigError where `init_from` goes in a circle, or names a file that is missing, anywhere in the chain.
    """
    if command.subcommand != "fit":
        return []
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
        found.insert(0, earlier)
        command = earlier
    _check_path(command)
    return found


def before(command: Command, experiments: Path) -> Command | None:
    """The command that trains the stage `command` starts from; None where it starts from a file or from nothing."""
    config = None if command.init_from is None else stage_config(command.init_from, command, experiments)
    if config is None:
        return None
    args, _ = _passed_on(command, config, experiments)
    earlier = parse_command(["fit", *args], experiments)
    assert earlier is not None  # it has a subcommand and a config
    return earlier


def _check_path(command: Command) -> None:
    if command.init_from is not None and not Path(command.init_from).is_file():
        place = "--init_from" if command.init_from_cli else f"{command.configs[0]}: init_from:"
        raise ConfigError(
            f"{place} {command.init_from}: no such file, and no stage of that name. Give a .safetensors or .ckpt file, "
            "the name of a stage (such as stage1, where there is a stage1.yaml), or null."
        )


def starting_weights(command: Command, experiments: Path) -> Path | None:
    """The weights the model starts from; for `fit`, trains the stage that makes them where they are missing."""
    resumed = command.flag("--ckpt_path")
    trains = command.subcommand == "fit"
    config = None
    if trains or command.init_from_cli:  # a config says where training starts from
        config = None if command.init_from is None else stage_config(command.init_from, command, experiments)
        if command.init_from is not None and config is None:
            _check_path(command)
            return Path(command.init_from)
        if not trains and config is None:
            return None  # --init_from null: the model as it is before any training
    if not trains:
        own = command.run_folder if config is None else RunFolder(command.runs / command.variant / stage_of(config))
        if not own.finished and not resumed:
            raise ConfigError(
                f"{command.subcommand}: {own.weights} is missing. Train it with `fit` and the same configs, name a "
                "finished file with --init_from PATH, or a checkpoint with --ckpt_path PATH."
            )
        return own.weights if own.finished else None
    if config is None:
        return None
    folder = RunFolder(command.runs / command.variant / stage_of(config))
    if not folder.finished:
        if resumed:
            raise ConfigError(
                f"--ckpt_path: the run began with {folder.weights}, which is missing. Restore it, name it with "
                "--init_from PATH, or leave --ckpt_path out to train both stages."
            )
        train_first(command, config, folder, experiments)
    return folder.weights


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


def stage_config(name: str, command: Command, experiments: Path) -> Path | None:
    """The config of the stage `name`: beside the command's own stage, else where configs are looked for. None where
    `name` is no stage, but a path."""
    if Path(name).name != name:
        return None
    places = (command.configs[0].parent, Path(), experiments)
    return next((place / f"{name}.yaml" for place in places if (place / f"{name}.yaml").is_file()), None)


def _passed_on(command: Command, config: Path, experiments: Path) -> tuple[list[str], list[str]]:
    """The arguments of `fit` that train the stage of `config` for `command`, and those that are for `command` alone."""
    argv, own = ["-c", str(config)], []
    for name in command.named[1:]:
        (argv if is_for(find_config(name, experiments), stage_of(config)) else own).extend(["-c", name])
    flags = iter(command.flags)
    for flag in flags:
        key = flag.split("=")[0]
        passed_on = any(key == name or key.startswith(f"{name}.") for name in PASSED_ON)
        if passed_on or key.startswith("--data."):
            words = [flag] if "=" in flag else [flag, next(flags, "")]
            (argv if passed_on else own).extend(words)
    return [*argv, "--runs", str(command.runs), "--variant", command.variant], own


def train_first(command: Command, config: Path, folder: RunFolder, experiments: Path) -> None:
    """Train the stage of `config` with the overlays that aren't another's; a run that was broken off is resumed."""
    script = experiments / "run.py"
    argv, own = _passed_on(command, config, experiments)
    resume = any(folder.last.parent.glob("*.ckpt"))
    argv = ["fit", *argv, *(["--ckpt_path", "last"] if resume else [])]
    what = f"going on with {config.stem}, which was broken off" if resume else f"training {config.stem} first"
    print(f"\n{command.stage} starts from {folder.weights}, which is missing: {what}.", flush=True)
    print(f"  python {script} {' '.join(argv)}", flush=True)
    if own:
        print(
            f"  {' '.join(own)} is for {command.stage} alone; train {config.stem} by itself to have it there",
            flush=True,
        )
    print(flush=True)
    status = run_command([sys.executable, str(script), *argv])
    if status in EARLY:
        print(f"{config.stem} isn't finished, so {command.stage} wasn't begun; this command goes on", file=sys.stderr)
        raise SystemExit(status)
    if status:
        raise ConfigError(f"{config.stem} failed (exit status {status}), so {command.stage} can't start from it")
