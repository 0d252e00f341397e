"""VoiceAdapter: a linear map of several encoder layers, for who speaks and how where little speech is labelled.

Not part of Speech-XL: `AcousticAdapter` is the paper's way to hear voices. docs/extensions/voice_adapter.md.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from speech_xl.checks import whole
from speech_xl.model.adapters.adapter import Adapted, MultiLayerAdapter, check_layers, inside, masked, output_norm


class VoiceAdapter(MultiLayerAdapter):
    """Every layer's frames, standardised and side by side, their means over the stride, one linear map, LayerNorm.

    Who speaks and how lies below the last layer, in small and steady differences beside large dimensions that say
    little. A linear map finds them where little speech is labelled and `AcousticAdapter` learns nothing from it
    (decision 58). Each dimension's mean and spread are those of the first batch that is trained on, and stay: a
    data-dependent start after Salimans and Kingma (arXiv 1602.07868), so that no row feels its batch. On several ranks
    those of rank zero, which DDP hands to all with its buffers before the second step.
    """

    center: Tensor
    spread: Tensor
    begun: Tensor

    def __init__(self, layers: list[int], stride: int = 4) -> None:
        super().__init__()
        check_layers(layers)
        whole("adapter.stride", stride, least=1)
        self.layers, self.stride, self.grain = tuple(layers), stride, stride

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        width = len(self.layers) * encoder_width
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("begun", torch.tensor(False))
        self.project = nn.Linear(width, llm_width)
        self.norm = output_norm(llm_width, scale)

    @torch.no_grad()
    def begin(self, frames: Tensor, lengths: Tensor) -> None:
        """Take each dimension's mean and spread from frames [B, F, L * D_enc]."""
        heard = frames[inside(frames, lengths)].to(torch.promote_types(frames.dtype, torch.float32))
        self.center.copy_(heard.mean(0))
        self.spread.copy_(heard.std(0, correction=0) + 1e-6)
        self.begun.fill_(True)

    def forward(self, frames: Tensor, lengths: Tensor, embeddings: Tensor) -> Adapted:
        beside = frames.transpose(1, 2).flatten(2)
        if self.training and not self.begun:
            self.begin(beside, lengths)
        standard = masked((beside - self.center) / self.spread, lengths)
        standard = pad(standard, (0, 0, 0, -standard.shape[1] % self.stride))
        means = standard.unflatten(1, (-1, self.stride)).mean(2)
        new = self.out_lengths(lengths)
        return Adapted(self.norm(self.project(means))[:, : int(new.max())], new)
