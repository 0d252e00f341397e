"""Adapters for how something is said: voices, emotions, ages, which lie below the encoder's last layer.

`AcousticAdapter` (a small Q-former over several encoder layers) and `DualAdapter` (words and voice, added) are after
DIFFA (arXiv 2507.18452); `VoiceAdapter`, a linear map of several layers, is ours.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from speech_xl.checks import whole
from speech_xl.model.adapter import Adapted, Adapter, SemanticAdapter, inside, masked, output_norm


def check_layers(layers: list[int]) -> None:
    """Raises ValueError where no encoder layer is named. Which of them there are the encoder says."""
    if not layers:
        raise ValueError("adapter.layers: got []; name encoder layers, for example [2, 4] (-1 is the last)")


class AcousticAdapter(Adapter):
    """A Q-former over several encoder layers: voice, emotion and age live below the last layer.

    Every segment of `segment` encoder frames is read by ``segment / stride`` learned queries through `depth` blocks of
    cross attention and feed-forward; the tapped layers are mixed by softmax weights first. DIFFA uses 64 queries on a
    30-s window; queries per segment are our choice, because an interval may be of any length.
    """

    def __init__(
        self, layers: list[int], stride: int = 4, segment: int = 40, width: int = 256, depth: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        check_layers(layers)
        sizes = {"stride": stride, "segment": segment, "width": width, "depth": depth, "heads": heads}
        for key, value in sizes.items():
            whole(f"adapter.{key}", value, least=1)
        if width % heads:
            raise ValueError(f"adapter.width={width} must be a multiple of adapter.heads={heads}")
        if segment % stride:
            raise ValueError(f"adapter.segment={segment} must be a multiple of adapter.stride={stride}")
        self.layers, self.stride, self.segment, self.grain = tuple(layers), stride, segment, segment
        self.width, self.depth, self.heads = width, depth, heads

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        self.mix = nn.Parameter(torch.zeros(len(self.layers)))
        self.inputs = nn.Linear(encoder_width, self.width)
        self.places = nn.Parameter(torch.randn(self.segment, self.width) * 0.02)
        self.queries = nn.Parameter(torch.randn(self.segment // self.stride, self.width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerDecoderLayer(
                self.width,
                self.heads,
                4 * self.width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(self.depth)
        )
        self.project = nn.Linear(self.width, llm_width)
        self.norm = output_norm(llm_width, scale)

    def forward(self, frames: Tensor, lengths: Tensor, embeddings: Tensor, first: int | Tensor = 0) -> Adapted:
        batch, _, length, _ = frames.shape
        mixed = torch.einsum("blfd,l->bfd", frames, self.mix.softmax(0).to(frames.dtype))
        x = self.inputs(masked(mixed, lengths))
        x = pad(x, (0, 0, 0, -length % self.segment))
        segments = x.shape[1] // self.segment
        x = x.reshape(batch * segments, self.segment, self.width) + self.places
        beyond = torch.arange(segments * self.segment, device=x.device) >= lengths[:, None]
        beyond = beyond.reshape(batch * segments, self.segment)
        beyond = beyond & ~beyond.all(1, keepdim=True)  # a segment wholly of padding may look anywhere: it is cut below
        query = self.queries.expand(len(x), -1, -1)
        for block in self.blocks:
            query = block(query, x, memory_key_padding_mask=beyond)
        out = self.norm(self.project(query)).reshape(batch, -1, self.norm.normalized_shape[0])
        new = self.out_lengths(lengths)
        return Adapted(out[:, : int(new.max())], new)


class VoiceAdapter(Adapter):
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

    def forward(self, frames: Tensor, lengths: Tensor, embeddings: Tensor, first: int | Tensor = 0) -> Adapted:
        beside = frames.transpose(1, 2).flatten(2)
        if self.training and not self.begun:
            self.begin(beside, lengths)
        standard = masked((beside - self.center) / self.spread, lengths)
        standard = pad(standard, (0, 0, 0, -standard.shape[1] % self.stride))
        means = standard.unflatten(1, (-1, self.stride)).mean(2)
        new = self.out_lengths(lengths)
        return Adapted(self.norm(self.project(means))[:, : int(new.max())], new)


class DualAdapter(Adapter):
    """Semantic and acoustic frames at one rate, added: the words and how they are said."""

    def __init__(self, semantic: SemanticAdapter, acoustic: AcousticAdapter | VoiceAdapter) -> None:
        super().__init__()
        if semantic.stride != acoustic.stride:
            raise ValueError(
                f"dual adapter: semantic stride {semantic.stride} and acoustic stride {acoustic.stride} must be equal"
            )
        self.semantic, self.acoustic, self.stride = semantic, acoustic, semantic.stride
        self.grain = acoustic.grain  # the stride or a multiple of it
        self.layers = (*acoustic.layers, -1)
        self.scores_tokens, self.letters = semantic.scores_tokens, semantic.letters

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        self.semantic.build(encoder_width, llm_width, scale)
        self.acoustic.build(encoder_width, llm_width, scale)
        self.clocked = self.semantic.clocked
        nn.init.zeros_(self.acoustic.norm.weight)  # begins as the semantic adapter, so stage 2 can add it to stage 1

    def forward(self, frames: Tensor, lengths: Tensor, embeddings: Tensor, first: int | Tensor = 0) -> Adapted:
        semantic = self.semantic(frames, lengths, embeddings, first)
        acoustic = self.acoustic(frames[:, :-1], lengths, embeddings, first)
        return semantic._replace(frames=self.semantic.timed(semantic.frames + acoustic.frames, first))
