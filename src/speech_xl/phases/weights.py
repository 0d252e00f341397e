"""Weights that travel between stages: safetensors with a note of what was left out, and a loader that reports.

Pretrained parameters that no stage has trained are left out of every file; they come from the model's own source.
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from speech_xl import __version__
from speech_xl.phases.finite import check_finite
from speech_xl.storage.checkpoint_io import read_checkpoint
from speech_xl.storage.files import file_digest
from speech_xl.storage.finite_tensors import nonfinite
from speech_xl.storage.hub_folder import PREFIX
from speech_xl.storage.tensor_files import TensorFileError, read_tensors, write_tensors


class WeightsError(RuntimeError):
    """Weights that don't fit the model; the message names the file and what is missing or unknown."""


def save_weights(state: dict[str, Tensor], path: Path, **notes: str) -> None:
    """Write `state` to `path` (.safetensors), with `notes` in its metadata. Raises DivergedError where a tensor holds
    NaN or infinity."""
    check_finite(state, f"{path} is not written")
    write_tensors(state, path, {"speech_xl": __version__, **notes})


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """State and notes of a .safetensors file, of several that an index (.json) names, or the backbone's part of a
    Lightning checkpoint.

    Raises FileNotFoundError, TensorFileError, HubFolderError or CheckpointError, which name the file.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"init_from: no weights at {path}. Train the stage that makes them, give another path with "
            "--init_from PATH, or --init_from null to start without."
        )
    if path.suffix in (".safetensors", ".json"):
        state, notes = read_tensors(path)
        _untouched(path, notes)
        return {name.removeprefix(PREFIX): value for name, value in state.items()}, notes
    checkpoint = read_checkpoint(path)
    # What lies outside the backbone, such as a CTC head, belongs to the phase that trained it and stays behind.
    whole = checkpoint["state_dict"]
    state = {n.removeprefix(PREFIX): value for n, value in whole.items() if n.startswith(PREFIX)}
    return state, {key: json.dumps(checkpoint[key]) for key in ("untouched_pretrained", "lineage") if key in checkpoint}


def _untouched(path: Path, notes: dict[str, str]) -> set[str]:
    """The names noted as untouched; TensorFileError where the note is none."""
    try:
        names = json.loads(notes.get("untouched_pretrained", "[]"))
    except json.JSONDecodeError as error:
        raise TensorFileError(
            f"{path}: its note `untouched_pretrained` isn't JSON ({error}); take the file as it was made"
        ) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TensorFileError(
            f"{path}: its note `untouched_pretrained` isn't a list of names; take the file as it was made"
        )
    return set(names)


def load_strict(module: nn.Module, state: dict[str, Tensor], may_miss: set[str], source: str) -> str:
    """Load `state`; only names in `may_miss`, and those tied to one that is there, may be absent, and nothing may be
    unknown. Returns a one-line report."""
    own = module.state_dict()
    given = {_place(own[name]) for name in state if name in own}
    missing = sorted(n for n in set(own) - set(state) - may_miss if _place(own[n]) not in given or not own[n].numel())
    unknown = sorted(set(state) - set(own))
    shapes = [n for n in sorted(set(own) & set(state)) if own[n].shape != state[n].shape]
    kinds = [n for n in sorted(set(own) & set(state)) if own[n].is_floating_point() != state[n].is_floating_point()]
    if missing or unknown or shapes or kinds:
        problems = [
            *(f"missing: {n}" for n in missing[:5]),
            *(f"not in this model: {n}" for n in unknown[:5]),
            *(f"{n}: {list(state[n].shape)} in the file, {list(own[n].shape)} in the model" for n in shapes[:5]),
            *(f"{n}: {_kind(state[n])} in the file, {_kind(own[n])} in the model" for n in kinds[:5]),
        ]
        counts = [f"{len(missing)} missing", f"{len(unknown)} unknown", f"{len(shapes)} of another shape"]
        counts += [f"{len(kinds)} of another kind of number"] if kinds else []
        raise WeightsError(
            f"{source} doesn't fit this model ({', '.join(counts)}). {'; '.join(problems)}. "
            "Use the encoder, adapter, LLM and LoRA settings it was trained with."
        )
    if broken := nonfinite(state):
        raise WeightsError(
            f"{source}: {', '.join(broken[:5])} hold NaN or infinity ({len(broken)} of {len(state)} tensors). These "
            "weights are of a training that diverged, or damaged: take an earlier checkpoint, or train them again."
        )
    nn.Module.load_state_dict(module, state, strict=False)  # strictness was checked above, with names
    left = sum(name not in state and _place(own[name]) not in given for name in own)
    return f"{source}: {len(state)} tensors loaded, {left} left as their pretrained source has them"


def _place(tensor: Tensor) -> tuple[int, torch.Size]:
    """Where a tensor's numbers lie: tied tensors share it."""
    return tensor.data_ptr() or id(tensor), tensor.shape  # one that isn't filled yet lies nowhere


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def weights_tag(source: Path | str) -> str:
    """Eight hex digits that change with the weights."""
    path = Path(source)
    return file_digest(path)[:8] if path.is_file() else path.name
