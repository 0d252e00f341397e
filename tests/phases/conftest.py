"""Tiny models for the phases, made once a run."""

import pytest

from experiments.random_models import encoder_folder, llm_folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A Whisper and a Qwen2, random and tiny, as folders."""
    root = tmp_path_factory.mktemp("models")
    return {"encoder": encoder_folder(root / "encoder"), "llm": llm_folder(root / "llm")}
