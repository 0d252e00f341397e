"""How an encoder takes audio: four kinds of input, told apart by what the model's own class asks for.

samples   raw audio, any length                              wav2vec2, HuBERT, WavLM
mel       mel spectra, any length                            Parakeet
window    mel spectra, padded to one fixed length            Whisper, Qwen2-Audio's tower
packed    mel spectra end to end with a list of lengths      Qwen2.5-Omni's tower

A front end knows how many samples become a frame and pads audio so that every started hop gets one.
"""

import importlib
from collections.abc import Sequence
from inspect import signature
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from speech_xl import SAMPLE_RATE
from speech_xl.model.pretrained import REPORTED, check_complete, drawing
from speech_xl.storage.hub_folder import MODEL_TYPE

# Where larger models keep their audio tower: the path of its config, and its weights' prefix.
TOWERS = {
    "audio_config": "audio_tower",
    "thinker_config.audio_config": "thinker.audio_tower",
    "encoder_config": "encoder",
}


def load_tower(name: str, pretrained: bool, **options: Any) -> tuple[Any, str]:
    """The audio encoder of the model `name`, and a line that counts its tensors (empty where it isn't pretrained).

    Of a larger model the tower alone is made and read. Raises PretrainedError where tensors are missing, unknown, of
    another shape or not finite.
    """
    config = AutoConfig.from_pretrained(name, **options)
    if config.model_type == MODEL_TYPE:  # its weights come from elsewhere: from the file of the whole model
        with drawing():
            tower = tower_of(config.audio_config)
        tower.tie_weights()
        return tower, ""
    for path, prefix in TOWERS.items():
        inner: Any = config
        for step in path.split("."):
            inner = getattr(inner, step, None)
        if inner is not None:
            kind = class_of(inner)
            if not pretrained:
                return kind(inner), ""
            mapping = {rf"^(model\.)?{prefix}\.": ""}
            made: Any = kind.from_pretrained(name, config=inner, key_mapping=mapping, **REPORTED, **options)
            tower, report = made
            return tower, check_complete("encoder", name, tower, tower, report)
    if not pretrained:
        model = AutoModel.from_config(config, **options)
        return model.get_encoder() if config.is_encoder_decoder else model, ""
    model, report = AutoModel.from_pretrained(name, **REPORTED, **options)
    tower = model.get_encoder() if config.is_encoder_decoder else model
    return tower, check_complete("encoder", name, model, tower, report)


def tower_of(config: PreTrainedConfig) -> PreTrainedModel:
    """The audio encoder that a config of its own describes, with random weights."""
    kind = MODEL_MAPPING[type(config)] if type(config) in MODEL_MAPPING else class_of(config)
    if config.is_encoder_decoder:
        with torch.device("meta"):
            kind = type(kind(config).get_encoder())
    return kind(config)


