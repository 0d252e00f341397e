"""YAML configs as dicts: no key twice, nothing but plain data, each mistake with its file and line. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from speech_xl.run.layers import Layer, layer_of

MERGE = "tag:yaml.org,2002:merge"  # of the key ``<<``
MOST_ALIASED = 100_000
"""Nodes that a config may have once its aliases are resolved: a few lines of nested ones can hold billions."""


class ConfigError(Exception):
    """Something in the command or its configs that the user can mend."""


def read_config(path: Path) -> dict[str, Any]:
    """A YAML config as a dict, empty where the file is.

    Raises ConfigError with file and line where it is no YAML, no mapping, has a key twice, or a tag that makes other
    than plain data.
    """
    root = _composed(path)
    if root is None:
        return {}
    try:
        content = yaml.safe_load(_text_of(path))
    except yaml.YAMLError as error:  # a tag that plain data doesn't have, or a key that is no plain value
        raise ConfigError(f"{path}{_line(error)}: not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys, this one is a {type(content).__name__}")
    return content


def read_layer(path: Path) -> Layer:
    """A YAML config as a layer; raises ConfigError as `read_config` does."""
    if not read_config(path):
        return layer_of(path, {})
    root = _composed(path)
    assert isinstance(root, yaml.MappingNode)
    _merge(root, set())
    return Layer(path, root)


def _merge(node: yaml.Node, seen: set[int]) -> None:
    """Put what YAML's ``<<: *ALIAS`` stands for in its place, everywhere below a node. A mapping's own keys win, then
    the earlier of several aliases (PyYAML's own merging isn't sure to keep to that)."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _merge(value, seen)
    if not isinstance(node, yaml.MappingNode):
        return
    for _, value in node.value:
        _merge(value, seen)
    merged = [value for key, value in node.value if key.tag == MERGE]
    sources = [one for value in merged for one in (value.value if isinstance(value, yaml.SequenceNode) else [value])]
    own = [(key, value) for key, value in node.value if key.tag != MERGE]
    named = {key.value for key, _ in own}
    for source in sources:  # read_config has seen that they are mappings
        own += [pair for pair in source.value if pair[0].value not in named]
        named |= {key.value for key, _ in source.value}
    node.value = own


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = error.object[: error.start].count(b"\n") + 1, error.object[error.start]
        raise ConfigError(f"{path}:{line}: not UTF-8 (byte {byte:#04x}); save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror}); name a readable YAML file") from error


def _composed(path: Path) -> yaml.Node | None:
    """The nodes of a YAML file, None where it is empty; no key twice in one mapping."""
    try:
        root = yaml.compose(_text_of(path), Loader=yaml.SafeLoader)
        if root is not None:
            _check_keys(root, path)
            _count(root, {}, path)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_line(error)}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply; write it out plainly") from error
    return root


def _line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f":{mark.line + 1}"


def _check_keys(root: yaml.Node, path: Path | str) -> None:
    """Refuse a key that is there twice in one mapping: YAML parsers take the last and drop the others in silence."""
    rest, seen = [(root, "")], set()
    while rest:
        node, prefix = rest.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            rest += [(item, prefix) for item in node.value]
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines and isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                raise ConfigError(
                    f"{path}:{line}: the key {prefix}{name} is in line {lines[name]} already; keep one of the two"
                )
            lines[name] = line
            rest.append((value, f"{prefix}{name}."))


def _count(node: yaml.Node, sizes: dict[int, int], path: Path) -> int:
    """Nodes of a document with its aliases resolved. Raises ConfigError above `MOST_ALIASED`, or in a circle."""
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise ConfigError(f"{path}:{node.start_mark.line + 1}: an alias holds itself; write it out plainly")
        return sizes[id(node)]
    sizes[id(node)] = 0  # under way
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    total = 1 + sum(_count(child, sizes, path) for child in children)
    if total > MOST_ALIASED:
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: its aliases stand for more than {MOST_ALIASED} entries")
    sizes[id(node)] = total
    return total


def unlike(before: Mapping[str, Any], now: Mapping[str, Any], done: str) -> list[str]:
    """A line for each key with another value; done: what was done with the values before, such as "trained"."""
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    old, new = ({key: repr(values[key]) for key in keys if key in values} for values in (before, now))
    return [f"{key}: {done} with {old.get(key, 'nothing')}, here {new.get(key, 'nothing')}" for key in keys]


def read_record(path: Path, *keys: str) -> dict[str, Any]:
    """The JSON object that a run wrote beside its results, with a mapping at each of these keys.

    Raises ConfigError, which names the file, where it holds anything else.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: can't be read ({error}); train or make the stage anew with --overwrite") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(key), dict) for key in keys):
        raise ConfigError(
            f"{path}: lacks {' or '.join(keys)}, as a run writes them; train or make the stage anew with --overwrite"
        )
    return content


def check_flags(flags: list[str]) -> None:
    """Refuse a key that is there twice in a flag's value, be it YAML itself (``{asr: 1, qa: 1}``) or a YAML file.

    Raises ConfigError. Whatever else may be wrong with a value its own type says.
    """
    for place, flag in enumerate(flags):
        name, equals, value = flag.partition("=")
        if not name.startswith("--"):
            continue
        if not equals:
            value = flags[place + 1] if place + 1 < len(flags) else ""
        if value.endswith((".yaml", ".yml")) and Path(value).is_file():
            _composed(Path(value))
        elif value.startswith(("{", "[")):
            try:
                root = yaml.compose(value, Loader=yaml.SafeLoader)
            except (yaml.YAMLError, RecursionError):
                continue
            if root is not None:
                _check_keys(root, name)


def folder_name(key: str, value: object) -> str:
    """A run's or stage's name as a path below the folder of all runs, such as ``digits/seed1``.

    Raises ConfigError where it would lead out of that folder, or can't be a folder's name.
    """
    name = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    parts = name.split("/")
    if not name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(
            f"{key}: got {value!r}; give a name of folders below the folder of all runs, such as digits or "
            "digits/seed1 (--runs says where that folder is)"
        )
    return name
