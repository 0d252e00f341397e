"""A wheel holds all that the command needs outside of a clone."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # builds a wheel in an environment of its own, which needs a package index for hatchling
def test_a_wheel_holds_the_command_its_model_and_its_page(tmp_path):
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(words, check=True, timeout=600)
    (path,) = tmp_path.glob("speech_xl_suite-*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        points = next(name for name in names if name.endswith("entry_points.txt"))
        assert "speech-xl = speech_xl.commands.main:main" in wheel.read(points).decode()
        for folder in ("trained/read_speech", "serving/page"):
            source = ROOT / "experiments" if folder.startswith("trained") else ROOT / "src" / "speech_xl"
            tracked = subprocess.run(
                ["git", "ls-files", folder], cwd=source, capture_output=True, text=True, check=True
            ).stdout.split()
            assert tracked, folder
            for name in tracked:
                assert f"speech_xl/{name}" in names, name
                assert wheel.read(f"speech_xl/{name}") == (source / name).read_bytes(), name
    assert not any(name.startswith(("tests/", "experiments/", "docs/")) for name in names)
