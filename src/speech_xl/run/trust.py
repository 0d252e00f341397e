"""What a folder from somebody else may name: classes of this package alone, checked before anything is imported.

A parser of class paths imports what it reads, and an import runs code. So a configuration that comes with weights goes
through `own_class` first, which leaves nothing for the parser to look up by a name from the file. Code that comes with
a Hugging Face model is run only where the command line asks for it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from speech_xl.run.command import ConfigError, read_config

PACKAGE = "speech_xl"
REMOTE_CODE = "trust_remote_code"
TRUST_HELP = "run code that comes with the stage's encoder or LLM; for authors you trust"  # of a command's flag
DEEPEST = 16  # levels of a configuration; an alias in a YAML can make one that never ends


def own_class(
    given: Any, base: type | tuple[type, ...], key: str, source: Path, packages: Sequence[str] = (PACKAGE,)
) -> dict[str, Any]:
    """An object's configuration with its class, and those of the objects in its arguments, written out in full.

    given     a class's name, or a mapping of class_path and init_args
    base      what the class must be, or be derived from
    key       where it stands in `source`
    packages  where the class must come from; nothing outside of them is imported

    Raises ConfigError that names the file, the key, the value and the mend.
    """
    return _own_class(given, base if isinstance(base, tuple) else (base,), key, source, tuple(packages), DEEPEST)


def _own_class(
    given: Any, bases: tuple[type, ...], key: str, source: Path, packages: tuple[str, ...], deepest: int
) -> dict[str, Any]:
    spec = {"class_path": given} if isinstance(given, str) else given
    if not isinstance(spec, dict) or not isinstance(spec.get("class_path"), str) or deepest < 0:
        raise ConfigError(f"{source}: {key}: got {given!r:.80}; give class_path and init_args of {_names(bases)}")
    name, arguments = spec["class_path"], spec.get("init_args") or {}
    if unknown := sorted(str(other) for other in spec.keys() - {"class_path", "init_args"}):
        raise ConfigError(f"{source}: {key}.{unknown[0]}: takes class_path and init_args only; take it out")
    kind = _find(name, bases, packages)
    if kind is None:
        known = sorted(each.__name__ for each in _known(bases, packages) if not getattr(each, "__abstractmethods__", 0))
        raise ConfigError(
            f"{source}: {key}.class_path: {name!r} is no {_names(bases)} of {' or '.join(packages)}, and no other code "
            f"is run for a file that may be somebody else's; there are: {', '.join(known)}"
        )
    if not isinstance(arguments, dict):
        raise ConfigError(f"{source}: {key}.init_args: got {arguments!r:.80}; give a mapping of arguments")
    checked = _own_arguments(kind, arguments, f"{key}.init_args", source, packages, deepest)
    return {"class_path": _path(kind), "init_args": checked}


def own_arguments(
    kind: type, arguments: Mapping[str, Any], key: str, source: Path, packages: Sequence[str] = (PACKAGE,)
) -> dict[str, Any]:
    """The arguments of a class, with the objects among them checked as by `own_class`."""
    return _own_arguments(kind, arguments, key, source, tuple(packages), DEEPEST)


def _own_arguments(
    kind: type, arguments: Mapping[str, Any], key: str, source: Path, packages: tuple[str, ...], deepest: int
) -> dict[str, Any]:
    objects, records = _objects(kind, packages)
    checked = {}
    for argument, value in arguments.items():
        place = f"{key}.{argument}"
        if argument in objects and isinstance(value, list):
            checked[argument] = [
                _own_class(one, objects[argument], f"{place}[{number}]", source, packages, deepest - 1)
                for number, one in enumerate(value)
            ]
        elif argument in objects and value is not None:
            checked[argument] = _own_class(value, objects[argument], place, source, packages, deepest - 1)
        elif argument in records and not isinstance(value, (dict, type(None))):
            raise ConfigError(f"{source}: {place}: got {value!r:.80}; give a mapping, or null")
        else:
            checked[argument] = _plain(value, place, source, deepest - 1)
    return checked


def _plain(value: Any, key: str, source: Path, deepest: int) -> Any:
    """`value` as it is, where no part of it names a class."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        if name == "class_path" or deepest < 0:
            raise ConfigError(f"{source}: {key}: got {value!r:.80}; plain values alone may stand here")
        _plain(part, f"{key}.{name}", source, deepest - 1)
    return value


