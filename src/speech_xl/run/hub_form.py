"""A folder in the Hugging Face form as the configuration of a stage: what `TrainedStage` reads of it.

The folder may be somebody else's. A model that it doesn't hold itself is named as on the hub, never by a path: a path
would make whoever loads the folder read a file of theirs that its author chose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speech_xl.run.configs import ConfigError
from speech_xl.storage.hub_folder import CONFIG, check_values, read_hub_config

HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")  # OWNER/NAME, or one of the hub's oldest names
ROLES = ("encoder", "llm")  # parts that may be a base model
LISTENED = ("adapter", "frame_code", "sst", "eval_ratios", "max_tokens_per_second")
HEARD = ("partition", "transcript")


def stage_config(folder: Path, bases: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The stage's configuration, as a run of it would have it: its model, its partition, its transcripts.

    bases  where this machine has the base models of the folder: role (encoder, llm) -> folder or hub name

    Raises ConfigError for a value that can't be used, a base model that is named by a path, and a role that has none;
    HubFolderError for a
    config.json that can't be read.
    """
    source, given = folder / CONFIG, read_hub_config(folder)
    try:
        check_values(given)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error
    named = given.get("base_models") or {}
    if not isinstance(named, dict) or set(named) - set(ROLES):
        raise ConfigError(f"{source}: base_models: got {named!r:.80}; give a mapping of {' and '.join(ROLES)}")
    for role in bases or {}:
        if role not in named:
            raise ConfigError(f"{role}: {folder} holds the {role} itself; leave it out")
    arguments: dict[str, Any] = {key: given[key] for key in LISTENED if given.get(key) is not None}
    for role in ROLES:
        part = given.get(role)
        if not isinstance(part, dict) or not isinstance(inner := part.get("init_args", {}), dict):
            raise ConfigError(f"{source}: {role}: got {part!r:.80}; give class_path and init_args")
        if role in named:
            own = base_model(source, role, named[role])
            where = (bases or {}).get(role)
            place: dict[str, Any] = (
                {"name": where} if where else {key: own[key] for key in ("name", "revision") if own.get(key)}
            )
            place |= {"pretrained": True}
        else:
            place = {"name": str(folder), "pretrained": False}
        arguments[role] = {**part, "init_args": {**inner, **place}}
    model = {"class_path": given.get("phase"), "init_args": arguments}
    listening = {key: given[key] for key in ("interval_seconds", "default_ratio") if key in given}
    return {"stage": given.get("stage"), "model": model, "data": {key: given.get(key) for key in HEARD}, **listening}


def base_model(source: Path, role: str, given: Any) -> dict[str, Any]:
    """What a config.json says of a base model: its name on the hub, and perhaps the revision."""
    key = f"{source}: base_models.{role}"
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise ConfigError(f"{key}: got {given!r:.80}; give the model's name on the hub")
    if not HUB_NAME.fullmatch(given["name"]) or ".." in given["name"]:
        raise ConfigError(
            f"{key}.name: {given['name']!r} is a path; a folder that was given away names its base model as on the "
            f"hub, such as openai/whisper-base. Say where yours lies when you load it: {role}=PATH"
        )
    if not isinstance(given.get("revision"), (str, type(None))):
        raise ConfigError(f"{key}.revision: got {given['revision']!r:.80}; give text, or null")
    return given
