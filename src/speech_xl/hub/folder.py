"""Writing a folder in the Hugging Face form, the same bytes each time."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import Tensor, nn

from speech_xl import __version__
from speech_xl.hub.config import SpeechXLConfig
from speech_xl.hub.processor import SpeechXLProcessor
from speech_xl.phases.finite import check_finite
from speech_xl.run.lineage import NOTE
from speech_xl.storage.files import replacing, write_text
from speech_xl.storage.hub_folder import CARD, INDEX, PREFIX, WEIGHTS
from speech_xl.storage.tensor_files import write_tensors

SHARD = "5GB"  # most of a weights file, unless one tensor alone is more


def write_folder(
    folder: Path,
    config: SpeechXLConfig,
    state: Mapping[str, Tensor],
    left_out: Collection[str],
    processor: SpeechXLProcessor,
    max_shard_size: int | str = SHARD,
    card: bytes | None = None,
) -> None:
    """Write a model.

    state     its tensors, by their names in the backbone; those of pretrained parts that are `left_out` aren't written
    card      its model card, which is written as it is; None: none is

    Raises DivergedError where a tensor holds NaN or infinity, and FileError where the system refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_finite(dict(state), f"{folder} is not written")
    written = {f"{PREFIX}{name}": smaller(value, config.weights_dtype) for name, value in state.items()}
    notes = {"format": "pt", "speech_xl": __version__, "stage": str(config.stage)}
    notes["untouched_pretrained"] = json.dumps(sorted(left_out))
    if config.lineage is not None:
        notes[NOTE] = json.dumps(config.lineage, sort_keys=True)
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    if card is not None:
        with replacing(folder / CARD) as draft:
            draft.write_bytes(card)
    for old in (*folder.glob("model-*-of-*.safetensors"), folder / WEIGHTS, folder / INDEX):
        old.unlink(missing_ok=True)
    pattern = WEIGHTS.replace(".safetensors", "{suffix}.safetensors")
    split = split_torch_state_dict_into_shards(written, filename_pattern=pattern, max_shard_size=max_shard_size)
    for name, tensors in split.filename_to_tensors.items():
        write_tensors({key: written[key] for key in tensors}, folder / name, notes)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        write_text(folder / INDEX, json.dumps(index, indent=2, sort_keys=True) + "\n")


def smaller(value: Tensor, dtype: str | None) -> Tensor:
    """A tensor in a smaller number format, where it loses nothing by it."""
    if dtype is None or not value.is_floating_point():
        return value
    cast = value.to(getattr(torch, dtype))
    return cast if cast.element_size() < value.element_size() and cast.to(value.dtype).equal(value) else value


def own_state(module: nn.Module) -> dict[str, Tensor]:
    """A module's tensors, each once: of tied ones the first."""
    found: dict[str, Tensor] = {}
    seen: set[tuple[int, torch.Size]] = set()
    first = [name for name, _ in module.named_parameters()]
    state = module.state_dict()
    for name in sorted(state, key=lambda one: first.index(one) if one in first else len(first)):
        place = (state[name].data_ptr() or id(state[name]), state[name].shape)
        if place not in seen:
            found[name] = state[name].detach()
            seen.add(place)
    return found
