"""Which model a command uses: options that all such commands have, and the model that comes with the package."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import speech_xl
from speech_xl.run.arguments import FORCE_HELP, device_option, device_or_default, whole_number
from speech_xl.run.configs import ConfigError
from speech_xl.run.hub_form import HUB_NAME, ROLES
from speech_xl.run.trust import TRUST_HELP

if TYPE_CHECKING:
    from speech_xl.inference import ListeningModel
    from speech_xl.run.trained_stage import TrainedStage

SHIPPED = "read_speech"
ABOUT_SHIPPED = "a demonstration of 4.5 M parameters, for read English"
RATIO_HELP = "speech frames that one SST stands for; 1 keeps all (4; 1 of a model without SSTs)"


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """--model, --device and what loading a model may be allowed."""
    group = parser.add_argument_group("the model")
    group.add_argument(
        "--model",
        metavar="DIR",
        help="folder of a finished stage or an exported model, or its name on the hub (the one that comes along: "
        + ABOUT_SHIPPED
        + ")",
    )
    for role in ROLES:
        group.add_argument(
            f"--{role}",
            metavar="DIR",
            help=f"where the model's base {role} lies, if it names one (the hub)",
        )
    device_option(group)
    group.add_argument("--trust_remote_code", action="store_true", help=TRUST_HELP)
    group.add_argument("--force", action="store_true", help=FORCE_HELP)


def add_ratio_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ratio", type=whole_number(), metavar="N", help=RATIO_HELP)


def stage_of(given: argparse.Namespace) -> TrainedStage:
    """The model that a command line names, looked at and not loaded; a line on stderr says which where it names none.

    Raises ConfigError where its folder isn't there or holds no model.
    """
    if given.model is None:
        folder = shipped_folder()
        print(f"model: {SHIPPED}, which comes along: {ABOUT_SHIPPED}. --model names another", file=sys.stderr)
    elif not (folder := Path(given.model)).is_dir():
        if folder.exists() or "/" not in given.model or not HUB_NAME.fullmatch(given.model):
            what = "is no folder" if folder.exists() else "is missing"
            raise ConfigError(f"--model {folder} {what}; name the folder of a finished stage, or of an exported model")
        from speech_xl.hub.parts import local_folder

        folder = local_folder(given.model)
    from speech_xl.run.trained_stage import TrainedStage

    bases = {role: place for role in ROLES if (place := getattr(given, role, None)) is not None}
    return TrainedStage.of(folder, given.trust_remote_code, given.force, bases)


def loaded(stage: TrainedStage, given: argparse.Namespace) -> ListeningModel:
    """The model, ready to listen. Raises what `speech_xl.inference.load_stage` does."""
    from speech_xl.inference.model import StageModel

    with quietly():
        return StageModel(stage, device_or_default(given.device))


def shipped_folder() -> Path:
    """The trained stage that comes along, in a wheel or a clone. Raises ConfigError where there is none."""
    package = Path(speech_xl.__file__).parent
    places = package / "trained" / SHIPPED, package.parents[1] / "experiments" / "trained" / SHIPPED
    for place in places:
        if place.is_dir():
            return place
    raise ConfigError(f"{places[0]} is missing, the model that comes along; install the package anew, or name --model")


@contextmanager
def quietly() -> Iterator[None]:
    """What loading a model says of its tensors, and transformers' bars, are left out; warnings stay."""
    from transformers.utils import logging as transformers_logging

    logger = logging.getLogger("lightning.pytorch")
    level, bars = logger.level, transformers_logging.is_progress_bar_enabled()
    logger.setLevel(logging.WARNING)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings as a line each on stderr, without the place in the code they come from."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        warn(str(message))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def warn(what: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"warning: {what}", file=sys.stderr)  # above a bar, if there is one
