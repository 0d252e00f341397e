"""TrainedStage: the folder of a trained stage, read once: its model, its data, and what it allows its answers.

The folder is a run's, or one in the Hugging Face form, as `speech-xl export` writes it.

The folder may be somebody else's. So only what listening needs is read from its configuration, only classes of this
package are made from it, and code that comes with its models is run only where the caller asks for it.
"""

import argparse
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

import speech_xl.run.known_classes  # noqa: F401  (so that plain class names are enough)
from speech_xl.checks import number, whole
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.data.partition import Partition
from speech_xl.data.transcript import PLAIN, Transcript
from speech_xl.model import SpeechLLM
from speech_xl.model.decoding_rules import DecodingRules
from speech_xl.model.pretrained import filled_afterwards
from speech_xl.model.sst import FORMS
from speech_xl.phases import Phase
from speech_xl.run.command import CONFIG, WEIGHTS, ConfigError, read_config
from speech_xl.run.hub_form import stage_config
from speech_xl.run.lineage import (
    BY_NAME,
    built_check,
    differences,
    read_lineage,
    refuse,
    remarks,
    settings_of,
    spelled_out,
)
from speech_xl.run.recipes import load_recipes, recipe_packages
from speech_xl.run.trust import PACKAGE, REMOTE_CODE, own_arguments, own_class
from speech_xl.storage.hub_folder import CONFIG as HUB_CONFIG
from speech_xl.storage.hub_folder import is_hub_folder, weights_file

TOKENS_PER_SECOND, INTERVAL_SECONDS = 8.0, 4.0  # where a stage's configuration leaves them to the classes' defaults
# Of the model's and the data's keys, those that listening goes by. Optimizer, schedule and the like are training's.
LISTENING = ("encoder", "adapter", "frame_code", "llm", "sst", "eval_ratios", "max_tokens_per_second")


