"""Commands about experiments: fit, validate, test, predict, compare, score and convert.

`speech-xl` and `experiments/run.py` both end here. Mistakes in a command or its configs show before torch is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from speech_xl.run.chain import claimed, pending, starting_weights, train_first
from speech_xl.run.command import SUBCOMMANDS, Command, ConfigError, parse_commands
from speech_xl.run.usage import usage

AFTER = ("compare", "score", "convert")  # training and evaluation
COMMANDS = (*SUBCOMMANDS, *AFTER)


def run_experiment(argv: Sequence[str], experiments: Path, program: str) -> None:
    """Run one command; its words are `argv`.

    experiments  where configs are looked for after the working directory
    program      how the user calls it, for help and messages

    Raises ConfigError, and others that `exit_on_user_error` knows, for what a user can mend.
    """
    argv = list(argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(usage(program))
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
        raise ConfigError(f"{argv[0]}: no such command; there are {', '.join(COMMANDS)}. See --help.")
    commands = parse_commands(argv, experiments)
    if not commands:
        commands = [Command(argv[0], [], argv[1:], "stage", "default", Path("runs"), None)]
        if not commands[0].help_only:
            raise ConfigError(f"{argv[0]}: which stage? Begin with a config, such as -c stage1.yaml. See --help.")
    if any(arg in ("-h", "--help") for arg in argv):
        print(usage(program))
    command, needed = commands[-1], []
    if command.subcommand == "fit" and not command.help_only:
        needed = pending(commands, experiments)
        if not needed:
            print(f"all is finished that {command.configs[0]} asks for: {command.folder.parent}")
            _print_stale(commands)
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


def _print_stale(commands: Sequence[Command]) -> None:
    """Say which finished stages began with weights that have been trained again since."""
    from speech_xl.run.lineage import stale_because  # torch comes with it

    for command in commands:
        for line in stale_because(command.run_folder.weights):
            print(f"warning: {line}", file=sys.stderr)