def class_of(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class of transformers that is built from a config of this type."""
    module = importlib.import_module(type(config).__module__.replace(".configuration_", ".modeling_"))
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, PreTrainedModel) and kind.config_class is type(config):
            return kind
    raise ValueError(f"{type(config).__name__}: {module.__name__} has no model of this config")


class FrontEnd:
    """Takes windows of audio to the model's output. Built for one model and its feature extractor.

    hop     samples that become a frame
    window  samples of the one length the model takes, or None where any will do
    grain   samples that a window should be a multiple of
    width   D of the last layer
    depth   number of layers
    """

    window: int | None = None

    def __init__(self, model: Any, extractor: Any) -> None:
        self.model, self.extractor = model, extractor
        # Older releases of transformers know an audio tower's width as d_model alone.
        self.width = getattr(model.config, "hidden_size", None) or model.config.d_model
        self.depth = getattr(model.config, "encoder_layers", None) or model.config.num_hidden_layers
        self.hop = self.grain = self._hop()

    def _hop(self) -> int:
        raise NotImplementedError

    @property
    def inner_layers(self) -> bool:
        """Whether inner layers have as many frames as the last."""
        return not any(isinstance(m, nn.AvgPool1d) for m in self.model.children())

    def groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """Which windows may share a batch: here those of equal length, because padding would leak in (norms over time,
        positions)."""
        by_length: dict[int, list[int]] = {}
        for number, length in enumerate(lengths):
            by_length.setdefault(length, []).append(number)
        return list(by_length.values())

    def inputs(self, windows: Sequence[Tensor]) -> dict[str, Any]:
        """The model's arguments for windows [S] that may share a batch."""
        raise NotImplementedError

    def features(self, windows: Sequence[Tensor], **options: Any) -> Tensor:
        """What the extractor makes of the windows, in full precision."""
        device = next(self.model.parameters()).device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            arrays = [window.float().cpu().numpy() for window in windows]
            made = self.extractor(arrays, sampling_rate=SAMPLE_RATE, return_tensors="pt", **options)
        return made[self.model.main_input_name].to(next(self.model.parameters()))

    def frames(self, hidden: Tensor, windows: Sequence[Tensor]) -> Tensor:
        """A layer's output as [W, F, D]."""
        return hidden


class Samples(FrontEnd):
    """Raw audio. The convolutions take their receptive field off the end; that much more silence gives every hop its
    frame."""

    def _hop(self) -> int:
        config = self.model.config
        field, jump = 1, 1
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            field, jump = field + (kernel - 1) * jump, jump * stride
        self.overhang = field - jump
        return jump

    def inputs(self, windows: Sequence[Tensor]) -> dict[str, Any]:
        padded = [pad(w, (0, -len(w) % self.hop + self.overhang)) for w in windows]
        return {self.model.main_input_name: self.features(padded)}


class Mel(FrontEnd):
    """Mel spectra of any length, whole hops of them."""

    def _hop(self) -> int:
        return self.extractor.hop_length * self.model.config.subsampling_factor

    def inputs(self, windows: Sequence[Tensor]) -> dict[str, Any]:
        padded = [pad(w, (0, -len(w) % self.hop)) for w in windows]
        mels = len(padded[0]) // self.extractor.hop_length  # the extractor may add one more
        return {self.model.main_input_name: self.features(padded)[:, :mels]}


class Window(FrontEnd):
    """Mel spectra padded to the length that the model's positions have been made for."""

    def _hop(self) -> int:
        self.window = (
            self.model.config.max_source_positions * self.extractor.hop_length * strides(self.model, nn.Conv1d)
        )
        return self.extractor.hop_length * strides(self.model, nn.Conv1d, nn.AvgPool1d)

    def groups(self, lengths: Sequence[int]) -> list[list[int]]:
        return [list(range(len(lengths)))]  # all are padded to one length by their nature

    def inputs(self, windows: Sequence[Tensor]) -> dict[str, Any]:
        options = {"padding": "max_length", "max_length": self.window, "truncation": False}
        return {self.model.main_input_name: self.features(windows, **options)}


class Packed(FrontEnd):
    """Mel spectra end to end; the model itself cuts them into chunks that don't see each other."""

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__(model, extractor)
        self.width = model.config.output_dim
        self.grain = 2 * model.config.n_window * extractor.hop_length

    def _hop(self) -> int:
        return self.extractor.hop_length * strides(self.model, nn.Conv1d, nn.AvgPool1d)

    def inputs(self, windows: Sequence[Tensor]) -> dict[str, Any]:
        samples = -(-len(windows[0]) // self.hop) * self.hop
        padded = [pad(w, (0, samples - len(w))) for w in windows]
        mels = self.features(padded, padding="max_length", max_length=samples, truncation=False)
        lengths = torch.full((len(windows),), mels.shape[2], device=mels.device)
        return {self.model.main_input_name: mels.transpose(0, 1).flatten(1), "feature_lens": lengths}

    def frames(self, hidden: Tensor, windows: Sequence[Tensor]) -> Tensor:
        return hidden.view(len(windows), -1, hidden.shape[-1])


def strides(model: nn.Module, *kinds: type[nn.Module]) -> int:
    """Product of the strides of a model's own layers of these kinds."""
    found: list[Any] = [module.stride for module in model.children() if isinstance(module, kinds)]
    return prod(stride[0] for stride in found)


def front_end(model: Any, extractor: Any) -> FrontEnd:
    """The kind of this model."""
    if model.main_input_name != "input_features":
        return Samples(model, extractor)
    if "feature_lens" in signature(model.forward).parameters:
        return Packed(model, extractor)
    return Window(model, extractor) if hasattr(model.config, "max_source_positions") else Mel(model, extractor)
