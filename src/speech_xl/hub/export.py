"""A finished stage as a folder in the Hugging Face form: whole, with LoRA merged, or apart from its base models."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from psutil import pid_exists
from torch import Tensor

from speech_xl.hub.card import Facts, card_text
from speech_xl.hub.folder import SHARD, own_state, write_folder
from speech_xl.hub.model import SpeechXL
from speech_xl.hub.probe import largest_difference
from speech_xl.model import SpeechLLM
from speech_xl.model.sst import effective_linear
from speech_xl.run.configs import ConfigError
from speech_xl.run.hub_form import HUB_NAME, ROLES
from speech_xl.run.trained_stage import TrainedStage
from speech_xl.storage.files import check_writable, naming, write_text
from speech_xl.storage.hub_folder import CARD

DRAFT = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)-[0-9a-f]{8}\.part")
MEND = {
    "encoder": "say how others find these weights, such as --encoder-name openai/whisper-base, or leave --apart out",
    "llm": "say how others find these weights, such as --llm-name Qwen/Qwen2.5-0.5B-Instruct, or leave --apart out",
}


@dataclass
class Exported:
    """What was written: the folder, its form (whole, merged, apart), and what whoever asked for it should know."""

    folder: Path
    form: str
    remarks: list[str] = field(default_factory=list)


def export(
    stage: str | Path,
    out: str | Path,
    *,
    apart: bool = False,
    merge_lora: bool = False,
    dtype: str | None = None,
    names: Mapping[str, str] | None = None,
    bases: Mapping[str, str] | None = None,
    facts: Facts | None = None,
    max_shard_size: int | str = SHARD,
    trust_remote_code: bool = False,
    force: bool = False,
) -> Exported:
    """Write the stage of a run's folder to the new folder `out`, which is there as a whole or not at all.

    apart              leave pretrained weights that no stage has trained where they are published, and name them
    merge_lora         add LoRA's deltas to the LLM's weights
    dtype              number format of the weights' file: float16, bfloat16, float32; None: as the stage has them
    names              role (encoder, llm) -> its pretrained model's name on the hub, where the stage names a folder
    bases              role -> where its pretrained model lies, where `stage` is an exported folder that names one
    trust_remote_code  run code that comes with the stage's encoder or LLM
    force              use the weights even where the configuration isn't theirs

    Raises ConfigError where `out` holds something, LoRA is to be merged and there is none, or a base model would be
    named by a folder of this machine.
    """
    stage, out = Path(stage), Path(out)
    if apart and merge_lora:
        raise ConfigError("--apart --merge-lora: merged weights are no base model's any more; give one of the two")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already; name a folder that isn't, or empty it first")
    run = TrainedStage.of(stage, trust_remote_code, force, bases)
    model = SpeechXL.of(run)
    done = Exported(out, "apart" if apart else "merged" if merge_lora else "whole")
    if apart:
        model.config.base_models = base_models(model, names or {})
    done.remarks += [f"{path.name}, left by an export that was broken off, was taken away" for path in clean(out)]
    if dtype is not None:
        round_weights(model, dtype)
    with new_folder(out) as draft:
        if merge_lora:
            done.remarks.append(_write_merged(model, draft, max_shard_size))
        else:
            model.save_pretrained(draft, max_shard_size=max_shard_size)
        told = replace(facts or Facts(), bases=dict(names or {}))
        write_text(draft / CARD, card_text(model, run, done.form, told, out.resolve().name))
    return done


def base_models(model: SpeechXL, names: Mapping[str, str]) -> dict[str, dict[str, str | None]]:
    """The pretrained models of which some weights were never trained, by role, as others find them."""
    found = {}
    for role in ROLES:
        if not any(name.startswith(f"{role}.") for name in _really_untouched(model)):
            if role in names:
                raise ConfigError(
                    f"--{role}-name: all weights of the {role} were trained, so the folder holds them; leave it out"
                )
            continue
        part = getattr(model.backbone, role)
        name = names.get(role, part.name)
        if Path(name).expanduser().is_dir() and role not in names or not HUB_NAME.fullmatch(name):
            raise ConfigError(f"{role}.name={name} is a folder of this machine, which others don't have; {MEND[role]}")
        commit = getattr(part.model.config, "_commit_hash", None)
        found[role] = {"name": name, "revision": part.revision or commit}
    return found


def _really_untouched(model: SpeechXL) -> set[str]:
    """The untouched tensors that aren't tied to trained ones."""
    state = model.backbone.state_dict()
    trained = {value.data_ptr() for name, value in state.items() if name not in model.untouched}
    return {name for name in model.untouched if state[name].data_ptr() not in trained}


