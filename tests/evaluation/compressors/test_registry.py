"""The registry: every compressor has a line, a name for tables and one for command lines, and says what it needs."""

import inspect

import pytest

from speech_xl.evaluation import compressors
from speech_xl.evaluation.compressors import Compressor, Eviction, registry
from speech_xl.evaluation.compressors.registry import REGISTRY, find


def test_every_compressor_class_has_a_line_and_is_made_under_its_name():
    made = [line.make() for line in REGISTRY if line.extra is None]
    assert [one.name for one in made] == [line.name for line in REGISTRY if line.extra is None]
    classes = {one for _, one in inspect.getmembers(compressors, inspect.isclass) if issubclass(one, Compressor)}
    assert classes - {Compressor, Eviction} == {type(one) for one in made}
    assert all(one.trained == (line.weights != "base") for one, line in zip(made, plain(), strict=True))


def plain():
    return [line for line in REGISTRY if line.extra is None]


def test_names_are_found_as_in_tables_and_as_on_a_command_line():
    keys = [line.key for line in REGISTRY]
    assert len(set(keys)) == len(keys) and all(key.isidentifier() for key in keys)
    for line in REGISTRY:
        assert find(line.key, "--compressor") is find(line.name, "--compressor") is find(line.key.lower(), "") is line


def test_an_unknown_name_lists_all():
    with pytest.raises(
        ValueError, match=r"--compressor: there is no compressor 'Snap'; there are full_KV, .*SSTs, and Audio"
    ):
        find("Snap", "--compressor")


def test_what_is_not_installed_is_said_with_the_remedy_and_the_others_need_nothing(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    monkeypatch.setattr("speech_xl.evaluation.compressors.eviction.import_module", missing)
    for line in REGISTRY:
        if line.extra is None:
            line.check_installed()
            continue
        with pytest.raises(
            ImportError, match=r"comes from kvpress, which isn't installed: pip install -e '.\[baselines\]'"
        ):
            line.check_installed()
        with pytest.raises(ImportError, match="comes from kvpress"):
            line.make()
