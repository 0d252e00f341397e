"""Packaging: environment.yml repeats pyproject.toml, versions agree, and what must be tracked is not ignored."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]

if sys.version_info >= (3, 11):
    import tomllib

    PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
else:
    PROJECT = None

needs_tomllib = pytest.mark.skipif(PROJECT is None, reason="tomllib came with Python 3.11")
needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")


@needs_tomllib
def test_environment_yml_lists_what_pyproject_requires():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    listed = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert listed[-1] == "-e ."
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    assert sorted(listed[:-1]) == sorted(wanted)


@needs_tomllib
def test_conda_python_is_one_the_package_admits():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = next(entry for entry in environment["dependencies"] if str(entry).startswith("python="))
    assert Requirement("python" + PROJECT["requires-python"]).specifier.contains(python.removeprefix("python="))


@needs_tomllib
def test_the_stolen_credential_releases_of_lightning_are_not_admitted():
    lightning = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "lightning")
    assert not any(lightning.specifier.contains(bad) for bad in ("2.6.2", "2.6.3"))
    assert lightning.specifier.contains("2.6.6")


@needs_tomllib
def test_the_version_is_the_same_everywhere():
    version = PROJECT["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    released = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert not released or released[0] == version


# where the package on PyPI has another name than the import
DISTRIBUTION_OF = {"yaml": "pyyaml", "sklearn": "scikit_learn"}


def imported_packages():
    """Top-level packages that the code imports, without the standard library and our own."""
    own = {"speech_xl", "data_recipes", "experiments", "tests"}  # the exactness benchmark runs on the tests' models
    found = set()
    for folder in ("src", "experiments", "data_recipes"):
        for file in (ROOT / folder).rglob("*.py"):
            names = re.findall(r"^\s*(?:from|import)\s+([A-Za-z_]\w*)", file.read_text(), re.MULTILINE)
            # A word in a docstring that reads "import ..." is no package; a real one can be found or is declared.
            found |= {n for n in names if n not in own and n not in sys.stdlib_module_names}
    return found


@needs_tomllib
def test_every_imported_package_is_declared():
    extras = [r for name, group in PROJECT["optional-dependencies"].items() if name != "test" for r in group]
    declared = {re.sub(r"[-.]", "_", Requirement(r).name).lower() for r in PROJECT["dependencies"] + extras}
    undeclared = {name for name in imported_packages() if DISTRIBUTION_OF.get(name, name).lower() not in declared}
    # Only what can be imported here is a package; the rest are words of a sentence.
    assert not {name for name in undeclared if importlib.util.find_spec(name)}, "add to pyproject.toml, with why"


@needs_git
@pytest.mark.parametrize("source", ["src/speech_xl/data/new.py", "experiments/data/new.yaml", "tests/data/test_new.py"])
def test_source_folders_named_data_are_not_ignored(source):
    assert subprocess.run(["git", "check-ignore", "-q", source], cwd=ROOT).returncode == 1


@needs_git
@pytest.mark.parametrize("made", ["data", "runs", "cache", ".venv/", ".ci/venv/", "a/__pycache__/"])
def test_what_runs_make_is_ignored(made):
    assert subprocess.run(["git", "check-ignore", "-q", made], cwd=ROOT).returncode == 0


def test_ci_tries_the_oldest_transformers_that_is_admitted():
    script = (ROOT / ".ci" / "run").read_text()
    oldest = next(Requirement(r).specifier for r in PROJECT["dependencies"] if Requirement(r).name == "transformers")
    (lowest,) = (one.version for one in oldest if one.operator == ">=")
    assert f"'transformers=={lowest}.*'" in script
    assert f"'{PROJECT['optional-dependencies']['baselines'][0]}'" in script


def test_ci_script_is_executable():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)


@pytest.mark.parametrize(
    ("room", "others"),
    [
        ("model", ["data", "evaluation", "phases", "callbacks", "cli", "stages"]),
        ("data", ["evaluation", "phases", "callbacks", "cli"]),
        ("evaluation", ["phases", "callbacks", "cli"]),
        ("phases", ["callbacks", "cli"]),
    ],
)
def test_arrows_between_rooms_point_one_way(room, others):
    """As CONTRIBUTING.md says: a room imports none of those that stand on it."""
    files = list((ROOT / "src" / "speech_xl" / room).rglob("*.py"))
    wrong = re.compile(rf"^\s*(?:from|import) speech_xl\.({'|'.join(others)})\b", re.M)
    assert files
    assert {path.name: found for path in files if (found := wrong.findall(path.read_text()))} == {}
