"""Any Hugging Face speech encoder as frames of audio of any length.

Audio longer than the encoder's window is cut into windows, encoded in one batch and stitched: every hop of samples
yields exactly one frame, none lost or doubled at a border. Windows may overlap, so that frames near a border are heard
with what comes before and after it. What the encoder is, how long its window is and how many frames a second it makes
are read from the model and its feature extractor, not from its name.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoFeatureExtractor

from speech_xl import SAMPLE_RATE
from speech_xl.checks import number
from speech_xl.model.front_end import front_end, load_tower
from speech_xl.model.pretrained import existing, loading


class Encoder(nn.Module):
    """Base type. After `build`: ``encode(audio) -> list of [L, F, D]``, one tensor a row, ``L`` = the asked layers."""

    frame_rate: float  # frames a second
    width: int  # D
    hop: int  # samples a frame
    overlap: int = 0  # samples that a window hears beyond its inner borders
    loaded: str = ""  # which of its tensors are pretrained, in one line

    def build(self, layers: Sequence[int]) -> None:
        raise NotImplementedError

    def encode(self, audio: Sequence[Tensor]) -> list[Tensor]:
        raise NotImplementedError

    def windows(self, samples: int) -> list[tuple[int, int, int, int]]:
        """Windows of `samples` of audio as (start, stop, first, last): heard start to stop, kept first to last."""
        raise NotImplementedError

    def frames_of(self, samples: int) -> int:
        """Frames that `samples` of audio become: one per started hop."""
        return -(-samples // self.hop)

    def fingerprint(self) -> str:
        """Names what the frames depend on: weights, window, layers. The frame cache is keyed by it."""
        raise NotImplementedError


WINDOWS_AT_ONCE = 16  # of a long session: all of an hour's at once would not fit into memory


class HFEncoder(Encoder):
    """An encoder by its Hugging Face name or folder.

    name               hub name (openai/whisper-base) or a folder with config.json and preprocessor_config.json
    pretrained         load weights; False starts from the config with random weights
    window_seconds     longest audio encoded in one piece; None reads it from the model (Whisper) or takes 30 s
    overlap_seconds    what a window hears beyond each of its inner borders, and whose frames are dropped
    trust_remote_code  run code that comes with the model; off unless you set it
    revision           branch, tag or commit on the hub; None: the newest
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = True,
        window_seconds: float | None = None,
        overlap_seconds: float = 0.0,
        trust_remote_code: bool = False,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        self.name, self.pretrained = name, pretrained
        if window_seconds is not None:
            number("encoder.window_seconds", window_seconds, above=0)
        number("encoder.overlap_seconds", overlap_seconds, least=0)
        self.window_seconds, self.overlap_seconds = window_seconds, overlap_seconds
        self.trust_remote_code, self.revision = trust_remote_code, revision

    def build(self, layers: Sequence[int]) -> None:
        name = existing(self.name, "encoder")
        options: dict[str, Any] = {"trust_remote_code": self.trust_remote_code}
        options |= {"revision": self.revision} if self.revision else {}
        with loading("encoder", self.name):
            self.extractor = AutoFeatureExtractor.from_pretrained(name, **options)
            self.model, self.loaded = load_tower(name, self.pretrained, **options)
        self.model.float()
        if self.extractor.sampling_rate != SAMPLE_RATE:
            raise ValueError(f"encoder {self.name}: listens at {self.extractor.sampling_rate} Hz, not {SAMPLE_RATE} Hz")
        self.front = front_end(self.model, self.extractor)
        self.hop, self.width, self.depth = self.front.hop, self.front.width, self.front.depth
        self.frame_rate = SAMPLE_RATE / self.hop
        for layer in layers:
            if not -self.depth - 1 <= layer <= self.depth:
                raise ValueError(f"encoder {self.name}: layer {layer} asked for, but it has {self.depth} layers")
        self.layers = [layer if layer >= 0 else self.depth + 1 + layer for layer in layers]
        if self.layers != [self.depth] and not self.front.inner_layers:
            raise ValueError(
                f"encoder {self.name}: layers {list(layers)} asked for, but its inner layers have more frames than its "
                "last; take an adapter that reads the last layer alone, such as SemanticAdapter"
            )
        window = self.front.window
        if window is None:
            asked = self._samples(30.0 if self.window_seconds is None else self.window_seconds)
            window = max(1, asked // self.front.grain) * self.front.grain
        elif self.window_seconds is not None and self._samples(self.window_seconds) != window:
            raise ValueError(
                f"encoder {self.name}: window_seconds={self.window_seconds} but its window is fixed at "
                f"{window / SAMPLE_RATE:g} s; leave window_seconds out"
            )
        self.window = window // self.hop * self.hop
        self.overlap = round(self.overlap_seconds * SAMPLE_RATE) // self.hop * self.hop
        if not 0 <= 2 * self.overlap < self.window:
            raise ValueError(
                f"encoder {self.name}: overlap_seconds={self.overlap_seconds} must be at least 0 and less than half of "
                f"its window of {self.window / SAMPLE_RATE:g} s"
            )

    def _samples(self, seconds: float) -> int:
        return round(seconds * SAMPLE_RATE)

    def windows(self, samples: int) -> list[tuple[int, int, int, int]]:
        """Windows of `samples` of audio as (start, stop, first, last): heard start to stop, kept first to last."""
        found, first = [], 0
        while first < samples:
            start = max(0, first - self.overlap)
            stop = min(samples, start + self.window)
            last = samples if stop == samples else stop - self.overlap
            found.append((start, stop, first, last))
            first = last
        return found

    def encode(self, audio: Sequence[Tensor]) -> list[Tensor]:
        """Rows of float32 16-kHz mono audio [S] -> rows of frames [L, F, D], ``F = ceil(S / hop)``."""
        windows, owners, kept = [], [], []
        for row, samples in enumerate(audio):
            if not len(samples):
                raise ValueError(f"row {row} of the batch holds no audio")
            for start, stop, first, last in self.windows(len(samples)):
                windows.append(samples[start:stop])
                owners.append(row)
                kept.append(slice((first - start) // self.hop, self.frames_of(last - start)))
        encoded: list[Tensor | None] = [None] * len(windows)
        for group in self.front.groups([len(window) for window in windows]):
            for few in (group[i : i + WINDOWS_AT_ONCE] for i in range(0, len(group), WINDOWS_AT_ONCE)):
                for i, frame in zip(few, self._encode_batch([windows[i] for i in few]), strict=True):
                    encoded[i] = frame[:, kept[i]]
        rows: list[list[Tensor]] = [[] for _ in audio]
        for owner, frames in zip(owners, encoded, strict=True):
            rows[owner].append(frames)
        return [torch.cat(parts, dim=1) for parts in rows]

    def _encode_batch(self, windows: Sequence[Tensor]) -> Tensor:
        """Windows that may share a batch -> [W, L, F, D]."""
        deep = self.layers != [self.depth]
        output = self.model(**self.front.inputs(windows), **({"output_hidden_states": True} if deep else {}))
        if not deep:
            return self.front.frames(output.last_hidden_state, windows)[:, None]
        states = [output.last_hidden_state if i == self.depth else output.hidden_states[i] for i in self.layers]
        return torch.stack(states, dim=1)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        what = {"layers": self.layers, "window": self.window, "hop": self.hop, "class": type(self.model).__name__}
        what |= {"overlap": self.overlap} if self.overlap else {}  # absent, as in fingerprints before there was any
        digest.update(json.dumps([what, self.extractor.to_dict()], sort_keys=True, default=str).encode())
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return f"{Path(self.name).name}-{digest.hexdigest()[:16]}"
