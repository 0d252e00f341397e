"""Experiment files: all stages of an experiment in one YAML, and what is compared at the end. Needs no torch.

A file is keys that all its stages share, a section a stage below `stages`, and tables below `compare`. An overlay has
the same form. Over the shared keys lie the sections along `like`, over these each overlay's shared keys and its section
for the stage. docs/experiments_files.md has an example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from speech_xl.run.configs import ConfigError, folder_name, read_layer
from speech_xl.run.layers import ELSEWHERE, Layer, layer_of, stages_named, with_class, with_seeds
from speech_xl.run.makers import MAKERS

STAGES, COMPARE = "stages", "compare"
OF_SECTIONS = ("like", "from", "make")  # keys that only the section of a stage has
OF_MAKERS = ("data", "init_args")  # keys that a maker is given, beside those
WEIGHTS_FILES = (".safetensors", ".ckpt")
FOLDERS = ("base", "sst", "appended", "pooled")  # keys of a comparison that name stages


@dataclass(frozen=True)
class Section:
    """What a file says about one stage.

    layer   its keys for the parser
    like    the stage whose keys it begins with
    start   what stands at `from`, as in the file; None where there is no `from`
    make    name of the maker, for a stage that isn't trained
    place   FILE:LINE
    """

    name: str
    layer: Layer
    like: str | None
    start: yaml.Node | None
    make: str | None
    place: str


@dataclass(frozen=True)
class ConfigFile:
    """A YAML of a command, taken apart: keys for every stage, sections for some, and comparisons."""

    path: Path
    common: Layer
    sections: dict[str, Section]
    comparisons: Layer

    @classmethod
    def read(cls, path: Path) -> ConfigFile:
        whole = read_layer(path)
        sections, comparisons = (_below(whole, key) for key in (STAGES, COMPARE))
        for key, _ in whole.node.value:
            if key.value in ("overwrite", "force"):
                raise ConfigError(f"{path}: {key.value}: only on the command line, as --{key.value}; take it out")
            if key.value in OF_SECTIONS:
                raise ConfigError(f"{whole.place(key)}: {key.value}: stands in a stage's section, below `stages`")
        read = {}
        for key, node in sections.node.value:
            name = folder_name(f"{sections.place(key)}: stages", key.value)
            read[name] = _section(name, Layer(path, node), sections.place(key))
        return cls(path, _seeded(whole.without((STAGES, COMPARE))), read, comparisons)

    @property
    def keys(self) -> dict[str, Any]:
        """The keys for every stage, as plain data."""
        return self.common.plain()

    def speaks_of(self, stage: str) -> bool:
        """Whether it says anything about a stage."""
        return bool(self.common.node.value) or stage in self.sections

    def over(self, stage: str) -> list[Layer]:
        """What this file lays over a stage that others describe."""
        own = [self.sections[stage].layer] if stage in self.sections else []
        return [layer for layer in (self.common, *own) if layer.node.value]


@dataclass(frozen=True)
class Stage:
    """A stage of an experiment.

    start   the stage, EXPERIMENT/STAGE of another experiment, or weights file that it starts from; None: from nothing
    layers  what the parser is given, the later over the earlier; a ``${stage:NAME}`` stands in them as written
    needs   the stages that must be finished before it, by `start` and by ``${stage:NAME}``
    """

    name: str
    make: str | None
    start: str | None
    layers: list[Layer]
    needs: list[str]
    place: str


@dataclass(frozen=True)
class Experiment:
    """An experiment file with the overlays of a command over it."""

    file: ConfigFile
    overlays: Sequence[ConfigFile] = ()

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """All stages, in the order they run. Raises ConfigError, with file and line, for what doesn't fit together."""
        for key in ("stage", "init_from"):
            if (node := self.file.common.value(key)) is not None:
                raise ConfigError(
                    f"{self.file.common.place(node)}: {key}: is for a file of one stage; here a section below `stages` "
                    "has the stage's name, and says with `from` where it starts"
                )
        for overlay in self.overlays:
            for name, section in overlay.sections.items():
                if name not in self.file.sections:
                    raise ConfigError(f"{section.place}: {_unknown(name, self.file.sections)} in {self.file.path}")
        found: dict[str, Stage] = {}
        for name in self.file.sections:
            found[name] = self._stage(name, found)
        return found

    def _stage(self, name: str, above: Mapping[str, Stage]) -> Stage:
        sections = list(self._like(name))
        own = sections[-1]
        make = next((one.make for one in reversed(sections) if one.make is not None), None)
        over = [overlay.sections[name] for overlay in self.overlays if name in overlay.sections]
        start = next((one for one in reversed([*sections, *over]) if one.start is not None), None)
        if make is None and start is None:
            raise ConfigError(f"{own.place}: stages.{name}: where does it start? Add from: STAGE, or from: null")
        layers = [self.file.common, *(one.layer for one in sections)]
        layers += [layer for overlay in self.overlays for layer in overlay.over(name)]
        known = None if start is None or start.start is None else _start(start.start, start.layer, above)
        if make is not None:
            for one in [*sections[sections.index(next(s for s in sections if s.make)) :], *over]:
                _check_keys(one.layer, OF_MAKERS, f"stages.{name}, which is made by {make},")
            layers = [layer.only(OF_MAKERS) for layer in layers]
        else:
            begin = layer_of(own.layer.path, {"stage": name, "init_from": known})
            layers = with_class([begin, *layers])
        needs = dict.fromkeys([known] if known in above else [])
        for layer in layers:
            for other, node in stages_named(layer):
                if ELSEWHERE.fullmatch(other):
                    continue
                if other not in above:
                    raise ConfigError(f"{layer.place(node)}: ${{stage:{other}}}: {_unknown(other, above)} above {name}")
                needs[other] = None
        return Stage(name, make, known, layers, [one for one in needs if one is not None], own.place)

    def _like(self, name: str) -> Iterator[Section]:
        """The sections that a stage is made of, its own last."""
        section = self.file.sections[name]
        if section.like is not None:
            names = list(self.file.sections)
            above = names[: names.index(name)]
            if section.like not in above:
                raise ConfigError(f"{section.place}: stages.{name}.like: {_unknown(section.like, above)} above it")
            yield from self._like(section.like)
        yield section

    @cached_property
    def comparisons(self) -> dict[str, dict[str, Any]]:
        """Table -> its keys, overlays' laid over the file's. Raises ConfigError where one names a stage there isn't."""
        found: dict[str, dict[str, Any]] = {}
        for file in (self.file, *self.overlays):
            for key, node in file.comparisons.node.value:
                place, name = file.comparisons.place(key), folder_name(f"{file.path}: compare", key.value)
                if not isinstance(node, yaml.MappingNode):
                    raise ConfigError(f"{place}: compare.{name}: give a mapping of keys, such as base: STAGE")
                for other, where in _named_by(Layer(file.path, node)):
                    if other not in self.stages:
                        raise ConfigError(f"{where}: compare.{name}: {_unknown(other, self.stages)} in this file")
                found[name] = found.get(name, {}) | Layer(file.path, node).plain()
        return found

    def needed_for(self, names: Iterable[str]) -> list[str]:
        """These stages and all that they need, in the order they run."""
        wanted: set[str] = set()
        rest = list(names)
        while rest:
            name = rest.pop()
            if name not in wanted:
                wanted.add(name)
                rest += self.stages[name].needs
        return [name for name in self.stages if name in wanted]

    def stage(self, name: str) -> Stage:
        if name not in self.stages:
            raise ConfigError(f"--only: {_unknown(name, self.stages)} in {self.file.path}")
        return self.stages[name]


