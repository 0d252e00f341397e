"""Adapters: from encoder frames to speech frames in the LLM's width, at a lower rate.

Three kinds, after DIFFA (arXiv 2507.18452), whose dual adapter Speech-XL most likely uses: semantic (convolutions),
acoustic (a small Q-former over several encoder layers) and dual (their sum). All work on local neighbourhoods, so they
treat audio of any length alike, and give the same frames whether a row stands alone or in a padded batch.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from speech_xl.model.clock import SHARE, clock, with_clock


class Adapter(nn.Module):
    """Base type. After `build`, ``forward(frames [B, L, F, D_enc], lengths [B]) -> ([B, N, D], lengths [B])``.

    `stride` encoder frames become one speech frame, a shorter remainder too: ``N = ceil(F / stride)``.
    `layers` names the encoder layers the adapter reads (L of them), -1 being the last.
    """

    stride: int
    layers: tuple[int, ...] = (-1,)

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        """Make the parameters. `scale` is the RMS of the LLM's text embeddings, which speech frames start out with."""
        raise NotImplementedError

    def out_lengths(self, lengths: Tensor) -> Tensor:
        return (lengths + self.stride - 1) // self.stride


def _mask(frames: Tensor, lengths: Tensor) -> Tensor:
    """Zero what lies beyond each row's length, so that padding equals the zero padding of a lone row."""
    inside = torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]
    return frames * inside[..., None]


def _output_norm(width: int, scale: float) -> nn.LayerNorm:
    norm = nn.LayerNorm(width)
    nn.init.constant_(norm.weight, scale)
    return norm


class SemanticAdapter(Adapter):
    """Conv1d(k3) - GELU - Conv1d(k, stride) - GELU - Linear - LayerNorm on the encoder's last layer.

    stride    encoder frames per speech frame: 4 takes Whisper's 50 Hz to 12.5 Hz
    hidden    inner width; None means twice the encoder's
    dropout   on the inner activations, 0..1
    clock     above 0, the last eighth of a frame's dimensions says when it is, so loud beside the RMS of the others
    """

    def __init__(self, stride: int = 4, hidden: int | None = None, dropout: float = 0.0, clock: float = 0.0) -> None:
        super().__init__()
        if stride < 1:
            raise ValueError(f"adapter.stride={stride}: must be at least 1")
        if clock < 0:
            raise ValueError(f"adapter.clock={clock}: must not be negative")
        self.stride, self.hidden, self.rate, self.clock = stride, hidden, dropout, clock

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        hidden = self.hidden or 2 * encoder_width
        self.context = nn.Conv1d(encoder_width, encoder_width, 3, padding=1)
        self.reduce = nn.Conv1d(encoder_width, hidden, self.stride, stride=self.stride)
        self.project = nn.Linear(hidden, llm_width)
        self.dropout = nn.Dropout(self.rate)
        self.norm = _output_norm(llm_width, scale)
        if self.clock and llm_width % (2 * SHARE):
            raise ValueError(f"adapter.clock={self.clock}: takes an LLM whose width is a multiple of {2 * SHARE}")
        self.loudness = self.clock * scale

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = _mask(frames[:, -1], lengths).transpose(1, 2)
        x = _mask(nn.functional.gelu(self.context(x)).transpose(1, 2), lengths)
        x = pad(x, (0, 0, 0, -x.shape[1] % self.stride)).transpose(1, 2)
        x = self.dropout(nn.functional.gelu(self.reduce(x)).transpose(1, 2))
        new = self.out_lengths(lengths)
        out = self.norm(self.project(x))[:, : int(new.max())]
        return (with_clock(out, self.loudness * clock(*out.shape[1:], out.device)) if self.clock else out), new


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
        if segment % stride:
            raise ValueError(f"adapter.segment={segment} must be a multiple of adapter.stride={stride}")
        self.layers, self.stride, self.segment = tuple(layers), stride, segment
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
        self.norm = _output_norm(llm_width, scale)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        batch, _, length, _ = frames.shape
        mixed = torch.einsum("blfd,l->bfd", frames, self.mix.softmax(0).to(frames.dtype))
        x = self.inputs(_mask(mixed, lengths))
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
        return out[:, : int(new.max())], new


class DualAdapter(Adapter):
    """Semantic and acoustic frames at one rate, added: the words and how they are said."""

    def __init__(self, semantic: SemanticAdapter, acoustic: AcousticAdapter) -> None:
        super().__init__()
        if semantic.stride != acoustic.stride:
            raise ValueError(
                f"dual adapter: semantic stride {semantic.stride} and acoustic stride {acoustic.stride} must be equal"
            )
        self.semantic, self.acoustic, self.stride = semantic, acoustic, semantic.stride
        self.layers = (*acoustic.layers, -1)

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        self.semantic.build(encoder_width, llm_width, scale)
        self.acoustic.build(encoder_width, llm_width, scale)
        nn.init.zeros_(self.acoustic.norm.weight)  # begins as the semantic adapter, so stage 2 can add it to stage 1

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        semantic, new = self.semantic(frames, lengths)
        acoustic, _ = self.acoustic(frames[:, :-1], lengths)
        return semantic + acoustic, new
