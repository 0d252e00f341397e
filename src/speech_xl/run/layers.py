"""Layers: mappings of configuration that lie over one another, kept as YAML nodes that know their file and line.

A stage is several layers, the later over the earlier; jsonargparse merges them, since it knows what a changed class
leaves valid. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

STAGE_FOLDER = re.compile(r"\$\{stage:([^}]*)\}")  # in a value: the run folder of that stage
WHOLE = ("trainable", "tasks", "task_weights")  # mappings that are one value to the parser: replaced, not merged
ELSEWHERE = re.compile(r"[\w.+-]+/[\w.+-]+")  # EXPERIMENT/STAGE: a stage of another experiment


@dataclass(frozen=True)
class Layer:
    """One mapping of keys, and the file it stands in."""

    path: Path
    node: yaml.MappingNode

    def text(self) -> str:
        """As YAML that a parser reads, each value written as it is in the file, aliases written out."""
        return yaml.serialize(_replaced(self.node, {}), Dumper=yaml.SafeDumper, width=1_000_000, allow_unicode=True)

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return yaml.safe_load(self.text()) or {}

    def only(self, keys: Collection[str]) -> Layer:
        """With these top keys alone."""
        return Layer(self.path, mapping([pair for pair in self.node.value if pair[0].value in keys], self.node))

    def without(self, keys: Collection[str]) -> Layer:
        """Without these top keys."""
        return Layer(self.path, mapping([pair for pair in self.node.value if pair[0].value not in keys], self.node))

    def place(self, node: yaml.Node) -> str:
        """``FILE:LINE`` of a node."""
        return f"{self.path}:{node.start_mark.line + 1}"

    def value(self, *keys: str) -> yaml.Node | None:
        """The node below these keys, None where there is none."""
        node: yaml.Node | None = self.node
        for key in keys:
            if not isinstance(node, yaml.MappingNode):
                return None
            node = next((value for name, value in node.value if name.value == key), None)
        return node


def mapping(pairs: Sequence[tuple[yaml.Node, yaml.Node]], like: yaml.Node) -> yaml.MappingNode:
    """A mapping of these keys and values that stands where `like` does."""
    return yaml.MappingNode("tag:yaml.org,2002:map", list(pairs), like.start_mark, like.end_mark)


def layer_of(path: Path, keys: Mapping[str, Any]) -> Layer:
    """Plain data as a layer."""
    node = yaml.compose(yaml.safe_dump(dict(keys), sort_keys=False), Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    return Layer(path, node)


def with_class(layers: list[Layer]) -> list[Layer]:
    """Layers of one stage in which the first `model` says its class.

    Keys that all stages share say no class, each stage's own section does. Parsers want it first.
    """
    known = next((name for layer in layers if (name := model_class(layer)) is not None), None)
    for place, layer in enumerate(layers):
        model = layer.value("model")
        if model is None:
            continue
        if known is not None and model_class(layer) is None and isinstance(model, yaml.MappingNode):
            key = yaml.ScalarNode("tag:yaml.org,2002:str", "class_path", known.start_mark, known.end_mark)
            complete = mapping([(key, known), *model.value], model)
            pairs = [(name, complete if name.value == "model" else value) for name, value in layer.node.value]
            return [*layers[:place], Layer(layer.path, mapping(pairs, layer.node)), *layers[place + 1 :]]
        break
    return layers


def with_seeds(layer: Layer, number: int) -> Layer:
    """The layer with the three seeds of a training; those that it says itself stay."""
    keys = {"seed_everything": number, "data": {"seed": number}, "model": {"init_args": {"seed": number}}}
    return merged([layer_of(layer.path, keys), layer])


def merged(layers: Sequence[Layer]) -> Layer:
    """All keys of these layers, the later over the earlier, whatever their class. Parsers get layers one by one."""
    node: yaml.Node = layers[0].node
    for layer in layers[1:]:
        node = _over(layer.node, node)
    assert isinstance(node, yaml.MappingNode)
    return Layer(layers[-1].path, node)


def _over(node: yaml.Node, below: yaml.Node) -> yaml.Node:
    """`node` with the keys of `below` that it doesn't have, those of a mapping that is one value aside."""
    if not isinstance(node, yaml.MappingNode) or not isinstance(below, yaml.MappingNode):
        return node
    lower = {key.value: (key, value) for key, value in below.value}
    under = [lower.pop(key.value, (None, None))[1] for key, _ in node.value]
    pairs = [
        (key, value if other is None or key.value in WHOLE else _over(value, other))
        for (key, value), other in zip(node.value, under, strict=True)
    ]
    return mapping([*pairs, *lower.values()], node)


def model_class(layer: Layer) -> yaml.ScalarNode | None:
    """The class that a layer gives the model, None where it leaves it."""
    model = layer.value("model")
    named = layer.value("model", "class_path") if isinstance(model, yaml.MappingNode) else model
    return named if isinstance(named, yaml.ScalarNode) and named.value not in ("", "null", "~") else None


def stages_named(layer: Layer) -> Iterator[tuple[str, yaml.Node]]:
    """Every ``${stage:NAME}`` in a layer's values: the name, and where."""
    for node in _scalars(layer.node):
        for name in STAGE_FOLDER.findall(node.value):
            yield name, node


def with_folders(layer: Layer, folders: Mapping[str, Path], runs: Path) -> Layer:
    """The layer with run folders in place of every ``${stage:NAME}``; ``EXPERIMENT/STAGE`` lies below `runs`."""
    named = list(stages_named(layer))
    if not named:
        return layer
    known = {name: folders.get(name, runs / name) for name, _ in named}
    node = _replaced(layer.node, known)
    assert isinstance(node, yaml.MappingNode)
    return Layer(layer.path, node)


def _scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _scalars(key)
            yield from _scalars(value)


def _replaced(node: yaml.Node, folders: Mapping[str, Path]) -> yaml.Node:
    if isinstance(node, yaml.ScalarNode):
        text = STAGE_FOLDER.sub(lambda match: str(folders.get(match.group(1), match.group())), node.value)
        return yaml.ScalarNode(node.tag, text, node.start_mark, node.end_mark, node.style)
    if isinstance(node, yaml.SequenceNode):
        items = [_replaced(item, folders) for item in node.value]
        return yaml.SequenceNode(node.tag, items, node.start_mark, node.end_mark, node.flow_style)
    assert isinstance(node, yaml.MappingNode)
    pairs = [(_replaced(key, folders), _replaced(value, folders)) for key, value in node.value]
    return yaml.MappingNode(node.tag, pairs, node.start_mark, node.end_mark, node.flow_style)