@dataclass(frozen=True)
class TrainedStage:
    """A stage's folder, such as ``runs/default/stage3``, and the configuration it was trained with.

    folder             what `of` was given
    weights            the file of its weights, or the index of several
    config             the whole configuration, as it was read: nothing in it has been looked up or made
    source             the file it was read from
    model_config       the phase with what listening needs, its classes checked and written out in full
    partition_config   the data's partition, checked in the same way, or None
    transcript_config  how the data's transcripts are written, checked in the same way, or None
    force              whether its weights may be used otherwise than they were trained
    """

    folder: Path
    weights: Path
    config: dict[str, Any]
    source: Path
    model_config: dict[str, Any]
    partition_config: dict[str, Any] | None
    transcript_config: dict[str, Any] | None
    force: bool = False

    @classmethod
    def of(
        cls,
        folder: str | Path,
        trust_remote_code: bool = False,
        force: bool = False,
        bases: Mapping[str, str] | None = None,
    ) -> "TrainedStage":
        """Read a stage's folder.

        trust_remote_code  run code that comes with its encoder or LLM; its own configuration can't ask for that
        force              use the weights even where the configuration isn't the one they were trained with
        bases              where the base models of a folder in the Hugging Face form lie: role (encoder, llm) -> folder
                           or hub name; by default as it names them

        Raises ConfigError where the folder holds no finished stage, or a configuration that can't be used.
        """
        folder = Path(folder)
        if is_hub_folder(folder):
            source, weights = folder / HUB_CONFIG, weights_file(folder)
            config = stage_config(folder, bases)
        elif bases:
            given = " and ".join(f"--{role}" for role in bases)
            raise ConfigError(
                f"{folder} is a run's folder, whose configuration says where its encoder and LLM lie; leave {given} out"
            )
        else:
            source, weights = folder / CONFIG, folder / WEIGHTS
            for path, what in ((source, "the configuration it was trained with"), (weights, "its weights")):
                if not path.is_file():
                    raise ConfigError(f"{path} is missing, {what}: give the folder of a stage that is finished")
            config = read_config(source)
        for key in ("model", "data"):
            if not isinstance(config.get(key), dict):
                raise ConfigError(
                    f"{source}: {key}: got {config.get(key)!r:.80}; the configuration of a trained stage has a mapping "
                    "there. Restore the file, or give the folder of a stage that is finished"
                )
        model = _listening(config["model"], source, trust_remote_code)
        partition, transcript = (
            None if given is None else own_class(given, base, f"data.{key}", source)
            for key, base in (("partition", Partition), ("transcript", Transcript))
            for given in (config["data"].get(key),)
        )
        return cls(folder, weights, config, source, model, partition, transcript, force)

    @property
    def given_away(self) -> bool:
        """Whether it is in the Hugging Face form: the runs that it comes from lie elsewhere, or nowhere."""
        return self.source.name == HUB_CONFIG

    @property
    def hearing(self) -> dict[str, Any]:
        """Of its data's settings, those that listening goes by."""
        return {"partition": self.partition_config, "transcript": self.transcript_config}

    def as_config(self) -> dict[str, Any]:
        """As the config of a stage, for a command that evaluates it: its model, partition and transcripts; no data."""
        arguments = {**self.model_config["init_args"], "trainable": {"*": 0.0}}  # a phase wants something to train
        heard = {key: value for key, value in self.hearing.items() if value is not None}
        model = {**self.model_config, "init_args": arguments}
        return {"stage": self.folder.resolve().name, "model": model, "data": heard}

    def model(self, device: str = "cpu") -> SpeechLLM:
        """The trained backbone, ready to listen.

        Raises LineageError where the weights were trained with other settings or models, unless `force` is set. Warns
        where a stage that they come from has been trained again since.
        """
        none = {"*": 0.0}  # a phase wants something to train; nothing here does
        arguments = {**self.model_config["init_args"], "trainable": none, "transcript": self.transcript_config}
        given = {**self.model_config, "init_args": arguments}
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(Phase, "model")
        parsed, made = self._made(parser, {"model": given})
        lineage = read_lineage(self.weights)
        if not self.given_away:
            for line in remarks(self.weights, lineage):
                warnings.warn(line, stacklevel=2)
        settings = settings_of(parsed["model"].as_dict(), self.hearing)
        forced = refuse(differences(lineage.settings, settings), self.weights, self.force) if lineage else []
        phase = made.model
        phase.start_from(self.weights, built_check(self.weights, self.force))
        with filled_afterwards():
            phase.load()
        backbone: SpeechLLM = phase.backbone
        if lineage is not None:
            backbone.lineage = replace(lineage, forced=[*lineage.forced, *forced, *phase.forced]).plain()
        return backbone.eval().requires_grad_(False).to(device)

    def data(self, config: dict[str, Any] | None = None) -> SpeechDataModule:
        """Its data, or those of another `config` of a SpeechDataModule, prepared.

        Raises ConfigError where the corpus is of no class of this project, or was left out of an export.
        """
        given = config or self.config["data"]
        if "corpus" not in given:
            raise ConfigError(f"{self.folder} was exported without its corpus; give the folder of the stage itself")
        load_recipes()
        given = own_arguments(SpeechDataModule, given, "data", self.source, (PACKAGE, *recipe_packages()))
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(SpeechDataModule, "data")
        data: SpeechDataModule = self._made(parser, {"data": given})[1].data
        data.prepare_data()
        return data

    def _made(self, parser: ArgumentParser, given: dict[str, Any]) -> tuple[Any, Any]:
        """A checked configuration with its defaults, and its objects; what is wrong with a value is told with the file
        it stands in."""
        try:
            parsed = parser.parse_object(given)
            return parsed, parser.instantiate(parsed)
        except argparse.ArgumentError as error:
            raise ConfigError(f"{self.source}: {error}") from error

    @property
    def transcript(self) -> Transcript:
        """How it learned to write transcripts."""
        if self.transcript_config is None:
            return PLAIN
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(Transcript, "data.transcript")
        made: Transcript = self._made(parser, {"data": {"transcript": self.transcript_config}})[1].data.transcript
        return made

    @property
    def tokens_per_second(self) -> float:
        """Tokens that its answers may have for a second of audio."""
        return self._number(
            "model.max_tokens_per_second", self._arguments.get("max_tokens_per_second"), TOKENS_PER_SECOND
        )

    @property
    def decoding(self) -> DecodingRules:
        """What its answers may be."""
        return DecodingRules(self.tokens_per_second, self.transcript)

    @property
    def interval_seconds(self) -> float:
        """Length of the intervals it was trained with, or the most they may have; one that was given away says it."""
        if self.config.get("interval_seconds") is not None:
            return self._number("interval_seconds", self.config["interval_seconds"], INTERVAL_SECONDS)
        arguments = (self.partition_config or {}).get("init_args", {})
        return self._number("data.partition", arguments.get("seconds", arguments.get("max_seconds")), INTERVAL_SECONDS)

    @property
    def default_ratio(self) -> int | None:
        """Frames that an SST stands for, where nobody says; None where its folder doesn't say either."""
        own = self.config.get("default_ratio")
        try:
            return None if own is None else whole("default_ratio", own, least=1)
        except ValueError as error:
            raise ConfigError(f"{self.source}: {error}") from error

    def _number(self, key: str, value: Any, default: float) -> float:
        try:
            return default if value is None else float(number(key, value, above=0))
        except ValueError as error:
            raise ConfigError(f"{self.source}: {error}") from error

    @property
    def _arguments(self) -> dict[str, Any]:
        return self.model_config["init_args"]


def _listening(given: dict[str, Any], source: Path, trust_remote_code: bool) -> dict[str, Any]:
    """Of a phase's configuration what listening needs, its classes checked."""
    arguments = given.get("init_args")
    if not isinstance(arguments, dict):
        raise ConfigError(
            f"{source}: model.init_args: got {arguments!r:.80}; give the folder of a stage that is finished"
        )
    kept = {key: arguments[key] for key in LISTENING if key in arguments}
    for key in ("encoder", "adapter", "llm"):
        if kept.get(key) is None:
            raise ConfigError(
                f"{source}: model.init_args.{key} is missing; give the folder of a stage that is finished"
            )
    for role in (*BY_NAME, "sst"):
        if isinstance(named := kept.get(role), str) and (role != "sst" or named in FORMS):
            kind, own = spelled_out(role, named)
            kept[role] = {"class_path": kind.__name__, "init_args": own}
    checked = own_class({**given, "init_args": kept}, Phase, "model", source)
    for role in BY_NAME:
        part = checked["init_args"][role]["init_args"]
        if part.pop(REMOTE_CODE, False) not in (None, False) and not trust_remote_code:
            raise ConfigError(
                f"{source}: model.init_args.{role}.init_args.{REMOTE_CODE}: true would run code that comes with "
                f"{part.get('name')}. Where you trust its author, add --{REMOTE_CODE} to the command (in Python "
                f"{REMOTE_CODE}=True); else take the line out"
            )
        if trust_remote_code:
            part[REMOTE_CODE] = True
    return checked
