"""Weights that travel between stages: safetensors with a note of what was left out, and a loader that reports.

Pretrained parameters that no stage has trained are left out of every file; they come from the model's own source.
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from speech_xl import __version__
from speech_xl.phases.finite import check_finite, nonfinite

LATER = (".text_scale",)  # what files of earlier versions lack, and building from the same LLM gives alike


class WeightsError(RuntimeError):
    """Weights that don't fit the model; the message names the file and what is missing or unknown."""


def save_weights(state: dict[str, Tensor], path: Path, **notes: str) -> None:
    """Write `state` to `path` (.safetensors), with `notes` in its metadata. Raises DivergedError where a tensor holds
    NaN or infinity."""
    check_finite(state, f"{path} is not written")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}  # tied ones apart
    save_file(tensors, draft, metadata={"speech_xl": __version__, **notes})
    draft.replace(path)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """State and notes of a .safetensors file, or the backbone's part of a Lightning checkpoint."""
    if not path.is_file():
        raise FileNotFoundError(
            f"init_from: no weights at {path}. Train the stage that makes them, give another path with "
            "--init_from PATH, or --init_from null to start without."
        )
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    # What lies outside the backbone, such as a CTC head, belongs to the phase that trained it and stays behind.
    whole = checkpoint["state_dict"]
    state = {n.removeprefix("backbone."): value for n, value in whole.items() if n.startswith("backbone.")}
    return state, {"pristine": json.dumps(checkpoint.get("pristine", []))}


def load_strict(module: nn.Module, state: dict[str, Tensor], may_miss: set[str], source: str) -> str:
    """Load `state`; only names in `may_miss` may be absent and nothing may be unknown. Returns a one-line report."""
    own = module.state_dict()
    missing = sorted(name for name in set(own) - set(state) - may_miss if not name.endswith(LATER))
    unknown = sorted(set(state) - set(own))
    shapes = [n for n in sorted(set(own) & set(state)) if own[n].shape != state[n].shape]
    if missing or unknown or shapes:
        said = [
            *(f"missing: {n}" for n in missing[:5]),
            *(f"not in this model: {n}" for n in unknown[:5]),
            *(f"{n}: {list(state[n].shape)} in the file, {list(own[n].shape)} in the model" for n in shapes[:5]),
        ]
        raise WeightsError(
            f"{source} doesn't fit this model ({len(missing)} missing, {len(unknown)} unknown, {len(shapes)} of "
            f"another shape). {'; '.join(said)}. Use the encoder, adapter, LLM and LoRA settings it was trained with."
        )
    if broken := nonfinite(state):
        raise WeightsError(
            f"{source}: {', '.join(broken[:5])} hold NaN or infinity ({len(broken)} of {len(state)} tensors). These "
            "weights are of a training that diverged, or damaged: take an earlier checkpoint, or train them again."
        )
    nn.Module.load_state_dict(module, state, strict=False)  # strictness was checked above, with names
    left = len(own) - len(state)
    return f"{source}: {len(state)} tensors loaded, {left} left as their pretrained source has them"


def weights_tag(source: Path | str) -> str:
    """Eight hex digits that change with the weights."""
    path = Path(source)
    if not path.is_file():
        return path.name
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:8]
