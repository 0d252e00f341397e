"""A listener's memory on disk: tensors as safetensors with a digest, the rest in their header; checked when read."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from speech_xl.model.speech_llm import SpeechLLM
from speech_xl.storage.tensor_files import read_tensors, write_tensors

MEMORY = "speech_xl_memory"  # the note that holds what is no tensor
COUNTS = ("dropped", "encoded", "kept_from", "adapted")  # of a stream
MEND = "hear the audio anew"


class MemoryFileError(RuntimeError):
    """A file that is no memory of this model; the message names the file, the reason and the mend."""


def write_memory(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a memory as a whole or not at all. Raises FileError."""
    write_tensors(tensors, path, {MEMORY: json.dumps(dict(about))})


def read_memory(
    path: Path, model: SpeechLLM, state: Collection[str], more: Collection[str] = ()
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, on the model's device, and header of a memory that `model` has made.

    state: what the header's listener must hold; more: tensors [S] that the file may hold beside the listener's.

    Raises MemoryFileError for a file that is no memory, of another version, or of another model; TensorFileError for
    one that is damaged or holds numbers that aren't finite.
    """
    tensors, notes = read_tensors(path)
    try:
        about = json.loads(notes.get(MEMORY, "null"))
    except ValueError as error:
        raise MemoryFileError(f"{path}: its header is no JSON ({error}); {MEND}") from error
    if not isinstance(about, dict):
        raise MemoryFileError(f"{path}: not a listener's memory (Listener.save writes them)")
    if (before := about.get("model")) != (now := model.identity()):
        stage = (about.get("lineage") or {}).get("stage", "unknown")
        raise MemoryFileError(
            f"{path}: heard through other weights or settings ({before}, of stage {stage}) than these ({now}); load "
            f"the stage it was heard with, or {MEND}"
        )
    listener, stream = about.get("listener"), about.get("stream")
    if not isinstance(listener, dict) or (missing := [name for name in state if name not in listener]):
        lacks = "listener" if not isinstance(listener, dict) else missing[0]
        raise MemoryFileError(f"{path}: written by another version (it has no {lacks}); {MEND}")
    counts = [about.get("peak"), *(stream.get(name) for name in COUNTS)] if isinstance(stream, dict) else [None]
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        raise MemoryFileError(f"{path}: its counts of frames and samples were changed by hand; {MEND}")
    _check_shapes(path, tensors, model, more)
    return {name: tensor.to(model.device) for name, tensor in tensors.items()}, about


def _is_history(history: Tensor, noted: Tensor, tokens: int) -> bool:
    """Whether it may be a memory's of one row and so many tokens: counts that rise to all of them."""
    if history.shape[0] != 1 or history.shape[2] != 2 or len(noted) != 1 or not 0 < noted.item() <= history.shape[1]:
        return False
    known = history[0, : int(noted)]
    return bool((known >= 0).all() and (known.diff(dim=0) >= 0).all() and known[-1, 0] == tokens)


def _check_shapes(path: Path, tensors: Mapping[str, Tensor], model: SpeechLLM, more: Collection[str]) -> None:
    """Raise MemoryFileError unless these are all the tensors of a memory of `model`, of one row and one length."""
    count = model.llm.model.config.num_hidden_layers
    layers = [f"layers.{number}.{what}" for number in range(count) for what in ("keys", "values")]
    expected = {"waiting": 2, "audio": 1, "valid": 2, "position": 1, **dict.fromkeys(layers, 4)}
    if "carried_valid" in tensors:
        carried = [f"carried.{name.removeprefix('layers.')}" for name in layers]
        expected |= {"carried_valid": 2, **dict.fromkeys(carried, 4)}
    if "history" in tensors:  # memories of earlier versions go on without
        expected |= {"history": 3, "noted": 1}
    expected |= {name: 1 for name in more if name in tensors}
    wrong = [name for name, dims in expected.items() if name not in tensors or tensors[name].dim() != dims]
    unknown = sorted(tensors.keys() - expected.keys() - {"encoder_frames"})
    if not wrong:
        tokens = tensors["valid"].shape[1]
        held = {name: tensors[name] for name in layers}
        wrong = [name for name, one in held.items() if one.shape[0] != 1 or one.shape[2] not in (0, tokens)]
        if "carried_valid" in tensors:
            wide = tensors["carried_valid"].shape
            wrong += ["carried_valid"] if wide[0] != 1 or not 0 < wide[1] <= model.layout_options[2] else []
            wrong += [name for name in carried if tensors[name].shape[::2] != (1, wide[1])]
        if "history" in tensors:
            wrong += [] if _is_history(tensors["history"], tensors["noted"], tokens) else ["history"]
        wrong += ["valid"] if tensors["valid"].shape[0] != 1 or len(tensors["position"]) != 1 else []
        wrong += ["waiting"] if tensors["waiting"].shape[1] != model.llm.width else []
    if wrong or unknown:
        raise MemoryFileError(f"{path}: not a whole memory ({', '.join([*wrong, *unknown][:3])}); {MEND}")