def _find(name: str, bases: tuple[type, ...], packages: tuple[str, ...]) -> type | None:
    """The class that `name` means, or None where that isn't one of `bases` in `packages`."""
    module, _, attribute = name.rpartition(".")
    if not module:
        found = [kind for kind in _known(bases, packages) if kind.__name__ == name]
        return found[0] if len(found) == 1 else None
    if module.split(".")[0] not in packages:
        return None
    try:
        kind = getattr(importlib.import_module(module), attribute, None)
    except (ImportError, ValueError):
        return None
    return kind if isinstance(kind, type) and kind in _known(bases, packages) else None


def _known(bases: tuple[type, ...], packages: tuple[str, ...]) -> set[type]:
    """`bases` and all that is derived from them, where it was defined in `packages`."""
    return {kind for base in bases for kind in (base, *_derived(base)) if _package(kind) in packages}


def _derived(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from _derived(kind)


def _path(kind: type) -> str:
    """Where a class is imported from: its package where that offers it, which outlives a change of modules."""
    package = kind.__module__.rpartition(".")[0]
    offered = getattr(sys.modules.get(package), kind.__name__, None) is kind
    return f"{package if offered else kind.__module__}.{kind.__qualname__}"


def _package(kind: type) -> str:
    return kind.__module__.split(".")[0]


def _names(kinds: tuple[type, ...]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)


def _objects(kind: type, packages: tuple[str, ...]) -> tuple[dict[str, tuple[type, ...]], set[str]]:
    """The arguments of a class that are objects of these packages, with their types, and those that are dataclasses.

    A class that hands further arguments on to its base has the base's as well.
    """
    objects: dict[str, tuple[type, ...]] = {}
    records: set[str] = set()
    for each in reversed(kind.__mro__):
        if "__init__" not in vars(each) or _package(each) not in packages:
            continue
        for name, hint in get_type_hints(each.__init__).items():
            inner = [part for one in get_args(hint) or (hint,) for part in get_args(one) or (one,)]
            kinds = [one for one in inner if isinstance(one, type) and _package(one) in packages]
            objects.pop(name, None)
            records.discard(name)
            if any(is_dataclass(one) for one in kinds):
                records.add(name)
            elif kinds:
                objects[name] = tuple(kinds)
    return objects, records


def refuse_remote_code(config: Mapping[str, Any], flags: Sequence[str], configs: Sequence[Path]) -> None:
    """Code that comes with a model is run only where a flag of the command itself allows it.

    config   the whole configuration, as it was parsed
    flags    the command line's, without the configs
    configs  the files of the command, to name the one that asks for it

    Raises ConfigError where a file asks for it and no flag does.
    """
    allowed = {_short(flag.split("=")[0].removeprefix("--")) for flag in flags}
    for key in _asking(config, ""):
        if _short(key) not in allowed:
            files = [str(path) for path in configs if any(True for _ in _asking(read_config(path), ""))]
            raise ConfigError(
                f"{', '.join(files) or 'the configuration'}: {key}: true would run code that comes with the model. "
                f"Take it out, or, where you trust the model's author, say so in the command: --{key} true"
            )


def _short(key: str) -> str:
    return key.replace(".init_args", "")


def _asking(value: Any, key: str) -> Iterator[str]:
    """The keys of a configuration that ask for a model's own code."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        place = f"{key}.{name}" if key else str(name)
        if name == REMOTE_CODE and part not in (None, False):
            yield place
        yield from _asking(part, place)