@torch.no_grad()
def round_weights(model: SpeechXL, dtype: str) -> None:
    """Round the weights that the folder will hold to a number format; single numbers (scales) stay as they are."""
    model.config.weights_dtype = dtype
    left = model.left_out()
    for name, value in own_state(model.backbone).items():
        if name not in left and value.is_floating_point() and value.ndim:
            value.copy_(value.to(getattr(torch, dtype)))


# LoRA


@torch.no_grad()
def merged_state(backbone: SpeechLLM) -> tuple[dict[str, Tensor], int]:
    """The backbone's tensors with LoRA's deltas added to the weights below them, summed in float32 and rounded once;
    and the number of layers."""
    state, count = own_state(backbone), 0
    for place, module in backbone.named_modules():
        if not hasattr(module, "get_base_layer"):
            continue
        base: Any = module.get_base_layer()  # pyright: ignore[reportCallIssue]
        for name, value in list(state.items()):
            if not name.startswith(f"{place}."):
                continue
            del state[name]
            inner = name.removeprefix(f"{place}.")
            if inner == "base_layer.weight":
                value = effective_linear(module)[0].to(base.weight.dtype)
            if inner.startswith("base_layer."):
                state[f"{place}.{inner.removeprefix('base_layer.')}"] = value
        count += 1
    return state, count


def _write_merged(model: SpeechXL, draft: Path, max_shard_size: int | str) -> str:
    """Write the model with LoRA merged; a sentence that says what this changed."""
    state, count = merged_state(model.backbone)
    llm = model.config.llm or {}
    if not count:
        raise ConfigError("--merge-lora: the stage has no LoRA; leave it out")
    config = type(model.config).from_dict(model.config.to_dict())
    config.llm = {**llm, "init_args": {**llm.get("init_args", {}), "lora": None}}
    config.architectures = [type(model).__name__]
    if config.lineage is not None:
        config.lineage = {**config.lineage, "sources": {}}
    write_folder(draft, config, state, (), model.processor, max_shard_size)
    difference, largest = largest_difference(model, SpeechXL.from_pretrained(draft))
    return (
        f"LoRA was merged into {count} layers: their weights are sums rounded to {str(model.backbone.llm.dtype)[6:]}. "
        f"On random input the logits differ by {difference:.2g} at most, of {largest:.2g}"
    )


# The folder, whole or not at all


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a draft beside `out` to fill; when the block ends it takes the place of `out`. Where it raises, nothing is
    left. Raises FileError where the system refuses."""
    check_writable(out.parent, "out")
    draft = out.with_name(f".{out.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        draft.mkdir()
        yield draft
        for path in filter(Path.is_file, draft.rglob("*")):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        with naming(out):
            draft.replace(out)  # an empty folder is replaced, one that holds something is not
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def clean(out: Path) -> list[Path]:
    """Take away the drafts of `out` whose process is gone: a kill left them."""
    gone = []
    for path in out.parent.glob(f".{out.name}.*.part") if out.parent.is_dir() else ():
        found = DRAFT.fullmatch(path.name)
        if found and found["name"] == out.name and not pid_exists(int(found["pid"])):
            shutil.rmtree(path)
            gone.append(path)
    return gone
