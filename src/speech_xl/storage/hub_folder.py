"""A folder in the Hugging Face form: which one is one, its plain config, and which files hold its weights.

Needs no torch. What is read here may be somebody else's: nothing outside the folder is named by a file in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from speech_xl import SHORTEST_SECONDS
from speech_xl.checks import number, whole
from speech_xl.storage.files import unreadable

MODEL_TYPE = "speech_xl"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"  # the model card
INDEX = "model.safetensors.index.json"  # of weights in several files
PREFIX = "backbone."  # before the names of its tensors: the whole model is one module around the backbone
CODE = "auto_map"  # the key by which a folder on the hub asks for code of its own to be run
JSON_FILES = (CONFIG, "processor_config.json", "preprocessor_config.json", "tokenizer_config.json")


NUMBER_FORMATS = ("float16", "bfloat16", "float32")


class HubFolderError(RuntimeError):
    """A folder in the Hugging Face form that can't be used; the message names file, key and mend."""


def is_hub_folder(folder: Path) -> bool:
    """Whether a folder's config.json says that it is a model of this package."""
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("model_type") == MODEL_TYPE
    except (OSError, ValueError, AttributeError):
        return False


def weights_file(folder: Path) -> Path:
    """The file of its weights, or the index of its weights' files. Raises HubFolderError where it has neither."""
    for name in (WEIGHTS, INDEX):
        if (folder / name).is_file():
            return folder / name
    pickles = sorted(path.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(kind))
    also = f"; {', '.join(pickles[:3])} could hold code and isn't read" if pickles else ""
    raise HubFolderError(f"{folder / WEIGHTS} is missing, its weights{also}. Take the folder as it was exported")


def read_hub_config(folder: Path) -> dict[str, Any]:
    """Its config.json as plain data, after a look at all its JSON files. Raises HubFolderError where one is no mapping,
    or asks for code of its own; FileError where the system refuses."""
    found = {name: read_mapping(folder / name) for name in JSON_FILES if (folder / name).is_file()}
    for name, given in found.items():
        if key := _asks_for_code(given):
            raise HubFolderError(
                f"{folder / name}: {key}: asks for code that comes with the folder, and none is run. Take it out, or "
                "don't use the folder"
            )
    return found[CONFIG]


def check_values(given: dict[str, Any]) -> None:
    """Raises ValueError with key, value and mend where a value of a config.json, of those that are there, can't be
    used."""
    given = {key: value for key, value in given.items() if value is not None}
    if "interval_seconds" in given:
        number("interval_seconds", given["interval_seconds"], least=SHORTEST_SECONDS, unit="seconds")
    if "default_ratio" in given:
        whole("default_ratio", given["default_ratio"], least=1)
    if "max_tokens_per_second" in given:
        number("max_tokens_per_second", given["max_tokens_per_second"], above=0)
    if "eval_ratios" in given:
        ratios = given["eval_ratios"]
        if not isinstance(ratios, list) or not ratios:
            raise ValueError(f"eval_ratios: got {ratios!r:.80}; give a list of whole numbers from 1 upwards, or null")
        for index, ratio in enumerate(ratios):
            whole(f"eval_ratios[{index}]", ratio, least=1)
    if "weights_dtype" in given and given["weights_dtype"] not in NUMBER_FORMATS:
        raise ValueError(f"weights_dtype: got {given['weights_dtype']!r:.80}; give {', '.join(NUMBER_FORMATS)} or null")


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise HubFolderError(f"{path} is no JSON ({error}); take the file as it was exported") from error
    if not isinstance(given, dict):
        raise HubFolderError(f"{path} holds a {type(given).__name__} in place of a mapping; take it as it was exported")
    return given


def shards(index: Path) -> list[Path]:
    """The files that an index of weights names, sorted.

    Raises HubFolderError where one is missing or lies elsewhere.
    """
    weight_map = read_mapping(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise HubFolderError(f"{index}: weight_map: got {weight_map!r:.80}; take the file as it was exported")
    found = []
    for name in sorted(set(map(str, weight_map.values()))):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise HubFolderError(
                f"{index}: weight_map: {name!r} is no .safetensors file of this folder; take it as it was exported"
            )
        if not (index.parent / name).is_file():
            raise HubFolderError(f"{index.parent / name} is missing, a part of the weights; fetch the folder again")
        found.append(index.parent / name)
    return found


def _asks_for_code(value: Any, key: str = "") -> str | None:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        place = f"{key}.{name}" if key else str(name)
        if name == CODE and part:
            return place
        if found := _asks_for_code(part, place):
            return found
    return None
