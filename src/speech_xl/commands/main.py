"""The `speech-xl` command: which subcommand, and its help. Mistakes show before torch is imported."""

from __future__ import annotations

import argparse
import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import speech_xl
from speech_xl.commands.model_options import plain_warnings
from speech_xl.run.configs import ConfigError
from speech_xl.run.experiment_command import COMMANDS as TRAINING
from speech_xl.run.experiment_command import run_experiment
from speech_xl.run.usage import usage
from speech_xl.run.user_errors import exit_on_user_error

PROGRAM = "speech-xl"
CLONE = Path(speech_xl.__file__).parents[2] / "experiments"  # of an editable install
USING = ("transcribe", "listen", "serve", "export")
USAGE = """\
Use a trained model (speech-xl COMMAND --help says more):
  speech-xl transcribe talk.m4a --format srt                    what is said, as text, JSON or subtitles
  speech-xl listen talk.m4a --ask "who speaks?"                 answers about it, from what was kept
  speech-xl serve                                               over HTTP, as OpenAI's API, and with a page
  speech-xl export runs/mine/sst my_model                       a folder in the Hugging Face form, to give away
"""


def main(argv: list[str] | None = None) -> None:
    """Run one command. What a user can mend ends with a message and exit status 2."""
    with exit_on_user_error():
        run(sys.argv[1:] if argv is None else argv)


def run(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        title, _, training = usage(PROGRAM).partition("\n\n")
        print(title, USAGE, training, sep="\n\n", end="")
        return
    if argv[0] in ("-V", "--version"):
        print(f"speech-xl {speech_xl.__version__}")
        return
    name, *words = argv
    if name in USING:
        with plain_warnings():
            use(name, words)
        return
    if name not in TRAINING:
        known = (*USING, *TRAINING)
        near = get_close_matches(name, known, n=1)
        meant = f"do you mean {near[0]}?" if near else f"there are {', '.join(known)}."
        raise ConfigError(f"{name}: no such command; {meant} See --help.")
    run_experiment(argv, experiments_folder(), PROGRAM)


def use(name: str, words: list[str]) -> None:
    """One of `USING`: its module has `HELP`, `EXAMPLES`, `add_arguments` and `run`."""
    module = import_module(f"speech_xl.commands.{name}")
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {name}",
        description=f"{module.HELP[:1].upper()}{module.HELP[1:]}.",
        epilog=module.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    module.run(parser.parse_args(words))


def experiments_folder() -> Path:
    """Where stages and experiment files are: in the clone that one stands in, else in the one that is installed.

    A wheel has none: there, configs are files of the user's own.
    """
    own = Path("experiments")
    if (own / "stage1.yaml").is_file():
        return own.resolve()
    return CLONE


if __name__ == "__main__":
    main()
