"""Packages that bring corpora: whoever declares an entry point of the group `speech_xl.recipes` is found here.

The suite itself imports no recipe. This project's `data_recipes` is declared in pyproject.toml like anybody else's:

    [project.entry-points."speech_xl.recipes"]
    data_recipes = "data_recipes.corpora"
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

GROUP = "speech_xl.recipes"


@cache
def recipe_packages() -> tuple[str, ...]:
    """Names of the installed packages with recipes, without importing them."""
    return tuple(sorted({entry.value.partition(":")[0].partition(".")[0] for entry in entry_points(group=GROUP)}))


@cache
def recipe_folders() -> tuple[Path, ...]:
    """Where the code of these packages lies."""
    specs = [find_spec(name) for name in recipe_packages()]
    return tuple(Path(place) for spec in specs if spec for place in spec.submodule_search_locations or ())


@cache
def load_recipes() -> None:
    """Import all recipes, so that a corpus's plain class name is enough in a config."""
    for entry in entry_points(group=GROUP):
        entry.load()
