"""Any Hugging Face speech encoder as frames of audio of any length.

Audio longer than the encoder's window is cut into windows, encoded in one batch and stitched: every hop of samples
yields exactly one frame, none lost or doubled at a border. Windows may overlap, so that frames near a border are heard
with what comes before and after it. What the encoder is, how long its window is and how many frames a second it makes
are read from the model and its feature extractor, not from its name.
"""

import hashlib
import json
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from speech_xl import SAMPLE_RATE
from speech_xl.model.pretrained import existing


class Encoder(nn.Module):
    """Base type. After `build`: ``encode(audio) -> list of [L, F, D]``, one tensor a row, ``L`` = the asked layers."""

    frame_rate: float  # frames a second
    width: int  # D

    def build(self, layers: Sequence[int]) -> None:
        raise NotImplementedError

    def encode(self, audio: Sequence[Tensor]) -> list[Tensor]:
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Names what the frames depend on: weights, window, layers. The frame cache is keyed by it."""
        raise NotImplementedError


class HFEncoder(Encoder):
    """An encoder by its Hugging Face name or folder.

    name               hub name (openai/whisper-base) or a folder with config.json and preprocessor_config.json
    pretrained         load weights; False starts from the config with random weights
    window_seconds     longest audio encoded in one piece; None reads it from the model (Whisper) or takes 30 s
    overlap_seconds    what a window hears beyond each of its inner borders, and whose frames are dropped
    trust_remote_code  run code that comes with the model; off unless you set it
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = True,
        window_seconds: float | None = None,
        overlap_seconds: float = 0.0,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__()
        self.name, self.pretrained = name, pretrained
        self.window_seconds, self.overlap_seconds = window_seconds, overlap_seconds
        self.trust_remote_code = trust_remote_code

    def build(self, layers: Sequence[int]) -> None:
        name = existing(self.name, "encoder")
        options = {"trust_remote_code": self.trust_remote_code}
        config = AutoConfig.from_pretrained(name, **options)
        if self.pretrained:
            model = AutoModel.from_pretrained(name, **options)
        else:
            model = AutoModel.from_config(config, **options)
        self.model = model.get_encoder() if config.is_encoder_decoder else model
        self.model.float()
        self.extractor = AutoFeatureExtractor.from_pretrained(name, **options)
        if self.extractor.sampling_rate != SAMPLE_RATE:
            raise ValueError(f"encoder {self.name}: listens at {self.extractor.sampling_rate} Hz, not {SAMPLE_RATE} Hz")
        self.width = config.hidden_size
        depth = config.encoder_layers if config.is_encoder_decoder else config.num_hidden_layers
        for layer in layers:
            if not -depth - 1 <= layer <= depth:
                raise ValueError(f"encoder {self.name}: layer {layer} asked for, but it has {depth} layers")
        self.layers = [layer if layer >= 0 else depth + 1 + layer for layer in layers]
        self.depth = depth
        if self.spectral:
            strides = [m.stride[0] for m in self.model.children() if isinstance(m, nn.Conv1d)]
            self.hop = self.extractor.hop_length * prod(strides)
            own = config.max_source_positions * self.hop
            window = own if self.window_seconds is None else self._samples(self.window_seconds)
            if window != own:
                raise ValueError(
                    f"encoder {self.name}: window_seconds={self.window_seconds} but its window is fixed at "
                    f"{own / SAMPLE_RATE:g} s; leave window_seconds out"
                )
            self.overhang = 0
        else:
            self.hop = prod(config.conv_stride)
            window = self._samples(30.0 if self.window_seconds is None else self.window_seconds)
            # The convolutions take their receptive field off the end; that much more audio (or silence) gives every
            # hop of the window its frame.
            field, jump = 1, 1
            for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
                field, jump = field + (kernel - 1) * jump, jump * stride
            self.overhang = field - self.hop
        self.window = window // self.hop * self.hop
        self.overlap = round(self.overlap_seconds * SAMPLE_RATE) // self.hop * self.hop
        if not 0 <= 2 * self.overlap < self.window:
            raise ValueError(
                f"encoder {self.name}: overlap_seconds={self.overlap_seconds} must be at least 0 and less than half of "
                f"its window of {self.window / SAMPLE_RATE:g} s"
            )
        self.frame_rate = SAMPLE_RATE / self.hop

    @property
    def spectral(self) -> bool:
        """Whether the encoder reads mel spectra rather than samples."""
        return self.model.main_input_name == "input_features"

    def _samples(self, seconds: float) -> int:
        if seconds <= 0:
            raise ValueError(f"encoder.window_seconds={seconds}: must be positive")
        return round(seconds * SAMPLE_RATE)

    def frames_of(self, samples: int) -> int:
        """Frames that `samples` of audio become: one per started hop."""
        return -(-samples // self.hop)

    def spans(self, samples: int) -> list[tuple[int, int, int, int]]:
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
            for start, stop, first, last in self.spans(len(samples)):
                windows.append(samples[start:stop])
                owners.append(row)
                kept.append(slice((first - start) // self.hop, self.frames_of(last - start)))
        encoded: list[Tensor | None] = [None] * len(windows)
        for group in self._groups(windows):
            frames = self._encode_equal([windows[i] for i in group])
            for i, frame in zip(group, frames, strict=True):
                encoded[i] = frame[:, kept[i]]
        rows: list[list[Tensor]] = [[] for _ in audio]
        for owner, frames in zip(owners, encoded, strict=True):
            rows[owner].append(frames)
        return [torch.cat(parts, dim=1) for parts in rows]

    def _groups(self, windows: Sequence[Tensor]) -> list[list[int]]:
        """Windows that may share a batch. A spectral encoder pads all to one length by its nature; an encoder of raw
        samples would let padding leak in (group norms over time, positions), so it batches equal lengths alone."""
        if self.spectral:
            return [list(range(len(windows)))]
        by_length: dict[int, list[int]] = {}
        for i, window in enumerate(windows):
            by_length.setdefault(len(window), []).append(i)
        return list(by_length.values())

    def _encode_equal(self, windows: Sequence[Tensor]) -> Tensor:
        """A batch of windows -> [W, L, F, D]."""
        parameter = next(self.model.parameters())
        if not self.spectral:
            # Whole hops, then the overhang, in silence: the last started hop gets its frame too.
            windows = [pad(w, (0, -len(w) % self.hop + self.overhang)) for w in windows]
        arrays = [w.float().cpu().numpy() for w in windows]
        length = {"padding": "max_length", "max_length": self.window, "truncation": False} if self.spectral else {}
        with torch.no_grad(), torch.autocast(parameter.device.type, enabled=False):  # features in full precision
            inputs = self.extractor(arrays, sampling_rate=SAMPLE_RATE, return_tensors="pt", **length)
        values = inputs[self.model.main_input_name].to(parameter)
        deep = self.layers != [self.depth]
        output = self.model(values, output_hidden_states=deep)
        if not deep:
            return output.last_hidden_state[:, None]
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
