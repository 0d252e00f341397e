"""Lineage: what weights come from and what they were trained with, written into every file that holds them.

Tensors' shapes say whether weights fit a model; they don't say whether they mean the same in it. The settings that have
no shape, the digests of what isn't in the file, and the parent do.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

from speech_xl import __version__
from speech_xl.model import LLM, HFEncoder, SpeechLLM
from speech_xl.model.fingerprint import WITHOUT_MEANING, fingerprint
from speech_xl.model.sst import SSTs, form_arguments
from speech_xl.phases.phase import BuiltCheck
from speech_xl.storage.checkpoint_io import read_checkpoint
from speech_xl.storage.files import file_digest
from speech_xl.storage.tensor_files import DIGEST, read_notes

NOTE = "lineage"  # the key in a safetensors file's metadata and in a checkpoint
BY_NAME = {"encoder": HFEncoder, "llm": LLM}  # parts that a configuration may name plainly
PARTS = ("encoder", "adapter", "frame_code", "llm", "sst")  # of a phase: what its weights are the weights of
HEARING = ("transcript", "partition")  # of the data: what the weights have learned to be given
WINDOWS = "data.transcript.windows."
IN_USE = f"{WINDOWS}seconds"  # chosen for answers alone, where training draws its own lengths


class LineageError(RuntimeError):
    """A file is used otherwise than it was made; the message names key, both values and the mend."""


@dataclass(frozen=True)
class Parent:
    """The weights a run began with."""

    path: str  # from the run's folder
    digest: str
    run: str
    stage: str


@dataclass(frozen=True)
class Lineage:
    """What is known of some weights.

    run        names the training run; a resumed run keeps it
    settings   key -> value of all that has no shape and changes what the weights mean
    prompt     the LLM's chat template as it was rendered
    sources    digests of the encoder's and the LLM's pretrained weights that no stage has trained
    forced     differences that --force let pass, here and in the runs before
    """

    run: str
    stage: str
    precision: str
    seed: int | None
    settings: dict[str, Any]
    version: str = __version__
    parent: Parent | None = None
    prompt: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    forced: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return json.loads(json.dumps(asdict(self), default=str))

    @classmethod
    def of(cls, plain: Any, source: str) -> Lineage | None:
        """From what `plain` gave; None where there is none. Raises LineageError where it can't be read."""
        if not plain:
            return None
        try:
            known = {f.name: plain[f.name] for f in fields(cls) if f.name in plain}
            parent = known.get("parent")
            made = cls(**{**known, "parent": Parent(**parent) if parent else None})
        except (TypeError, KeyError, AttributeError) as error:
            raise LineageError(f"{source}: its lineage can't be read ({error}); it was changed by hand") from error
        texts = [made.run, made.stage, made.precision, made.version]
        texts += [*asdict(made.parent).values()] if made.parent else []
        texts += made.forced if isinstance(made.forced, list) else [made.forced]
        mappings = [made.settings, made.prompt, made.sources]
        if not all(isinstance(one, str) for one in texts) or not all(isinstance(one, dict) for one in mappings):
            raise LineageError(f"{source}: its lineage can't be read (a value of another kind); it was changed by hand")
        return made


def read_lineage(path: Path) -> Lineage | None:
    """The lineage of a weights file or checkpoint; None for one of an earlier version. Of a weights file no tensor is
    read; a checkpoint is read through, for its checksums.

    Raises LineageError where it was changed by hand; TensorFileError, CheckpointError and FileError for what is no such
    file.
    """
    if path.suffix not in (".safetensors", ".json"):
        return Lineage.of(read_checkpoint(path, mmap=True).get(NOTE), str(path))
    return lineage_in(read_notes(path), str(path))


def lineage_in(notes: Mapping[str, str], source: str) -> Lineage | None:
    """The lineage in the notes of a weights file."""
    try:
        return Lineage.of(json.loads(notes.get(NOTE) or "null"), source)
    except ValueError as error:
        raise LineageError(f"{source}: its lineage is no JSON ({error}); it was changed by hand") from error


# Settings


