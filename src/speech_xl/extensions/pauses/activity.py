"""How likely speech is in every 32 ms of audio: Silero VAD's weights, run over all of a recording at once.

The package's own model goes chunk by chunk in Python. Its convolutions see one chunk and the 64 samples before it, so
they run over many chunks together here, and its LSTM over them in one call: the same numbers, tens of times as fast.
"""

import warnings
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from speech_xl import SAMPLE_RATE

CHUNK, CONTEXT = 512, 64  # samples of a chunk, and of what lies before it
BLOCK = 4096  # chunks that are run together: 131 s
CHUNKS_A_SECOND = SAMPLE_RATE / CHUNK
MODEL = "silero_vad.jit"
NAMES = {"stft_conv.weight": "stft.forward_basis_buffer"}  # of our weights -> theirs
NAMES |= {f"conv{i + 1}.{n}": f"encoder.{i}.reparam_conv.{n}" for i in range(4) for n in ("weight", "bias")}
NAMES |= {f"lstm.{n}_l0": f"decoder.rnn.{n}" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
NAMES |= {f"final_conv.{n}": f"decoder.decoder.2.{n}" for n in ("weight", "bias")}


class Activity(nn.Module):
    """Silero VAD 6 for 16 kHz: STFT, four convolutions over a chunk, an LSTM over chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.final_conv = nn.Conv1d(128, 1, 1)

    @torch.inference_mode()
    def forward(self, audio: Tensor) -> Tensor:
        """Probabilities [ceil(S / 512)] of speech in the chunks of audio [S] at 16 kHz, S > 0."""
        padded = pad(audio.float(), (CONTEXT, -len(audio) % CHUNK))
        chunks = padded.unfold(0, CONTEXT + CHUNK, CHUNK)
        found, state = [], None
        for block in chunks.split(BLOCK):
            hidden, state = self.lstm(self._features(block)[None], state)
            found.append(self.final_conv(hidden[0].relu()[..., None]).sigmoid().flatten())
        return torch.cat(found)

    def _features(self, chunks: Tensor) -> Tensor:
        """Chunks [C, 576] with their context to features [C, 128]."""
        x = self.stft_conv(pad(chunks[:, None], (0, CONTEXT), mode="reflect"))
        x = x.unflatten(1, (2, 129)).square().sum(1).sqrt()
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = convolution(x).relu()
        return x.squeeze(-1)


def weights_file() -> Path:
    """The model in the package silero-vad, which isn't imported: it would set PyTorch's threads to one.

    Raises ImportError where it isn't installed or is of another generation.
    """
    package = find_spec("silero_vad")
    places = [] if package is None else [Path(p) / "data" / MODEL for p in package.submodule_search_locations or []]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ImportError("data.partition: SileroPauses needs silero-vad 6: pip install -e '.[vad]'")
    return found


@lru_cache(maxsize=1)
def activity() -> Activity:
    """The model, loaded once in a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript's; its file is read for the weights alone
        state = torch.jit.load(weights_file(), map_location="cpu").state_dict()
    model = Activity()
    model.load_state_dict({ours: state[f"_model.{theirs}"] for ours, theirs in NAMES.items()})
    return model.eval().requires_grad_(False)
