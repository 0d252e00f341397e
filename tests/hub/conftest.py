"""Tiny finished stages with random weights, to be given away."""

import pytest

from experiments.random_stages import run_folder


@pytest.fixture(scope="session")
def lora_run(tmp_path_factory):
    """A stage whose encoder and LLM are base models: adapter, SSTs and LoRA were trained."""
    return run_folder(tmp_path_factory.mktemp("lora"), lora=True)


@pytest.fixture(scope="session")
def full_run(tmp_path_factory):
    """A stage of which all but the encoder was trained; the LLM's head is tied to its embeddings."""
    return run_folder(tmp_path_factory.mktemp("full"), tied=True)
