"""All stages of a command parsed and made, without weights, before the first is trained; and one of them run."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from speech_xl.run.chain import rank
from speech_xl.run.cli import SpeechCLI
from speech_xl.run.command import Command, ConfigError
from speech_xl.run.compare import comparisons_of
from speech_xl.run.given import write_given
from speech_xl.run.layers import with_folders
from speech_xl.run.makers import Making, check_maker, maker_class
from speech_xl.run.user_errors import message_of, with_places


def check_all(commands: Sequence[Command], needed: Sequence[Command]) -> None:
    """Parse every command of `fit`, and make the parts of those that are needed, so that what is wrong shows now.

    commands  all that the user asked for
    needed    those that have to run, and what they need

    Raises ConfigError with the stage, and with file and line where a key or value is wrong.
    """
    every = {command.stage: command for command in (*commands, *needed)}.values()
    for command in every:
        if command.of is not None and command.of.make is not None:
            with _about(command):
                check_making(command)
    experiment = commands[-1].experiment
    if experiment is not None:
        comparisons_of(experiment)
    trained = [command for command in every if command.of is None or command.of.make is None]
    _check_starts(trained)
    if not trained:
        return
    with _quiet():
        with _about(trained[0]):
            cli = SpeechCLI(trained[0], None, runs=False)
        for command in trained[1:]:
            with _about(command):
                cli.parse(command)
        for command in trained:
            with _about(command):
                if command in needed:
                    cli.make_parts(command)


def check_making(command: Command) -> Making:
    """The maker of a stage that isn't trained, parsed. Raises ConfigError where it was made otherwise already."""
    assert command.of is not None and command.of.make is not None
    check_maker(command.of.make, command.of.start, command.of.place)
    try:
        making = Making.of(command.of.make, command.layers, command.flags, command.rehearses)
    except argparse.ArgumentError as error:
        raise ConfigError(with_places(str(error), command.layers)) from error
    folder = command.run_folder
    if folder.made.is_file() and not command.overwrite and (found := making.differences(folder)):
        raise ConfigError(
            f"{folder.path} was made otherwise than {command.of.place} says:\n  " + "\n  ".join(found) + "\n"
            f"Make it anew with --only {command.stage} --overwrite, or all beside it with --variant NAME"
        )
    return making


def execute(command: Command, initial: Path | None) -> None:
    """Run one command: train or evaluate its stage, or make it."""
    if command.of is None or command.of.make is None or command.help_only:
        for name in command.of.needs if command.of is not None else ():
            _check_made(command, name)
        SpeechCLI(command, initial)
        if command.subcommand == "fit" and not command.help_only and command.run_folder.finished and rank() == 0:
            write_given(command)
        return
    if command.subcommand != "fit":
        raise ConfigError(f"{command.subcommand}: {command.stage} is made by {command.of.make} and isn't trained")
    making, folder = check_making(command), command.run_folder
    folder.set_aside()
    making.run(folder, None if command.init_from is None else Path(command.init_from).parent)
    print(f"{command.stage} is made: {folder.path}")


def _check_made(command: Command, name: str) -> None:
    """Raise ConfigError where what a stage needs was made otherwise than its experiment file says."""
    assert command.experiment is not None
    stage = command.experiment.stages[name]
    if stage.make is not None:
        folders = {one: command.folder.with_name(one) for one in command.experiment.stages}
        layers = [with_folders(layer, folders, command.runs) for layer in stage.layers]
        check_making(replace(command, stage=name, of=stage, layers=layers, overwrite=False))


def _check_starts(commands: Sequence[Command]) -> None:
    """Raise ConfigError where a stage starts from one that has no weights."""
    for command in commands:
        if command.of is None or command.experiment is None or command.of.start not in command.experiment.stages:
            continue
        start = command.experiment.stages[command.of.start]
        if start.make is not None and not maker_class(start.make).gives_weights:
            raise ConfigError(
                f"{command.of.place}: from: {start.name} is made by {start.make} and has no weights to start from; "
                f"name its folder where it is used, as ${{stage:{start.name}}}"
            )


@contextmanager
def _about(command: Command) -> Iterator[None]:
    """An error that the user can mend says which stage it is about."""
    try:
        yield
    except Exception as error:
        if (message := message_of(error)) is None:
            raise
        raise ConfigError(f"{command.stage}: {message}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what each stage says about itself when it begins: it will say so again."""
    loggers = [
        logging.getLogger(name)
        for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
