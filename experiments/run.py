#!/usr/bin/env python3
"""Run an experiment: `python experiments/run.py {fit,validate,test,predict} -c stage2.yaml` (--help says more)."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path

from speech_xl.run.chain import claimed, pending, starting_weights, train_first
from speech_xl.run.command import SUBCOMMANDS, Command, ConfigError, parse_commands
from speech_xl.run.makers import MAKERS
from speech_xl.run.usage import USAGE
from speech_xl.run.user_errors import exit_on_user_error

MAKERS |= {
    name: f"experiments.tiny_models.makers:{name}" for name in ("TinyLLM", "TinyLLMContinued")
}  # what `make: NAME` in an experiment file may name


def main(argv: list[str], experiments: Path) -> None:
    """Run one command. What a user can mend ends with a message and exit status 2."""
    with exit_on_user_error():
        run(argv, experiments)


def run(argv: list[str], experiments: Path) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return
    if argv[0] == "compare":
        from speech_xl.run.compare import compare

        compare(argv[1:], experiments)
        return
    if argv[0] == "score":
        from speech_xl.run.score import score

        score(argv[1:])
        return
    if argv[0] == "convert":
        from speech_xl.run.convert import convert

        convert(argv[1:])
        return
    if argv[0] not in SUBCOMMANDS:
        known = ", ".join((*SUBCOMMANDS, "compare", "score", "convert"))
        raise ConfigError(f"{argv[0]}: no such command; there are {known}. See --help.")
    commands = parse_commands(argv, experiments)
    if not commands:
        commands = [Command(argv[0], [], argv[1:], "stage", "default", Path("runs"), None)]
        if not commands[0].help_only:
            raise ConfigError(f"{argv[0]}: which stage? Begin with a config, such as -c stage1.yaml. See --help.")
    if any(arg in ("-h", "--help") for arg in argv):
        print(USAGE)
    command, needed = commands[-1], []
    if command.subcommand == "fit" and not command.help_only:
        needed = pending(commands, experiments)
        if not needed:
            print(f"all is finished that {command.configs[0]} asks for: {command.folder.parent}")
            print_stale(commands)
            return
        command = needed[-1]
    # An evaluation makes nothing: what it lacks shows before its folder is touched.
    initial = None if needed or command.help_only else starting_weights(command, experiments)
    with nullcontext() if command.help_only else claimed(command):
        # Lightning 2.6 calls jsonargparse's older names; nothing a user could mend.
        os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
        # Imported late: torch and its company take seconds, and the mistakes above need none of them.
        from speech_xl.run.check import check_all, execute

        if needed[1:]:  # hours of training lie before the last command's own mistakes would show
            check_all(commands, needed)
        for one in needed[:-1]:
            train_first(one, command, experiments)
        execute(command, starting_weights(command, experiments) if needed else initial)


def print_stale(commands: list[Command]) -> None:
    """Say which finished stages began with weights that have been trained again since."""
    from speech_xl.run.lineage import stale_because  # torch comes with it

    for command in commands:
        for line in stale_because(command.run_folder.weights):
            print(f"warning: {line}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:], experiments=Path(__file__).resolve().parent)
