"""Checkpoints on disk: written whole beside their target with the one before kept, read only after their checksums.

A checkpoint is a zip archive of tensors (`torch.save`), whose CRC-32s torch writes but never reads back; they are
compared here before anything is unpickled. Unpickling makes tensors and plain containers, and nothing else.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import warnings
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from speech_xl.storage.files import naming, replacing, unreadable
from speech_xl.storage.finite_tensors import nonfinite, tensors_of

LAST, BEFORE = "last.ckpt", "last-1.ckpt"
ANY = ("state_dict",)  # what every use of a checkpoint needs
RESUMED = (  # what a resumed run needs beside
    "state_dict",
    "optimizer_states",
    "lr_schedulers",
    "callbacks",
    "loops",
    "SpeechDataModule",
    "epoch",
    "global_step",
    "pytorch-lightning_version",
)
MEND = "Name a checkpoint that `fit` wrote, such as checkpoints/last.ckpt of a run folder"
ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # how such files begin


class CheckpointError(RuntimeError):
    """A checkpoint that can't be used; the message names the file, the reason and the mend.

    spoilt: whether its content was lost (damaged, cut, not finite), so that another checkpoint is worth looking for.
    """

    def __init__(self, path: Path, reason: str, *, spoilt: bool = True) -> None:
        super().__init__(f"{path} {reason}")
        self.reason, self.spoilt = reason, spoilt


class WholeCheckpointIO(CheckpointIO):
    """Lightning's way to checkpoints: `write_checkpoint` and `read_checkpoint`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        with naming(path):
            Path(path).unlink(missing_ok=True)


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint as a whole or not at all; of last.ckpt the one before stays, as last-1.ckpt.

    There is no moment without a whole file at `path`, once there was one. Raises FileError.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        try:
            # Into an open file: torch's own writer forgets the system's reason.
            with draft.open("wb") as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:
            refused = _refusal(error)
            if refused is None:
                raise
            raise refused from error
        if path.name == LAST and path.exists():
            _keep(path, path.with_name(BEFORE))


def _refusal(error: BaseException | None) -> OSError | None:
    """What the system said first, where torch raised something of its own after it."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _keep(path: Path, copy: Path) -> None:
    """Give the file at `path` a second name, which takes the place of an older file of that name."""
    link = copy.with_name(f".{copy.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        os.link(path, link)
        link.replace(copy)
    except OSError:  # a file system without hard links
        with replacing(copy) as draft:
            shutil.copyfile(path, draft)
    finally:
        link.unlink(missing_ok=True)  # renaming one name of a file to another of its names does nothing


def read_checkpoint(path: Path, needs: tuple[str, ...] = ANY, *, mmap: bool = False) -> dict[str, Any]:
    """A whole checkpoint with these parts, its tensors on the CPU; nothing in it is run.

    mmap: leave tensors on disk until they are touched, for a look at what else is there.

    Raises CheckpointError for a file that is damaged, is no checkpoint, lacks a part, holds other objects than tensors
    and plain containers, or numbers that aren't finite; FileError where the system refuses.
    """
    try:
        _check_archive(path)
        checkpoint = _load(path, mmap)
    except OSError as error:
        raise unreadable(path, error) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(path, f"isn't a checkpoint: it holds a {type(checkpoint).__name__}. {MEND}", spoilt=False)
    missing = [part for part in needs if part not in checkpoint]
    if "state_dict" in missing and checkpoint and all(isinstance(value, Tensor) for value in checkpoint.values()):
        reason = "is a bare state dict, not a checkpoint: its state_dict is missing, and all that goes with it"
        raise CheckpointError(path, f"{reason}. {MEND}", spoilt=False)
    if missing:
        raise CheckpointError(path, f"isn't a whole checkpoint: {', '.join(missing)} missing. {MEND}", spoilt=False)
    held = (one for key in ("state_dict", "optimizer_states") for one in tensors_of(checkpoint.get(key), key))
    if wrong := nonfinite(dict(held)):
        raise CheckpointError(path, f"holds numbers that aren't finite ({wrong[0]}): training had diverged. {MEND}")
    return checkpoint


def _check_archive(path: Path) -> None:
    """Raise CheckpointError unless the file is an archive whose every part has the checksum written with it."""
    if path.is_dir():
        raise CheckpointError(path, f"is a folder. {MEND}", spoilt=False)
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise CheckpointError(path, "is empty (0 bytes)")
    if start[:1] == PICKLE:
        return  # of torch's older format, or any pickle: it has no checksums
    if start != ZIP:
        zeros = "damaged: it begins with zeros" if not any(start) else "no checkpoint"
        raise CheckpointError(path, f"is {zeros}. {MEND}")
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except (
        Exception
    ) as error:  # zipfile raises many kinds, also the system's where it was led to a place beyond the file
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise CheckpointError(path, f"is damaged: its end is missing or overwritten ({error})") from error
    if wrong is not None:
        raise CheckpointError(path, f"is damaged: {wrong} in it isn't what was written (checksum)")


def _load(path: Path, mmap: bool) -> Any:
    mmap = mmap and zipfile.is_zipfile(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles that are none of torch's
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)|global[s]? (\S+)|class (\S+)", str(error))
        name = f" ({next(filter(None, found.groups()))})" if found else ""
        reason = f"holds objects other than tensors{name}, which could run code; nothing was run"
        raise CheckpointError(path, reason, spoilt=False) from error
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for what isn't of its making
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(path, f"isn't a checkpoint ({reason}). {MEND}") from error


def newest_whole(folder: Path, but: Path) -> tuple[Path, int] | None:
    """Of the other checkpoints in `folder` that a run can go on from, the one of the most steps, and how many."""
    found = []
    for path in sorted(folder.glob("*.ckpt")):
        try:
            if path != but and not (but.exists() and path.samefile(but)):
                found.append((read_checkpoint(path, RESUMED, mmap=True)["global_step"], path.name, path))
        except (CheckpointError, OSError):
            continue  # as little use as the one that was asked for
    steps, _, path = max(found, default=(0, "", None))
    return None if path is None else (path, steps)


def resumable(path: Path, *, falls_back: bool) -> tuple[Path, str]:
    """A checkpoint to go on from, read through once: `path` itself, or what stands in for it; and a warning or "".

    falls_back: where `path` is spoilt, take the newest whole checkpoint beside it; else that one is offered in the
    message. Raises CheckpointError.
    """
    try:
        read_checkpoint(path, RESUMED, mmap=True)
        return path, ""
    except CheckpointError as error:
        other = newest_whole(path.parent, path) if error.spoilt else None
        if other is None:
            nothing = ". No whole checkpoint lies beside it: restore one, or leave --ckpt_path out to start over"
            raise CheckpointError(path, error.reason + nothing * error.spoilt) from error
        if not falls_back:
            offer = f". --ckpt_path {other[0]} goes on from step {other[1]}, the newest whole checkpoint beside it"
            raise CheckpointError(path, error.reason + offer) from error
        return other[0], f"{error}. Going on from step {other[1]} instead, by the newest whole one: {other[0]}"
