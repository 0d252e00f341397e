"""Probabilities of speech: those of the package silero-vad, for audio of any length; PyTorch keeps its threads."""

import subprocess
import sys

import pytest
import torch

from speech_xl.extensions.pauses import activity as module
from speech_xl.extensions.pauses.activity import activity

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the package's model is TorchScript


@pytest.fixture(scope="module")
def theirs():
    threads = torch.get_num_threads()
    package = pytest.importorskip("silero_vad")
    torch.set_num_threads(threads)
    return package.load_silero_vad()


@pytest.mark.parametrize("samples", [512, 513, 16_000, 40_000])
def test_they_are_the_packages_own(theirs, said, samples, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)  # the state goes from block to block
    audio = torch.from_numpy(said[:samples])
    theirs.reset_states()
    wanted = theirs.audio_forward(audio[None], 16_000)[0]
    found = activity()(audio)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    assert len(found) == -(-samples // 512)
    if samples == 40_000:
        assert wanted.max() > 0.9 and wanted.min() < 0.2  # speech and none: it says something


def test_listening_leaves_the_threads_as_they_were():
    code = "import torch; torch.set_num_threads(3); from speech_xl.extensions.pauses.activity import activity; "
    code += "activity()(torch.randn(9999)); print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"
    assert not done.stderr


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"SileroPauses needs silero-vad 6: pip install -e '\.\[vad\]'"):
        module.weights_file()
