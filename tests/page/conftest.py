"""A server of a tiny random model in a process of its own, and a browser that shows its page."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from experiments.figures.driven_page import CHROMIUM, Server, launch

TOKEN = "a-token-of-these-tests"
SERVE = """
import argparse
from speech_xl.commands.serve import add_arguments, serve
from tests.listening_models import tiny_model
parser = argparse.ArgumentParser()
add_arguments(parser)
serve(tiny_model(), parser.parse_args())
"""


@pytest.fixture(scope="module")  # no longer: while it runs, its thread has a running event loop, which other tests need
def automation():
    """Playwright, or a skip that says what is missing."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[test]' brings playwright")
    with api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def server(automation, tmp_path_factory):
    """A server that wants a token and takes 20 s, 600,000 bytes and twelve sessions."""
    limits = ["--max-audio-seconds", "20", "--max-upload-bytes", "600000", "--max-sessions", "12"]
    served = Server([sys.executable, "-c", SERVE, *limits], tmp_path_factory.mktemp("served"), TOKEN)
    try:
        yield served.wait()
    finally:
        served.stop()


@pytest.fixture(scope="session")
def speech_file():
    """Makes a file of noise that swells and fades, in the format of the path's suffix."""

    def made(path: Path, seconds: float, rate: int = 16_000) -> Path:
        time = np.arange(round(seconds * rate)) / rate
        noise = np.random.default_rng(0).standard_normal(len(time)) * (0.06 + 0.05 * np.sin(2.5 * time))
        sf.write(path, noise.astype(np.float32), rate)
        return path

    return made


@pytest.fixture(scope="session")
def talk(tmp_path_factory, speech_file) -> Path:
    """Six seconds."""
    return speech_file(tmp_path_factory.mktemp("audio") / "talk.flac", 6)


@pytest.fixture(scope="module")
def chromium(automation, tmp_path_factory, speech_file):
    """A browser whose microphone hears a file, over and over."""
    said = speech_file(tmp_path_factory.mktemp("microphone") / "said.wav", 8)
    with launch(
        automation, "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={said}"
    ) as running:
        yield running


@pytest.fixture
def page(chromium):
    """A new page, wide as a laptop; what its scripts or its policy complain of fails the test."""
    size = {"width": 1280, "height": 900}
    context = chromium.new_context(viewport=size, permissions=["microphone"], reduced_motion="reduce")
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda said: "Failed to load" not in said.text and page.complaints.append(said.text))
    yield page
    context.close()
    assert not page.complaints
