"""What runs a page's blocks, and the models that it finds."""

from pathlib import Path

import huggingface_hub.constants
import pytest

from experiments import random_models
from experiments.measurements import two_paths
from speech_xl.run import lineage
from tests.snippets.blocks import Block
from tests.snippets.commands import Commands
from tests.snippets.page import Page
from tests.snippets.sandbox import make_hub, make_place


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    cache = tmp_path_factory.mktemp("hub")
    make_hub(cache, training=False)
    return cache


@pytest.fixture(scope="module")
def commands(parser, evaluation_parser) -> Commands:
    return Commands(parser, evaluation_parser)


@pytest.fixture
def run_page(tmp_path, hub, commands, monkeypatch):
    """Runs the blocks of a page, in the mode given."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))  # forks have it too
    monkeypatch.setattr("speech_xl.inference.model.ANSWER_TOKENS", 16)  # of a model that answers noise with noise
    monkeypatch.setattr(random_models, "DECODERS", dict(random_models.DECODERS))  # a page shows how to add to them
    monkeypatch.setattr(random_models, "PECULIAR", dict(random_models.PECULIAR))
    monkeypatch.setattr(two_paths, "FAMILIES", list(two_paths.FAMILIES))
    # The shipped stage refuses an encoder with other weights than Whisper-base's, such as the tiny one in this cache.
    monkeypatch.setattr(lineage, "built_differences", lambda *_: [])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # where a server keeps its sessions

    def run(blocks: list[Block], mode: str, place: Path | None = None) -> None:
        page = Page(place or make_place(tmp_path, mode), commands, mode)
        try:
            for block in blocks:
                page.run(block)
        finally:
            page.shell.close()

    return run
