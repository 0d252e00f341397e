"""`speech-xl export` as a function of its words."""

import argparse

from speech_xl.commands.export import add_arguments, run
from speech_xl.run.user_errors import exit_on_user_error


def export_command(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="speech-xl export")
    add_arguments(parser)
    given = parser.parse_args(words)
    with exit_on_user_error():
        run(given)
