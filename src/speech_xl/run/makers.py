"""Makers: stages that aren't trained, such as a tiny LLM that reads texts, or the times of words.

`make: NAME` in an experiment file names one of `MAKERS`. A file can't name a module: it may be somebody else's.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from speech_xl.run.configs import ConfigError, read_record, unlike
from speech_xl.run.layers import Layer
from speech_xl.run.recipes import load_recipes
from speech_xl.run.run_folder import MADE, WEIGHTS, RunFolder
from speech_xl.run.words import flags_with_values
from speech_xl.storage.files import write_text

if TYPE_CHECKING:
    from speech_xl.data.datamodule import SpeechDataModule

MAKERS: dict[str, str] = {
    "WordTimes": "speech_xl.run.word_times_maker:WordTimesMaker",
    "TinyLLM": "experiments.tiny_models.makers:TinyLLM",
    "TinyLLMContinued": "experiments.tiny_models.makers:TinyLLMContinued",
}
"""Name -> ``module:class``; those of `experiments` come with a clone of the repository alone."""


class Maker(ABC):
    """Makes the folder of a stage; its arguments are the stage's `init_args`."""

    rehearsal: ClassVar[dict[str, Any]] = {}
    """Arguments that --rehearse lays over the file's: a few steps."""
    starts_from_stage: ClassVar[bool] = False
    """Whether `from` must name a stage, whose folder `make` is given."""
    needs_corpus: ClassVar[bool] = False
    """Whether the experiment's `data` must name a corpus."""
    gives_weights: ClassVar[bool] = False
    """Whether the folder has a weights file that a stage can start from."""

    @abstractmethod
    def make(self, out: Path, start: Path | None, data: SpeechDataModule | None) -> None:
        """Write the files into the empty folder `out`.

        start  the folder of the stage in `from`
        data   the data module of the experiment's `data` keys; None where it has none
        """


@dataclass(frozen=True)
class Making:
    """A maker with its arguments, parsed."""

    name: str
    maker: Maker
    data: SpeechDataModule | None
    settings: dict[str, Any]

    @classmethod
    def of(cls, name: str, layers: list[Layer], flags: list[str], rehearses: bool = False) -> Making:
        """Parse a stage's layers and the command's ``--data`` flags.

        Raises argparse.ArgumentError for a key or value that neither the maker nor the data module takes.
        """
        from jsonargparse import ArgumentParser

        from speech_xl.data.datamodule import SpeechDataModule

        load_recipes()  # the corpus is named by its class alone
        kind = maker_class(name)
        has_data = any(layer.value("data") is not None for layer in layers)
        if kind.needs_corpus and not any(layer.value("data", "corpus") is not None for layer in layers):
            raise ConfigError(f"make: {name} reads a corpus; give data.corpus, for all stages or in its section")
        parser = ArgumentParser(exit_on_error=False, parser_mode="omegaconf+")
        parser.add_argument("-c", "--config", action="config")
        parser.add_class_arguments(kind, "init_args")
        if has_data:
            parser.add_class_arguments(SpeechDataModule, "data")
        argv = [word for layer in layers for word in ("-c", layer.text())]
        if has_data:
            argv += [word for name, words in flags_with_values(flags) if name.startswith("--data.") for word in words]
        for key, value in (kind.rehearsal if rehearses else {}).items():
            argv += [f"--init_args.{key}", json.dumps(value)]
        parsed = parser.parse_args(argv)
        made = parser.instantiate(parsed)
        settings = {key: value for key, value in parsed.as_dict().items() if key != "config"}
        settings = json.loads(json.dumps(settings, default=str))
        return cls(name, made.init_args, made.data if has_data else None, settings)

    def differences(self, folder: RunFolder) -> list[str]:
        """A line for each argument of the maker that a finished folder was made with otherwise."""
        before = read_record(folder.made, "settings")["settings"].get("init_args", {})
        now = self.settings.get("init_args", {})
        return unlike(before, now, "made")

    def run(self, folder: RunFolder, start: Path | None) -> None:
        """Make the stage's folder. A run that is killed leaves a draft beside it and no finished stage."""
        draft = folder.path.with_name(f".{folder.path.name}.part")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        if self.data is not None:
            self.data.corpus.prepare()
        self.maker.make(draft, start, self.data)
        if self.maker.gives_weights and not (draft / WEIGHTS).is_file():
            raise RuntimeError(f"{self.name} has written no {WEIGHTS} into {draft}")
        record = {"make": self.name, "settings": self.settings, "from": None if start is None else str(start)}
        write_text(draft / MADE, json.dumps(record, indent=2) + "\n")
        draft.rename(folder.path)


def maker_class(name: str) -> type[Maker]:
    """The class that `make: NAME` means."""
    module, _, attribute = MAKERS[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name not in ("experiments", "experiments.tiny_models", module):
            raise
        raise ConfigError(
            f"make: {name} is part of the repository; clone it, and install it with pip install -e ."
        ) from None


def check_maker(name: str, start: str | None, place: str) -> None:
    """Raise ConfigError where a maker needs a stage to start from, or takes none."""
    kind = maker_class(name)
    if kind.starts_from_stage and start is None:
        raise ConfigError(f"{place}: make: {name} works on a stage; add from: STAGE")
    if not kind.starts_from_stage and start is not None:
        raise ConfigError(f"{place}: make: {name} starts from nothing; take `from: {start}` out")
