"""AcousticAdapter: a small Q-former over several encoder layers, for voices, emotions and ages.

After the acoustic half of DIFFA's dual adapter (arXiv 2507.18452).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from speech_xl.checks import whole
from speech_xl.model.adapters.adapter import Adapted, MultiLayerAdapter, check_layers, masked, output_norm


class AcousticAdapter(MultiLayerAdapter):
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

    def forward(self, frames: Tensor, lengths: Tensor, embeddings: Tensor) -> Adapted:
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
