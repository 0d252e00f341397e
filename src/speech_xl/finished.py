"""FinishedStage: the folder of a trained stage, read once: its model, its data, and what it allows its answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.data.tasks import ASR_INSTRUCTION, TIMED_ASR_INSTRUCTION
from speech_xl.model import SpeechLLM
from speech_xl.phases import Phase
from speech_xl.stages import CONFIG, WEIGHTS, ConfigError

EXPORTED = "config.yaml"  # of a stage that `speech_xl.export` wrote, its LLM beside it
TOKENS_PER_SECOND, INTERVAL_SECONDS = 8.0, 4.0  # where a stage's configuration leaves them to the classes' defaults


@dataclass(frozen=True)
class FinishedStage:
    """A stage's folder, such as ``runs/default/stage3``, and the configuration it was trained with."""

    folder: Path
    config: dict[str, Any]

    @classmethod
    def of(cls, folder: str | Path) -> "FinishedStage":
        """Raises ConfigError where the folder holds no finished stage."""
        folder = Path(folder)
        told = next((path for path in (folder / CONFIG, folder / EXPORTED) if path.is_file()), folder / CONFIG)
        for path, what in ((told, "the configuration it was trained with"), (folder / WEIGHTS, "its weights")):
            if not path.is_file():
                raise ConfigError(f"{path} is missing, {what}: give the folder of a stage that is finished")
        config = yaml.safe_load(told.read_text(encoding="utf-8"))
        llm = config["model"]["init_args"].get("llm")
        if isinstance(llm, dict) and (beside := folder / llm["init_args"]["name"] / "config.json").is_file():
            llm["init_args"]["name"] = str(beside.parent)
        return cls(folder, config)

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS

    def model(self, device: str = "cpu") -> SpeechLLM:
        """The trained backbone, ready to listen."""
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(Phase, "model")
        phase = parser.instantiate(parser.parse_object({"model": self.config["model"]})).model
        phase.initial = self.weights
        phase.load()
        phase.backbone.rules = phase.rules
        return phase.backbone.eval().requires_grad_(False).to(device)

    def data(self, config: dict[str, Any] | None = None) -> SpeechDataModule:
        """Its data, or those of another `config` of a SpeechDataModule, prepared."""
        given = config or self.config["data"]
        if "corpus" not in given:
            raise ConfigError(f"{self.folder} was exported without its corpus; give the folder of the stage itself")
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(SpeechDataModule, "data")
        data: SpeechDataModule = parser.instantiate(parser.parse_object({"data": given})).data
        data.prepare_data()
        return data

    @property
    def transcribing(self) -> str:
        """The instruction it learned to transcribe by."""
        return TIMED_ASR_INSTRUCTION if self.config["data"].get("time_marks") else ASR_INSTRUCTION

    @property
    def tokens_per_second(self) -> float:
        """Tokens that its answers may have for a second of audio."""
        return float(self._told.get("max_tokens_per_second") or TOKENS_PER_SECOND)

    @property
    def longest_gap(self) -> float | None:
        """Seconds from one time mark of its answers to the next at most; None for any."""
        return self._told.get("longest_gap")

    @property
    def interval_seconds(self) -> float:
        """Length of the intervals it was trained with, or the most they may have."""
        told = (self.config["data"].get("partition") or {}).get("init_args", {})
        return float(told.get("seconds", told.get("max_seconds", INTERVAL_SECONDS)))

    @property
    def _told(self) -> dict[str, Any]:
        return self.config["model"]["init_args"]