def _below(whole: Layer, key: str) -> Layer:
    """The mapping below a key; empty where the key isn't there."""
    node = whole.value(key)
    if node is None:
        return layer_of(whole.path, {})
    if not isinstance(node, yaml.MappingNode):
        what = "a section a stage, NAME: {...}" if key == STAGES else "a table each, NAME: {base: STAGE, ...}"
        raise ConfigError(f"{whole.place(node)}: {key}: give {what}")
    return Layer(whole.path, node)


def _section(name: str, layer: Layer, place: str) -> Section:
    if not isinstance(layer.node, yaml.MappingNode):
        raise ConfigError(f"{place}: stages.{name}: give a mapping of keys, such as from: STAGE")
    like, make = (_text(layer, key, name) for key in ("like", "make"))
    if make is not None and make not in MAKERS:
        node = layer.value("make")
        assert node is not None
        raise ConfigError(f"{layer.place(node)}: stages.{name}.make: {_unknown(make, MAKERS, 'maker')}")
    for key in ("stage", "init_from"):
        if (node := layer.value(key)) is not None:
            raise ConfigError(f"{layer.place(node)}: stages.{name}.{key}: write {'from' if key != 'stage' else 'like'}")
    return Section(name, _seeded(layer.without(OF_SECTIONS)), like, layer.value("from"), make, place)


def _text(layer: Layer, key: str, stage: str) -> str | None:
    node = layer.value(key)
    if node is None:
        return None
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        raise ConfigError(f"{layer.place(node)}: stages.{stage}.{key}: give a name")
    return node.value


def _seeded(layer: Layer) -> Layer:
    """With the three seeds of a training in place of `seed`; those that the layer says itself stay."""
    node = layer.value("seed")
    if node is None:
        return layer
    if not isinstance(node, yaml.ScalarNode) or not node.value.isdigit():
        raise ConfigError(f"{layer.place(node)}: seed: give a whole number from 0")
    return with_seeds(layer.without(("seed",)), int(node.value))


def _start(node: yaml.Node, layer: Layer, above: Mapping[str, Stage]) -> str | None:
    """What `from` says: a stage, a weights file, or nothing."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag.endswith(":null"):
            return None
        if node.value in above or node.value.endswith(WEIGHTS_FILES) or ELSEWHERE.fullmatch(node.value):
            return node.value
    given = node.value if isinstance(node, yaml.ScalarNode) else "this"
    raise ConfigError(
        f"{layer.place(node)}: from: {_unknown(given, above)} above it; give one of those, EXPERIMENT/STAGE of another "
        f"experiment, a weights file ({' or '.join(WEIGHTS_FILES)}), or null"
    )


def _check_keys(layer: Layer, known: Sequence[str], what: str) -> None:
    for key, _ in layer.node.value:
        if key.value not in known:
            raise ConfigError(
                f"{layer.place(key)}: {key.value}: {what} takes {', '.join((*OF_SECTIONS, *known))} and nothing else"
            )


def _named_by(table: Layer) -> Iterator[tuple[str, str]]:
    """The stages that a table of `compare` names, each with its place."""
    rows = table.value("rows")
    named = [table.value(key) for key in FOLDERS]
    named += [value for _, value in rows.value] if isinstance(rows, yaml.MappingNode) else []
    for node in named:
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if one is not None:
                yield str(one.value), table.place(one)


def _unknown(name: object, known: Iterable[str], what: str = "stage") -> str:
    """``there is no stage x; there are a, b``, with the likeliest one where it looks like a slip."""
    names = list(known)
    meant = get_close_matches(str(name), names, 1)
    hint = f" (meant: {meant[0]}?)" if meant else ""
    return f"there is no {what} {name!r}{hint}; there are {', '.join(names) or 'none'}"
