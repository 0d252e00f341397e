"""What an experiment file said about a stage when it was trained, held against what it says now. Needs no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from speech_xl.run.command import Command
from speech_xl.run.configs import ConfigError, read_config, read_record, unlike
from speech_xl.run.experiment import Stage
from speech_xl.run.layers import merged
from speech_xl.run.run_folder import RunFolder
from speech_xl.run.words import flags_with_values
from speech_xl.storage.files import write_text

GIVEN = "given.json"
MOST = 6  # differences that a message lists
# Where and how a stage is trained, but not what it becomes.
PLACES = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.precision")
PLACES += ("trainer.logger", "trainer.callbacks", "trainer.enable", "trainer.log_every", "data.num_workers")
PLACES += ("data.cache_dir", "checkpoint")


def write_given(command: Command) -> None:
    """Keep beside a stage's weights what it was trained with; nothing for a stage of no experiment file."""
    if command.of is not None:
        given = {"keys": dict(keys_of(command.of)), "flags": dict(_flags(command.flags))}
        write_text(command.folder / GIVEN, json.dumps(given, indent=2, default=str) + "\n")


def keys_of(stage: Stage) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of all that an experiment file says about a stage, but for where it is trained."""
    plain = json.loads(json.dumps(merged(stage.layers).plain(), default=str))  # as the record has it
    yield from ((key, value) for key, value in _flat(plain, "") if not key.startswith(PLACES))


def differences(stage: Stage, folder: RunFolder) -> list[str]:
    """A line for each key that a finished stage was trained with otherwise than its file says now.

    A stage without a record of what it was given has no differences. What its class didn't take when it was trained is
    none either: a stage `like` another of another class inherits arguments that the parser drops.
    """
    given = folder.path / GIVEN
    if not given.is_file():
        return []
    before, resolved = read_record(given, "keys")["keys"], _resolved(folder)
    idle = [prefix for key in before if (prefix := dropped(key, resolved)) is not None]
    old, new = ({k: v for k, v in side.items() if not below(k, idle)} for side in (before, dict(keys_of(stage))))
    return unlike(old, new, "trained")


def dropped(key: str, resolved: Any) -> str | None:
    """The argument at or above a dotted key that a class of the resolved configuration doesn't have, such as
    ``model.init_args.sst``. None where the parser took it."""
    names = key.split(".")
    for at, name in enumerate(names):
        if not isinstance(resolved, dict):
            return None
        if name not in resolved:
            takes_none = name == "init_args" and "class_path" in resolved
            return ".".join(names[: at + 1]) if takes_none or names[at - 1 : at] == ["init_args"] else None
        resolved = resolved[name]
    return None


def below(key: str, prefixes: Sequence[str]) -> bool:
    """Whether a dotted key is one of these, or lies below one."""
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def _resolved(folder: RunFolder) -> dict[str, Any]:
    """The configuration that a stage was trained with, as the parser completed it; empty where it isn't whole."""
    try:
        found = read_config(folder.config) if folder.config.is_file() else {}
    except ConfigError:
        return {}
    return found if "ckpt_path" in found else {}  # its last key


def check_given(command: Command) -> None:
    """Raise ConfigError where a finished stage was trained otherwise than its experiment file says, and warn of other
    flags: these may be meant for the stages that are still to be trained."""
    if command.of is None or command.of.make is not None or not (command.folder / GIVEN).is_file() or command.force:
        return
    if found := unlike(read_record(command.folder / GIVEN, "flags")["flags"], dict(_flags(command.flags)), "trained"):
        print(
            f"warning: {command.folder} is finished and left as it is, though flags differ: {'; '.join(found[:MOST])}. "
            f"--only {command.stage} --overwrite trains it anew",
            file=sys.stderr,
        )
    if found := differences(command.of, command.run_folder):
        more = f"\n  and {len(found) - MOST} more" if len(found) > MOST else ""
        raise ConfigError(
            f"{command.folder} is finished, and was trained otherwise than {command.of.place} says:\n  "
            + "\n  ".join(found[:MOST])
            + f"{more}\nTrain it anew with --only {command.stage} --overwrite, all beside it with --variant NAME, or "
            "take the changes back; --force goes on with it as it is"
        )


def remarks_about(stage: Stage, folder: Path) -> list[str]:
    """What a table must say about a stage: where it was trained otherwise than the file says now."""
    found = differences(stage, RunFolder(folder))
    return [f"{stage.name} was trained otherwise than the file says now: {'; '.join(found[:MOST])}"] if found else []


def _flags(flags: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Flag and value of all that change what a stage becomes."""
    for name, words in flags_with_values(flags):
        if not name.removeprefix("--").startswith((*PLACES, "ckpt_path")):
            yield name, words[-1].removeprefix(f"{name}=")


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value
