"""What golden values were recorded under, and how near they have to come where something of it differs."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from experiments.measurements.record import machine

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "transformers", "numpy", "scipy", "espeakng-loader")
MADE_BY = ("src", "data_recipes", "experiments")  # folders whose code makes the values


def conditions() -> dict[str, str]:
    """Versions and processor: where they are equal, the same code gives the same numbers."""
    packages = {name: version(name) for name in PACKAGES}
    return packages | {"cpu": str(machine()["cpu"]), "cpu_capability": torch.backends.cpu.get_cpu_capability()}


def commit() -> str:
    """The last commit that changed the code the values come from. Raises ValueError where files of it differ."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    if changed := git("status", "--porcelain", "--", *MADE_BY):
        raise ValueError(f"these files differ from the commit the values would be of; commit them first:\n{changed}")
    return git("log", "-1", "--format=%H", "--", *MADE_BY)
