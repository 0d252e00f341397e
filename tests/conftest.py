"""Settings every test runs under: offline, one thread, no display."""

import os
import socket
from functools import cache
from pathlib import Path

# Set before huggingface_hub, torch or matplotlib are imported, since they read these once. Subprocesses inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

ROOT = Path(__file__).parents[1]
# Files that take a minute or more: they go first, so that no worker is left alone with one of them at the end.
LONG = ("test_experiment_file", "test_end_to_end", "test_losses", "test_comparison")
LONG += ("test_distributed", "test_evaluation_options", "test_stopping", "test_finite")
LOOPBACK = ("127.", "localhost", "::1", "0.0.0.0")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny models run faster on one thread than on several, and sums come out in one order."""
    torch.set_num_threads(1)


@cache
def made_parser(subcommand: str):
    """What parses such commands of `experiments/run.py`; making it takes seconds, so there is one for all tests."""
    from speech_xl.run.cli import SpeechCLI
    from speech_xl.run.command import parse_command

    class Parsed(SpeechCLI):
        """Parses a command and goes no further."""

        def instantiate_classes(self) -> None:
            pass

        def _run_subcommand(self, subcommand: str) -> None:
            pass

    return Parsed(parse_command([subcommand, "-c", "stage1.yaml"], ROOT / "experiments"), None).parser


@pytest.fixture(scope="session")
def parser():
    """The parser of `fit`."""
    return made_parser("fit")


@pytest.fixture(scope="session")
def evaluation_parser():
    """The parser of `test`, which has the options of an evaluation too."""
    return made_parser("test")


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """A test that reaches for the network fails on every machine, instead of passing only where there is one."""
    real_connect = socket.socket.connect

    def connect(self, address):
        host = address[0] if isinstance(address, tuple) else None  # a str or bytes address is a Unix socket
        if host is not None and not str(host).startswith(LOOPBACK):
            raise RuntimeError(f"tests are offline, but something connected to {host}: give it local data")
        return real_connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", connect)
    yield
    patch.undo()


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
