"""Loading a Hugging Face name or folder: all of its tensors or an error, and errors that say what to do."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig
from transformers.initialization import no_init_weights

# Asked of transformers whenever weights are loaded: `check_complete` reads the report.
REPORTED = {"output_loading_info": True, "ignore_mismatched_sizes": True}
# Tensors that published weights may lack: SpecAugment's fill, random by design, and read in training alone.
OPTIONAL = ("masked_spec_embed",)
SHOWN = 5  # names of tensors in a message


_FILLED = ContextVar("weights are filled in afterwards", default=False)


@contextmanager
def filled_afterwards() -> Iterator[None]:
    """Whoever builds a model in this block loads every one of its weights, or fails: no random ones are drawn for what
    a folder in the Hugging Face form holds itself, which takes minutes of a large LLM."""
    token = _FILLED.set(True)
    try:
        yield
    finally:
        _FILLED.reset(token)


def drawing() -> AbstractContextManager[None]:
    """Where a model is made of a config: its random weights are drawn, unless they are `filled_afterwards`."""
    return no_init_weights() if _FILLED.get() else nullcontext()


class PretrainedError(RuntimeError):
    """A Hugging Face model that can't be loaded; the message names the key, its value, the reason and the mend."""


@contextmanager
def loading(role: str, name: str) -> Iterator[None]:
    """Whatever transformers finds wrong inside the block becomes a PretrainedError about ``role.name``.

    role: encoder or llm. name: as the user gave it.
    """
    try:
        yield
    except (PretrainedError, MemoryError):
        raise
    except Exception as error:  # transformers has no exception type of its own
        raise PretrainedError(f"{role}.name={name}: {_reason(error, role, Path(name).expanduser())}") from error


def _reason(error: Exception, role: str, folder: Path) -> str:
    """What is wrong, and the mend."""
    text = str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if "trust_remote_code" in text:
        return (
            "it brings code of its own, which isn't run. Where you trust its author, add "
            f"--model.{role}.init_args.trust_remote_code true to a command of run.py, and --trust_remote_code to "
            "listen, align and export; else choose a model that transformers has the code of"
        )
    if isinstance(error, UnpicklingError):
        pickles = ", ".join(str(path) for path in sorted(folder.glob("*.bin"))) or "its pytorch_model.bin"
        return (
            f"{pickles} can't be read as tensors alone: it is damaged, or holds code or other objects, of which "
            "nothing was run. Take weights in safetensors, from whom you trust"
        )
    if type(error).__name__ == "SafetensorError" or "PytorchStreamReader" in text:
        return f"its weights are damaged ({first:.200}); fetch them again"
    if "preprocessor_config.json" in text and folder.is_dir():
        return "it has no feature extractor (preprocessor_config.json), as a speech encoder has; name another model"
    if isinstance(error, OSError):
        return (
            f"it can't be loaded ({first.split('. ')[0]:.200}). Give a folder that holds a Hugging Face model (to the "
            f"commands of speech-xl by --{role} DIR), or a hub name such as openai/whisper-base while the hub can be "
            "reached"
        )
    return f"transformers can't load it as {_wanted(role)} ({type(error).__name__}: {first:.200}); name another model"


def _wanted(role: str) -> str:
    return {"encoder": "a speech encoder", "llm": "a causal language model"}.get(role, role)


def check_complete(role: str, name: str, whole: nn.Module, part: nn.Module, report: Mapping[str, Any]) -> str:
    """Whether all tensors of a pretrained part came from its source, and are finite; returns a line that says so.

    role    encoder or llm
    name    as the user gave it
    whole   what transformers loaded
    part    `whole`, or the module of it that is kept, whose tensors alone must be complete
    report  transformers' own of missing, unexpected and mismatched tensors (see `REPORTED`)

    A tied head needs no tensor of its own. What a larger model has beside the encoder (a decoder, a head for CTC) is
    left in the file, and counted. Raises PretrainedError that lists what is missing, unexpected, mismatched or NaN.
    """
    place = "" if part is whole else next(f"{key}." for key, module in whole.named_modules() if module is part)
    missing = {key for key in report["missing_keys"] if key.startswith(place)}
    new = {key for key in missing if key.endswith(OPTIONAL)}
    shapes = [one for one in report["mismatched_keys"] if one[0].startswith(place)]
    stem = f"{getattr(whole, 'base_model_prefix', '')}."
    unexpected = {key for key in report["unexpected_keys"] if role == "llm" or _belongs(key, stem, place, part)}
    own = part.state_dict()
    broken = [f"{place}{key}" for key, value in own.items() if not _finite(value)]
    wrong = [
        *_listed("missing", missing - new),
        *_listed("not in this model", unexpected),
        *_listed("another shape", (f"{key} {list(file)} for {list(model)}" for key, file, model in shapes)),
        *_listed("NaN or infinite", broken),
        *_listed("not loaded", report["error_msgs"]),
    ]
    if wrong:
        raise PretrainedError(
            f"{role}.name={name}: its weights don't fill the model of its config.json. {'; '.join(wrong)}. Fetch both "
            f"again from one source, or start from random weights with {role}.pretrained: false"
        )
    left = report["unexpected_keys"] - unexpected
    beside = f"; {len(left)} of another part left in the file ({', '.join(sorted(_tops(left)))})" if left else ""
    return f"{role} {name}: {len(own) - len(new)} tensors matched, {len(new)} new, 0 missing{beside}"


def _belongs(key: str, stem: str, place: str, part: nn.Module) -> bool:
    """Whether an unexpected tensor of a file lies within the part that is kept."""
    key = key.removeprefix(stem)
    if place:
        return key.startswith(place)
    return key.split(".")[0] in {name.split(".")[0] for name in part.state_dict()}


def _tops(keys: Iterable[str]) -> set[str]:
    return {key.split(".")[0] for key in keys}


def _finite(value: torch.Tensor) -> bool:
    # A sum is one pass without a copy; where it isn't finite every number is looked at.
    if not value.is_floating_point() or value.is_meta:
        return True
    return bool(value.sum(dtype=torch.float32).isfinite()) or bool(value.isfinite().all())


def _listed(what: str, names: Iterable[Any]) -> list[str]:
    found = sorted(map(str, names))
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return [f"{what}: {', '.join(found[:SHOWN])}{more}"] if found else []


def existing(name: str, role: str) -> str:
    """`name` as transformers should load it: a folder's path, or a hub name left alone.

    A name that can only be a path (it starts with ``.``, ``/`` or ``~``, or has more than one slash) must exist as a
    folder with a config.json; FileNotFoundError says so otherwise.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return str(folder)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or folder.is_dir():
        raise FileNotFoundError(
            f"{role}.name={name}: no config.json in {folder.resolve()}. Give a folder that holds a Hugging Face model, "
            "or a hub name such as openai/whisper-base."
        )
    return name


def check_config(role: str, name: str, trust_remote_code: bool) -> None:
    """Find a model's folder or hub name and read its config.json alone: long before its weights are loaded.

    Raises FileNotFoundError and PretrainedError, which name the key.
    """
    found = existing(name, role)
    with loading(role, name):
        AutoConfig.from_pretrained(found, trust_remote_code=trust_remote_code)
