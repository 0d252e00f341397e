"""Hostile files: pickles that run a command, models that bring code, weights and checkpoints that don't fit."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from experiments.drills.cases import Due
from experiments.drills.finished_stage import finished_stage
from experiments.drills.hostile_stages import MARK, with_own_code
from experiments.random_models import encoder_folder, llm_folder

Tensors = dict[str, torch.Tensor]


class Command:
    """Unpickled, it runs a command: it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.mark}'",)


class TrainedFixture:
    """Weights and a checkpoint of a finished stage, from which hostile files are made in `folder`."""

    def __init__(self, folder: Path, models: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.mark = folder, folder / MARK
        self.stage = finished_stage(folder / "stage", models, ssts=False)
        self.good = self.stage / "weights.safetensors"
        self.weights: Tensors = load_file(self.good)
        self.checkpoint = torch.load(self.stage / "checkpoints" / "last.ckpt", weights_only=True)
        # A matrix, whose shape can be wrong.
        self.name = next(name for name in sorted(self.weights) if self.weights[name].ndim > 1)

    def path(self, name: str, content: bytes) -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def saved(self, name: str, content: Any) -> Path:
        torch.save(content, self.folder / name)
        return self.folder / name


@dataclass(frozen=True)
class HostileFile:
    """A file and how `run.py` is given it.

    name    what it is and where it goes
    words   writes it, and gives the flags that name it
    names   what the message must hold
    due     refused; either, where it may be used and does no harm
    """

    name: str
    words: Callable[[TrainedFixture], list[Any]]
    names: tuple[str, ...] = ()
    due: Due = "refused"
    subcommand: str = "fit"


def pickled(kind: str) -> Callable[[TrainedFixture], Path]:
    """A pickle with a command in it: all of the file, beside a checkpoint's content, or among its weights."""

    def make(fixture: TrainedFixture) -> Path:
        evil = Command(fixture.mark)
        if kind == "whole":
            return fixture.path("whole.ckpt", pickle.dumps(evil))
        if kind == "inside":
            return fixture.saved("inside.ckpt", {**fixture.checkpoint, "extra": evil})
        state = {**fixture.checkpoint["state_dict"], "backbone.x": evil}
        return fixture.saved("weights.ckpt", {**fixture.checkpoint, "state_dict": state})

    return make


def model_folder(part: str, brings: str) -> Callable[[TrainedFixture], list[Any]]:
    """A folder of an encoder or LLM whose weights are a pickle with a command, or whose config brings code."""

    def make(fixture: TrainedFixture) -> list[Any]:
        folder = fixture.folder / f"evil_{part}"
        shutil.rmtree(folder, ignore_errors=True)
        (encoder_folder if part == "encoder" else llm_folder)(folder)
        if brings == "code":
            with_own_code(folder, fixture.mark, "AutoModel" if part == "encoder" else "AutoModelForCausalLM")
        else:
            state = load_file(folder / "model.safetensors")
            (folder / "model.safetensors").unlink()
            torch.save({**state, "x": Command(fixture.mark)}, folder / "pytorch_model.bin")
        return [f"--model.{part}", folder]

    return make


def weights(
    what: str, name: str, change: Callable[[TrainedFixture], Tensors], *names: str, due: Due = "refused"
) -> HostileFile:
    """Weights whose tensors are changed, as --init_from."""
    file = f"{name}.safetensors"

    def words(fixture: TrainedFixture) -> list[Any]:
        tensors = {key: value.contiguous() for key, value in change(fixture).items()}
        save_file(tensors, fixture.folder / file)
        return ["--init_from", fixture.folder / file]

    return HostileFile(f"weights: {what}", words, (file, *names), due)


def changed(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[TrainedFixture], Tensors]:
    """One matrix of the weights is changed."""
    return lambda fixture: fixture.weights | {fixture.name: change(fixture.weights[fixture.name])}


def raw(what: str, name: str, change: Callable[[bytes], bytes], due: Due = "refused") -> HostileFile:
    """Weights whose bytes are changed, as --init_from."""
    file = f"{name}.safetensors"
    make = lambda fixture: ["--init_from", fixture.path(file, change(fixture.good.read_bytes()))]  # noqa: E731
    return HostileFile(f"weights: {what}", make, (file,), due)


def checkpoint(what: str, name: str, change: Callable[[TrainedFixture], Any], flag: str = "--ckpt_path") -> HostileFile:
    """A checkpoint with another content, resumed for three more steps, or started from."""
    more = ["--trainer.max_steps", "6"] if flag == "--ckpt_path" else []
    make = lambda fixture: [flag, fixture.saved(f"{name}.ckpt", change(fixture)), *more]  # noqa: E731
    return HostileFile(f"checkpoint: {what}, {flag}", make, (f"{name}.ckpt",))


def notes_are_no_json(fixture: TrainedFixture) -> list[Any]:
    path = fixture.folder / "notes.safetensors"
    save_file(fixture.weights, path, {"untouched_pretrained": "[not json"})
    return ["--init_from", path]


def not_numbers(fixture: TrainedFixture) -> Mapping[str, Any]:
    state = fixture.checkpoint["state_dict"]
    corrupted = {key: value * float("nan") if key.endswith(fixture.name) else value for key, value in state.items()}
    return {**fixture.checkpoint, "state_dict": corrupted}


def without(key: str) -> Callable[[TrainedFixture], Mapping[str, Any]]:
    return lambda fixture: {name: value for name, value in fixture.checkpoint.items() if name != key}


def zeroed(whole: bytes) -> bytes:
    """Ten bytes near the end, in a tensor."""
    return whole[:-200] + bytes(10) + whole[-190:]


PICKLES = [
    *(
        HostileFile(
            f"pickle: {kind}, {flag}",
            lambda fixture, kind=kind, flag=flag: [flag, pickled(kind)(fixture)],
            (f"{kind}.ckpt",),
        )
        for kind in ("whole", "inside", "weights")
        for flag in ("--ckpt_path", "--init_from")
    ),
    HostileFile(
        "pickle: inside, test --ckpt_path",
        lambda fixture: ["--ckpt_path", pickled("inside")(fixture), "--init_from", fixture.good],
        ("inside.ckpt",),
        subcommand="test",
    ),
    HostileFile(
        "pickle: inside, validate --init_from",
        lambda fixture: ["--init_from", pickled("inside")(fixture)],
        ("inside.ckpt",),
        subcommand="validate",
    ),
    HostileFile(
        "pickle: a .pt, --init_from",
        lambda fixture: ["--init_from", fixture.path("evil.pt", pickle.dumps(Command(fixture.mark)))],
        ("evil.pt",),
    ),
    HostileFile(
        "pickle: named .safetensors, --init_from",
        lambda fixture: ["--init_from", fixture.path("evil.safetensors", pickle.dumps(Command(fixture.mark)))],
        ("evil.safetensors",),
    ),
]
MODELS = [
    HostileFile(f"{part} folder with {what}", model_folder(part, brings), (f"evil_{part}",))
    for part in ("encoder", "llm")
    for what, brings in (("a pickle of weights", "pickle"), ("code of its own", "code"))
]
WEIGHTS = [
    weights("wrong shape", "shape", changed(lambda value: torch.zeros(3, 3))),
    weights(
        "a tensor missing", "less", lambda fixture: {k: v for k, v in fixture.weights.items() if k != fixture.name}
    ),
    weights("a tensor too many", "more", lambda fixture: fixture.weights | {"backdoor": torch.zeros(3)}, "backdoor"),
    weights("NaN", "nan", changed(lambda value: value * float("nan"))),
    weights("infinite", "inf", changed(lambda value: value + float("inf"))),
    weights("integers for floats", "int", changed(lambda value: value.to(torch.int32))),
    weights("half precision", "half", lambda fixture: {k: v.half() for k, v in fixture.weights.items()}, due="either"),
    weights("no tensors", "none", lambda fixture: {}),
    HostileFile("weights: notes are no JSON", notes_are_no_json, ("notes.safetensors",)),
    raw("cut in half", "cut", lambda whole: whole[: len(whole) // 2]),
    raw("empty", "zero", lambda whole: b""),
    raw("a header of 2^62 bytes", "header", lambda whole: (2**62).to_bytes(8, "little") + whole[8:]),
    raw("text", "text", lambda whole: b"hello"),
    raw("more bytes at its end", "tail", lambda whole: whole + b"more"),
    raw("bytes zeroed in a tensor", "flip", zeroed, due="either"),
]
PARTS = ("state_dict", "optimizer_states", "loops", "SpeechDataModule", "pytorch-lightning_version", "global_step")
CHECKPOINTS = [
    checkpoint("NaN in it", "nan", not_numbers),
    *(checkpoint(f"without {key}", f"no_{key}", without(key)) for key in PARTS),
    checkpoint("a bare state dict", "plain", lambda fixture: fixture.checkpoint["state_dict"], "--init_from"),
    checkpoint("a list", "list", lambda fixture: [1, 2], "--init_from"),
    HostileFile("checkpoint: a folder, --ckpt_path", lambda fixture: ["--ckpt_path", fixture.folder], ("fixture",)),
]
FILES = [*PICKLES, *MODELS, *WEIGHTS, *CHECKPOINTS]
