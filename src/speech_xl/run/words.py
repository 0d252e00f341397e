"""The words of a command line: configs, flags with values, and switches, taken out one by one. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from speech_xl.run.configs import ConfigError


def take(flags: list[str], name: str, default: Any) -> Any:
    """Remove ``--name value`` or ``--name=value`` from `flags`; its last value, or `default`."""
    value = default
    i = 0
    while i < len(flags):
        if flags[i] == name:
            if i + 1 == len(flags):
                raise ConfigError(f"{name}: a value must follow")
            value = flags[i + 1]
            del flags[i : i + 2]
        elif flags[i].startswith(name + "="):
            value = flags[i].split("=", 1)[1]
            del flags[i]
        else:
            i += 1
    return value


def take_switch(flags: list[str], name: str) -> bool:
    """Remove ``--name``, which takes no value, from `flags`; whether it was there."""
    there = name in flags
    flags[:] = [flag for flag in flags if flag != name]
    return there


def flags_with_values(flags: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each flag's name, and its words as they stand: ``--name=value``, or ``--name`` and the value behind it."""
    rest = iter(flags)
    for flag in rest:
        yield flag.partition("=")[0], [flag] if "=" in flag or not flag.startswith("--") else [flag, next(rest, "")]


def split_configs(args: list[str]) -> tuple[list[str], list[str]]:
    """The configs' names, and the other arguments in order."""
    named, flags = [], []
    rest = iter(args)
    for arg in rest:
        if arg in ("-c", "--config"):
            name = next(rest, "")
        elif arg.startswith("--config="):
            name = arg.split("=", 1)[1]
        elif arg.startswith("-c") and not arg.startswith("--"):
            name = arg[2:].removeprefix("=")
        else:
            flags.append(arg)
            continue
        if not name:
            raise ConfigError(f"{arg}: a config must follow, such as {arg} stage1.yaml")
        named.append(name)
    return named, flags
