"""Safetensors files with a digest of what they hold, which safetensors itself lacks: a single wrong byte is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from speech_xl.storage.files import naming, replacing, unreadable
from speech_xl.storage.finite_tensors import nonfinite
from speech_xl.storage.hub_folder import shards

DIGESTED = {"lineage", "speech_xl_memory"}  # notes that no file of an earlier version, without a digest, has
DIGEST = "sha256"  # the note that holds it; files of earlier versions have none and are read without


class TensorFileError(RuntimeError):
    """A safetensors file that can't be used; the message names the file and the reason."""


def write_tensors(tensors: Mapping[str, Tensor], path: Path, notes: Mapping[str, str]) -> None:
    """Write tensors and notes as a whole or not at all; tied and strided tensors are written as they read. The same
    tensors and notes give the same bytes.

    Raises FileError.
    """
    state = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        save_file(state, draft, metadata={**notes, DIGEST: digest(state, notes)})
        _sort_notes(draft)


def _sort_notes(path: Path) -> None:
    """Bring the notes in a file's header into the order of their keys: safetensors writes them in any."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length, "the same header takes more room than safetensors gave it"
        file.seek(8)
        file.write(text.ljust(length))


def read_notes(path: Path) -> dict[str, str]:
    """The notes alone: no tensor is read. Raises TensorFileError and FileError as `read_tensors` does."""
    if path.suffix == ".json":  # every file that an index names has them
        return read_notes(shards(path)[0])
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file, open; what can't be read is named."""
    if path.is_dir():
        raise TensorFileError(f"{path} is a folder; name a .safetensors file")
    try:
        if not path.stat().st_size:
            raise TensorFileError(f"{path} is empty (0 bytes); restore it or make it again")
        with safe_open(path, framework="pt") as file:
            yield file
    except OSError as error:
        raise unreadable(path, error) from error
    except SafetensorError as error:
        raise TensorFileError(
            f"{path} is damaged, or no safetensors file ({error}); restore it or make it again"
        ) from error


def read_tensors(path: Path, *, finite: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, on the CPU, and notes of a file that is whole, or of all files that an index (.json) names.

    finite: refuse NaN and infinity.

    Raises TensorFileError for a file that is damaged or no safetensors, or holds numbers that aren't finite; FileError
    where the system refuses; HubFolderError for an index that names no files beside it.
    """
    if path.suffix == ".json":
        parts = [read_tensors(part, finite=finite) for part in shards(path)]
        notes = {key: value for key, value in parts[0][1].items() if key != DIGEST}
        return {name: value for tensors, _ in parts for name, value in tensors.items()}, notes
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        notes = file.metadata() or {}
    if DIGEST not in notes and notes.keys() & DIGESTED:
        raise TensorFileError(f"{path} is damaged: its digest is missing; restore it or make it again")
    if DIGEST in notes and notes[DIGEST] != digest(tensors, notes):
        raise TensorFileError(
            f"{path} is damaged: its tensors or notes aren't what was written; restore it or make it again"
        )
    if finite and (wrong := nonfinite(tensors)):
        raise TensorFileError(
            f"{path} holds numbers that aren't finite, in {len(wrong)} tensors ({', '.join(wrong[:3])}): what made it "
            "had diverged; take an earlier file, or make it again"
        )
    return tensors, notes


def digest(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> str:
    """SHA-256, as hex digits, of names, types, shapes and values, and of all notes but itself."""
    found = hashlib.sha256(json.dumps({k: v for k, v in notes.items() if k != DIGEST}, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        if value.numel():
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