def settings_of(model: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Flat settings of a parsed configuration: ``model.adapter.stride`` -> 4, ``data.partition`` -> FixedWindows, ...

    model: class_path and init_args of a phase; data: keys of a data module. Classes go by their own names.
    """
    found: dict[str, Any] = {"model": _class_name(model.get("class_path"))}
    given = model.get("init_args") or {}
    for part in PARTS:
        value = given.get(part)
        if isinstance(value, str):  # a plain name, of the class that it stands for
            kind, arguments = spelled_out(part, value)
            defaults = {name: known.default for name, known in signature(kind).parameters.items()}
            value = {"class_path": kind.__name__, "init_args": defaults | arguments}
        if value is not None:
            _flatten(f"model.{part}", value, found)
        elif part == "frame_code":  # to have none is a setting too; SSTs are added by a later stage
            found["model.frame_code"] = None
    for key in HEARING:
        if data.get(key) is not None:
            _flatten(f"data.{key}", data[key], found)
        else:
            found[f"data.{key}"] = None
    if found.get(f"{WINDOWS}shortest") is not None and found.get(f"{WINDOWS}longest") is not None:
        del found[IN_USE]
    return found


def spelled_out(part: str, name: str) -> tuple[type, dict[str, Any]]:
    """The class and the arguments of a part that a configuration names plainly. Raises ValueError for SSTs of a form
    that there isn't."""
    return (SSTs, form_arguments(name)) if part == "sst" else (BY_NAME[part], {"name": name})


def _flatten(key: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, Mapping) and "class_path" in value:
        found[key] = _class_name(value["class_path"])
        for name, inner in (value.get("init_args") or {}).items():
            if name not in WITHOUT_MEANING:
                _flatten(f"{key}.{name}", inner, found)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in WITHOUT_MEANING:
                _flatten(f"{key}.{name}", inner, found)
    else:
        found[key] = value


def _class_name(path: Any) -> str | None:
    return None if path is None else str(path).rpartition(".")[2]


def differences(trained: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """A line for every setting below `prefix` that both name with different values, and for those of the data that
    were left out since: a model's arguments have defaults, which are filled in."""
    gone = {key for key in trained.keys() - now.keys() if key.startswith("data.") and key != IN_USE}
    return [
        f"{key}: trained with {trained[key]!r}, here {'nothing' if key in gone else repr(now[key])}"
        for key in sorted((trained.keys() & now.keys()) | gone)
        if key.startswith(prefix) and (key in gone or trained[key] != now[key])
    ]


def refuse(found: list[str], source: Path | str, force: bool) -> list[str]:
    """Raise LineageError for differences; with `force` return them, to be recorded."""
    if found and not force:
        raise LineageError(
            f"{source} was made with other settings:\n  " + "\n  ".join(found) + "\n"
            "Use those it was trained with, or --force to go on with these (which is recorded)."
        )
    return found


# Digests


def sources_of(backbone: SpeechLLM, untouched: Collection[str]) -> dict[str, str]:
    """Digests of the pretrained weights that no stage has trained: they aren't in the file, and another encoder of the
    same shape would take their place unseen. A head that is tied to trained embeddings is trained with them."""
    state = backbone.state_dict()
    trained = {value.data_ptr() for name, value in state.items() if name not in untouched}
    found = {}
    for part in BY_NAME:
        own = (name for name in untouched if name.startswith(f"{part}."))
        names = [name for name in own if state[name].data_ptr() not in trained]
        if names:
            found[part] = fingerprint((name, state[name]) for name in names)
    return found


def prompt_of(backbone: SpeechLLM) -> dict[str, str]:
    """The chat template as it is rendered around audio, instruction and answer."""
    prompt = backbone.llm.prompt
    return {"before": prompt.before, "after": prompt.after, "between": prompt.between, "end": prompt.end}


def built_differences(lineage: Lineage, backbone: SpeechLLM, untouched: Collection[str]) -> list[str]:
    """What differs from `lineage` in a built backbone: pretrained weights that aren't in the file, and the prompt."""
    sources = sources_of(backbone, untouched)
    found = [
        f"model.{part}: trained with weights {digest}, here {sources.get(part)} ({_name(backbone, part)})"
        for part, digest in lineage.sources.items()
        if sources.get(part) != digest
    ]
    return found + differences(
        {f"prompt.{key}": text for key, text in lineage.prompt.items()},
        {f"prompt.{key}": text for key, text in prompt_of(backbone).items()},
    )


def built_check(source: Path, force: bool) -> BuiltCheck:
    """What holds a backbone that was loaded from `source` against the lineage in its notes; see `refuse`."""

    def check(notes: Mapping[str, str], backbone: SpeechLLM, untouched: Collection[str]) -> list[str]:
        lineage = lineage_in(notes, str(source))
        return [] if lineage is None else refuse(built_differences(lineage, backbone, untouched), source, force)

    return check


def _name(backbone: SpeechLLM, part: str) -> str:
    return str(getattr(getattr(backbone, part), "name", part))


def weights_digest(path: Path) -> str:
    """16 hex digits that change with the weights in a file: as noted in it when it was written, else of its bytes."""
    if path.suffix in (".safetensors", ".json") and (noted := read_notes(path).get(DIGEST)):
        return noted[:16]
    return file_digest(path)[:16]


@cache
def code_version() -> str:
    """The package's version, and the commit where it runs from a clone."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return __version__
    try:
        asked = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=9"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return __version__
    return f"{__version__}+{done.stdout.strip()}" if done.returncode == 0 and done.stdout.strip() else __version__


# Staleness


def parent_file(weights: Path, parent: Parent) -> Path | None:
    """Where the parent's weights lie today, seen from the child's; None where they are gone."""
    path = Path(os.path.normpath(weights.parent / parent.path))
    return path if path.is_file() else None


def remarks(weights: Path, lineage: Lineage | None) -> list[str]:
    """What whoever uses weights is to be told of where they come from."""
    if lineage is None:
        return [f"{weights} was written by an earlier version: what it was trained with can't be compared"]
    return stale_because(weights)


def stale_because(weights: Path) -> list[str]:
    """Why weights are stale: a line about the nearest ancestor that has been trained again since its child began with
    it; no line where there is none."""
    lineage = read_lineage(weights) if weights.is_file() else None
    child, seen = weights, {weights.resolve()}
    while lineage is not None and lineage.parent is not None:
        parent = lineage.parent
        path = parent_file(child, parent)
        if path is None or path.resolve() in seen:  # two stages may have been trained from each other in turn
            break
        if weights_digest(path) != parent.digest:  # what that file comes from is another run's ancestry
            return [
                f"{child} is stale: {path}, which it began with, has been trained again since (it was {parent.digest}, "
                f"of run {parent.run}). Train {lineage.stage} anew (fit --overwrite), or go on knowing it."
            ]
        seen.add(path.resolve())
        child, lineage = path, read_lineage(path)
    return []
