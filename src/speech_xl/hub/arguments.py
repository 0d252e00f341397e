"""What may be given to `SpeechXL.from_pretrained`: a config, a device, a number format; and the lineage of a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from speech_xl.hub.config import SpeechXLConfig
from speech_xl.run.configs import ConfigError
from speech_xl.run.lineage import NOTE, LineageError
from speech_xl.run.trained_stage import TrainedStage
from speech_xl.storage.tensor_files import read_notes

FREE = ("interval_seconds", "default_ratio")  # what a given config may say otherwise than the folder's
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def checked_config(config: SpeechXLConfig, own: SpeechXLConfig, folder: Path) -> SpeechXLConfig:
    """The config that was given, where it differs from the folder's in what is free."""
    given, known = json.loads(config.to_json_string()), json.loads(own.to_json_string())
    for key in sorted((given.keys() | known.keys()) - {*FREE, "dtype", "architectures", "transformers_version"}):
        if given.get(key) != known.get(key):
            raise ConfigError(
                f"config: {key} isn't that of {folder}, whose weights were made with it; a config that is given may "
                f"differ in {' and '.join(FREE)} alone"
            )
    return config


def check_lineage(config: SpeechXLConfig, stage: TrainedStage) -> None:
    noted = json.loads(read_notes(stage.weights).get(NOTE) or "null")
    if noted != config.lineage:
        raise LineageError(
            f"{stage.source}: lineage isn't the one in {stage.weights.name}; one of them was changed by hand, or comes "
            "from another model. Take both as they were exported"
        )


def one_device(given: Any) -> str:
    """One device by torch's name."""
    if isinstance(given, Mapping):
        if len(set(given.values())) != 1:
            raise ValueError(f"device_map: got {dict(given)!r:.80}; the model runs on one device, such as 'cuda:0'")
        given = next(iter(given.values()))
    if given in (None, "cpu"):
        return "cpu"
    if given == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return str(torch.device(given))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device_map: got {given!r:.80}; give one device, such as 'cuda:0', or 'auto'") from error


def number_format(given: str | torch.dtype | None) -> torch.dtype | None:
    if given in (None, "auto"):
        return None
    found = getattr(torch, str(given).removeprefix("torch."), None)
    if found not in DTYPES:
        raise ValueError(f"dtype: got {given!r}; give float32, bfloat16, float16 or 'auto'")
    return found
