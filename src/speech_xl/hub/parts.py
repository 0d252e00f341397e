"""What a model in the Hugging Face form is made of, out of a trained stage and back: config, processor, folder."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from transformers import PreTrainedConfig

from speech_xl.hub.config import FORGOTTEN, SpeechXLConfig
from speech_xl.hub.processor import SpeechXLProcessor
from speech_xl.inference.model import default_ratio
from speech_xl.model import SpeechLLM
from speech_xl.run.command import CONFIG as RUN_CONFIG
from speech_xl.run.command import ConfigError
from speech_xl.run.hub_form import HUB_NAME, ROLES
from speech_xl.run.trained_stage import TrainedStage
from speech_xl.storage.hub_folder import CONFIG, INDEX, WEIGHTS, is_hub_folder

# Of a part's arguments, those that say where it lies, which a folder that is given away says in its own way.
PLACES = ("name", "pretrained", "revision", "trust_remote_code")
DOWNLOADED = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "README.md")
WANTED = ("cache_dir", "force_download", "local_files_only", "revision", "token")


def config_of(stage: TrainedStage, backbone: SpeechLLM) -> SpeechXLConfig:
    """The whole model's config, all weights in its folder. Raises ConfigError where a part needs code of its own."""
    arguments = stage.model_config["init_args"]
    parts: dict[str, Any] = {
        role: {
            "class_path": arguments[role]["class_path"],
            "init_args": {key: value for key, value in arguments[role]["init_args"].items() if key not in PLACES},
        }
        for role in ROLES
    }
    text, audio = (_nameless(stage, part) for part in (backbone.llm, backbone.encoder))
    return SpeechXLConfig(
        text_config=text,
        audio_config=audio,
        dtype=backbone.llm.dtype,
        stage=stage.config.get("stage"),
        phase=stage.model_config["class_path"],
        adapter=arguments["adapter"],
        frame_code=arguments.get("frame_code"),
        sst=arguments.get("sst"),
        partition=stage.partition_config,
        transcript=stage.transcript_config,
        max_tokens_per_second=stage.tokens_per_second,
        eval_ratios=arguments.get("eval_ratios"),
        interval_seconds=stage.interval_seconds,
        default_ratio=stage.default_ratio or default_ratio(backbone),
        lineage=backbone.lineage,
        **parts,
    )


def _nameless(stage: TrainedStage, part: Any) -> PreTrainedConfig:
    """A part's config without a trace of where it lay."""
    config = deepcopy(part.model.config)
    if not type(config).__module__.startswith("transformers."):
        raise ConfigError(
            f"{stage.source}: {part.name} brings code of its own ({type(config).__name__}), and a folder in the "
            "Hugging Face form runs none; only models that transformers has by itself can be given away in it"
        )
    for name in FORGOTTEN:
        if hasattr(config, name):
            setattr(config, name, "" if name == "_name_or_path" else None)
    return config


def processor_of(backbone: SpeechLLM) -> SpeechXLProcessor:
    return SpeechXLProcessor(backbone.encoder.extractor, backbone.llm.prompt.tokenizer)


def local_folder(name: str | Path, **options: Any) -> Path:
    """The folder that this is, or that the hub has under this name, downloaded where it isn't here yet.

    options: as of huggingface_hub (`WANTED`). Raises ConfigError where there is none in this form.
    """
    path = Path(name).expanduser()
    if is_hub_folder(path):
        return path
    if (path / RUN_CONFIG).is_file():
        raise ConfigError(f"{name} is the folder of a training run: load it with SpeechXL.from_stage, or export it")
    if path.exists() or not HUB_NAME.fullmatch(str(name)):
        what = f"its {CONFIG} is of another model" if (path / CONFIG).is_file() else f"{path / CONFIG} is missing"
        raise ConfigError(f"{name} is no folder that speech-xl export wrote ({what}); give one, or a name on the hub")
    try:
        found = Path(snapshot_download(str(name), allow_patterns=list(DOWNLOADED), **options))
    except (OSError, ValueError) as error:  # not there, not allowed, no network, or offline by the user's own wish
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConfigError(f"{name} is neither a folder nor to be had from the hub ({first:.200})") from error
    if not is_hub_folder(found):
        raise ConfigError(f"{name}: what the hub has is no model of this package ({CONFIG}, {WEIGHTS} or {INDEX})")
    return found
