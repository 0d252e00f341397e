#!/usr/bin/env python3
"""Run an experiment: `python experiments/run.py {fit,validate,test,predict} -c stage2.yaml` (--help says more)."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path

from speech_xl.run.chain import claimed, starting_weights, untrained
from speech_xl.run.command import SUBCOMMANDS, USAGE, Command, ConfigError, parse_command
from speech_xl.run.user_errors import exit_on_user_error


def main(argv: list[str], experiments: Path) -> None:
    """Run one command. What a user can mend ends with a message and exit status 2."""
    with exit_on_user_error():
        run(argv, experiments)


def run(argv: list[str], experiments: Path) -> None:
    helps = any(arg in ("-h", "--help") for arg in argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return
    if argv[0] == "score":
        from speech_xl.run.score import score

        score(argv[1:])
        return
    if argv[0] not in SUBCOMMANDS:
        raise ConfigError(f"{argv[0]}: no such command; there are {', '.join((*SUBCOMMANDS, 'score'))}. See --help.")
    command = parse_command(argv, experiments)
    if command is None:
        command = Command(argv[0], [], argv[1:], "stage", "default", Path("runs"), None)
        if not command.asks:
            raise ConfigError(f"{argv[0]}: which stage? Begin with a config, such as -c stage1.yaml. See --help.")
    if helps:
        print(USAGE)
    trains = command.subcommand == "fit" and not command.asks
    earlier = untrained(command, experiments) if trains else []
    # An evaluation makes nothing: what it lacks shows before its folder is touched.
    initial = None if trains or command.asks else starting_weights(command, experiments)
    with nullcontext() if command.asks else claimed(command):
        # Lightning 2.6 calls jsonargparse's older names; nothing a user could mend.
        os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
        # Imported late: torch and its company take seconds, and the mistakes above need none of them.
        from speech_xl.run.cli import SpeechCLI, check

        if earlier:  # hours of training lie before this command's own mistakes would show
            for one in [*earlier, command]:
                check(one)
        SpeechCLI(command, starting_weights(command, experiments) if trains else initial)


if __name__ == "__main__":
    main(sys.argv[1:], experiments=Path(__file__).resolve().parent)
