"""Which part may import which: layers from below to above, a core that knows no extension, no test in shipped code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "speech_xl"
LAYERS = ["storage", "model", "data", "evaluation", "phases", "callbacks", "run"]  # each may import those before it
LAYERS += ["inference", "hub", "serving", "commands"]  # using what was trained
BASE = {"checks"}  # modules beside the layers that any of them may import
# Of the layers below `run`, these modules may import these modules of extensions.
KNOWN = {
    "evaluation/benchmarks/answers.py": {"speech_xl.extensions.timestamps.marks"},
    "evaluation/metrics.py": {"speech_xl.extensions.timestamps.marks"},
    "evaluation/normaliser.py": {"speech_xl.extensions.timestamps.marks"},
    "evaluation/benchmarks/audiomarathon/replies.py": {"speech_xl.extensions.timestamps.marks"},
}
COMMANDS = {"extensions/timestamps/align.py"}  # run as `python -m`: they may import `run`


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, also within functions and for types alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def part_of(module: str) -> str:
    """The part of the package that a module lies in: speech_xl.data.corpus -> data."""
    return (module.split(".") + [""])[1] if module.startswith("speech_xl.") else ""


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_no_layer_above_it(layer):
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    wrong = {
        (str(path.relative_to(PACKAGE)), module)
        for path in files(f"src/speech_xl/{layer}")
        for module in imports(path)
        if part_of(module) in above
    }
    assert not wrong


@pytest.mark.parametrize("layer", LAYERS[: LAYERS.index("run")])
def test_the_core_imports_no_extension(layer):
    wrong = {
        (str(path.relative_to(PACKAGE)), module)
        for path in files(f"src/speech_xl/{layer}")
        for module in imports(path)
        if part_of(module) == "extensions"
        and not any(module.startswith(known) for known in KNOWN.get(str(path.relative_to(PACKAGE)), ()))
    }
    assert not wrong


def test_extensions_import_no_command_line():
    wrong = {
        (str(path.relative_to(PACKAGE)), module)
        for path in files("src/speech_xl/extensions")
        if str(path.relative_to(PACKAGE)) not in COMMANDS
        for module in imports(path)
        if part_of(module) in LAYERS[LAYERS.index("callbacks") :]
    }
    assert not wrong


def test_what_stands_beside_the_layers_imports_none_of_them():
    for name in BASE:
        assert not any(part_of(module) for module in imports(PACKAGE / f"{name}.py"))


def test_the_package_imports_neither_recipes_nor_experiments():
    wrong = {
        (str(path.relative_to(ROOT)), module)
        for path in files("src")
        for module in imports(path)
        if module.split(".")[0] in ("data_recipes", "experiments", "tests")
    }
    assert not wrong


def test_nothing_but_tests_imports_tests():
    wrong = {
        (str(path.relative_to(ROOT)), module)
        for path in files("src", "experiments", "data_recipes")
        for module in imports(path)
        if module.split(".")[0] == "tests"
    }
    assert not wrong


def test_a_recipe_imports_no_experiment():
    wrong = {
        (str(path.relative_to(ROOT)), module)
        for path in files("data_recipes")
        for module in imports(path)
        if module.split(".")[0] == "experiments"
    }
    assert not wrong


def test_these_tests_see_what_is_imported(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("import a.b\nfrom speech_xl import run\ndef f():\n    from speech_xl.data import corpus\n")
    found = set(imports(path))
    assert {"a.b", "speech_xl.run", "speech_xl.data.corpus"} <= found
    assert part_of("speech_xl.run") == "run" and part_of("lightning") == ""


def test_source_files_are_small_and_say_what_they_are_for():
    for path in files("src"):
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{path}: no docstring"
        assert len(text.splitlines()) < 300, f"{path}: {len(text.splitlines())} lines; divide it"
