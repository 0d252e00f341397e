"""Adapters: from encoder frames to speech frames in the LLM's width, at a lower rate. For words; voice.py: voices.

`SemanticAdapter` (convolutions) is after DIFFA (arXiv 2507.18452), whose dual adapter Speech-XL most likely uses;
`PosteriorAdapter`, which speaks in the LLM's own token embeddings, is ours. All adapters work on local neighbourhoods,
so they treat audio of any length alike, and give the same frames whether a row stands alone or in a padded batch.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, max_pool1d, normalize, pad

from speech_xl.checks import number, whole
from speech_xl.extensions.time_code import SHARE, clock, with_clock

STRETCH = 10  # encoder frames that `time_mask` hides at a time: 0.2 s of Whisper's


class Adapted(NamedTuple):
    """Speech frames [B, N, D], their lengths int64 [B], and, from an adapter that `scores_tokens`, the logits
    [B, N, V + 1] of the LLM's tokens and of none (a blank, last) in each frame."""

    frames: Tensor
    lengths: Tensor
    scores: Tensor | None = None


class Adapter(nn.Module):
    """Base type. After `build`, ``forward(frames [B, L, F, D_enc], lengths [B], embeddings [V, D], first) -> Adapted``.

    `embeddings` is the LLM's table of token embeddings, of its letters alone where the adapter has `letters`
    (`Spelling`); only an adapter that `scores_tokens` reads it. `first` is the number of the first speech frame in the
    audio, or int64 [B] of each row's: 0 unless a piece from amid it is given. A piece gives the frames of the whole
    where it begins at a multiple of `grain` encoder frames and another `grain` lies before and after them. `stride`
    encoder frames become one speech frame, a shorter remainder too: ``N = ceil(F / stride)``.
    `layers` names the encoder layers the adapter reads (L of them), -1 being the last. The last `clocked` dimensions of
    its frames say when they are and nothing else.
    """

    stride: int
    grain: int
    layers: tuple[int, ...] = (-1,)
    scores_tokens: bool = False
    letters: bool = False
    clocked: int = 0

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        """Make the parameters. `scale` is the RMS of the LLM's text embeddings, which speech frames start out with."""
        raise NotImplementedError

    def out_lengths(self, lengths: Tensor) -> Tensor:
        return (lengths + self.stride - 1) // self.stride


def inside(frames: Tensor, lengths: Tensor) -> Tensor:
    """Which of the frames [B, N, D] lie within their row's length: bool [B, N]."""
    return torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]


def masked(frames: Tensor, lengths: Tensor) -> Tensor:
    """Zero what lies beyond each row's length, so that padding equals the zero padding of a lone row."""
    return frames * inside(frames, lengths)[..., None]


def stretches(shape: tuple[int, ...], share: float, device: torch.device) -> Tensor:
    """About so large a share of the places [B, F], drawn in stretches of `STRETCH` that may overlap: bool."""
    starts = torch.rand(shape, device=device) < 1 - (1 - share) ** (1 / STRETCH)
    return max_pool1d(pad(starts.float(), (STRETCH - 1, 0)), STRETCH, stride=1).bool()


def output_norm(width: int, scale: float) -> nn.LayerNorm:
    """What every adapter ends with: frames as loud as text, of RMS `scale`."""
    norm = nn.LayerNorm(width)
    nn.init.constant_(norm.weight, scale)
    return norm


class SemanticAdapter(Adapter):
    """Conv1d(k3) - GELU - Conv1d(k, stride) - GELU - Linear - LayerNorm on the encoder's last layer.

    stride    encoder frames per speech frame: 4 takes Whisper's 50 Hz to 12.5 Hz
    hidden    inner width; None means twice the encoder's
    dropout   on the inner activations, from 0 to below 1
    clock     above 0, the last eighth of a frame's dimensions says when it is, so loud beside the RMS of the others
    channel_dropout  share of the encoder's dimensions that are zero in a row in training, from 0 to below 1, where
              there is little speech (wav2vec 2.0, arXiv 2006.11477, masks channels when it is fine-tuned)
    time_mask share of the encoder's frames that aren't heard in training, 0..1, in stretches of `STRETCH`: what is said
              there has to be told from the words around (SpecAugment, arXiv 1904.08779)
    """

    text_scale: Tensor

    def __init__(
        self,
        stride: int = 4,
        hidden: int | None = None,
        dropout: float = 0.0,
        clock: float = 0.0,
        channel_dropout: float = 0.0,
        time_mask: float = 0.0,
    ) -> None:
        super().__init__()
        whole("adapter.stride", stride, least=1)
        if hidden is not None:
            whole("adapter.hidden", hidden, least=1)
        number("adapter.dropout", dropout, least=0, below=1)
        number("adapter.clock", clock, least=0)
        number("adapter.channel_dropout", channel_dropout, least=0, below=1)
        self.time_mask = number("adapter.time_mask", time_mask, least=0, below=1)
        self.stride, self.grain, self.hidden, self.rate, self.clock = stride, stride, hidden, dropout, clock
        self.channel_dropout = nn.Dropout1d(channel_dropout)

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        hidden = self.hidden or 2 * encoder_width
        self.context = nn.Conv1d(encoder_width, encoder_width, 3, padding=1)
        self.reduce = nn.Conv1d(encoder_width, hidden, self.stride, stride=self.stride)
        self.project = nn.Linear(hidden, llm_width)
        self.dropout = nn.Dropout(self.rate)
        self.norm = output_norm(llm_width, scale)
        if self.clock and llm_width % (2 * SHARE):
            raise ValueError(f"adapter.clock={self.clock}: takes an LLM whose width is a multiple of {2 * SHARE}")
        # Kept with the weights: an LLM that was trained on, or is built without weights, has another scale.
        self.register_buffer("text_scale", torch.tensor(scale))
        self.clocked = llm_width // SHARE if self.clock else 0

    def neighbourhoods(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """What is heard around each speech frame, in the LLM's width: [B, N, D]."""
        x = masked(frames[:, -1], lengths)
        if self.training and self.time_mask:
            x = x * ~stretches(x.shape[:2], self.time_mask, x.device)[..., None]
        x = self.channel_dropout(x.transpose(1, 2))
        x = masked(gelu(self.context(x)).transpose(1, 2), lengths)
        x = pad(x, (0, 0, 0, -x.shape[1] % self.stride)).transpose(1, 2)
        x = self.dropout(gelu(self.reduce(x)).transpose(1, 2))
        return self.project(x)[:, : int(self.out_lengths(lengths).max())]

    def timed(self, frames: Tensor, first: int | Tensor) -> Tensor:
        """Frames [B, N, D] from number `first` on with the clock in them, if there is one."""
        if not self.clock:
            return frames
        numbers = torch.as_tensor(first, device=frames.device).reshape(-1, 1)  # of the first frames: [1 or B, 1]
        codes = clock(int(numbers.max()) + frames.shape[1], frames.shape[2], frames.device)
        return with_clock(
            frames, self.clock * self.text_scale * codes[numbers + torch.arange(frames.shape[1], device=frames.device)]
        )

    def forward(self, frames: Tensor, lengths: Tensor, embeddings: Tensor, first: int | Tensor = 0) -> Adapted:
        frames = self.norm(self.neighbourhoods(frames, lengths))
        return Adapted(self.timed(frames, first), self.out_lengths(lengths))


class TokenScores(nn.Module):
    """Scores frames [B, N, D] against embeddings [V, D] and a learned blank: logits [B, N, V + 1], scaled cosines."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blank = nn.Parameter(torch.randn(1, width) * width**-0.5)
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def forward(self, frames: Tensor, embeddings: Tensor) -> Tensor:
        exact = torch.promote_types(frames.dtype, torch.float32)
        classes = normalize(torch.cat([embeddings.to(exact), self.blank.to(exact)]), dim=-1)
        return self.log_scale.exp() * normalize(frames.to(exact), dim=-1) @ classes.T


class PosteriorAdapter(SemanticAdapter):
    """A frame is the mean of the LLM's token embeddings, weighted by how likely each token is spoken there.

    The convolutions of `SemanticAdapter` say where in the LLM's width a frame lies; a softmax over its tokens and a
    blank, whose vector is learned, takes it to what the LLM has read before. Sums of CTC posteriors and embeddings are
    LegoSLM's (Ma et al., arXiv 2505.11352); AlignVLM (arXiv 2502.01341) does so for pictures. Words pass, a voice
    doesn't: `DualAdapter` adds it. The scores are V + 1 numbers a frame, so a large vocabulary costs memory.

    letters   score the LLM's single-letter tokens alone: for a large vocabulary, most of whose tokens little speech
              never says. Any word can be spelled, and the LLM reads it letter by letter. About 15 letters are said a
              second, so frames should come faster than that

    Other arguments as in `SemanticAdapter`.
    """

    scores_tokens = True

    def __init__(self, *args: Any, letters: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.letters = letters

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        super().build(encoder_width, llm_width, scale)
        self.tokens = TokenScores(llm_width)
        self.silence = nn.Parameter(0.5 * scale * torch.randn(1, llm_width))

    def forward(self, frames: Tensor, lengths: Tensor, embeddings: Tensor, first: int | Tensor = 0) -> Adapted:
        scores = self.tokens(self.neighbourhoods(frames, lengths), embeddings)
        table = torch.cat([embeddings.to(scores.dtype), self.silence.to(scores.dtype)])
        spoken = self.norm(scores.softmax(-1) @ table)
        return Adapted(self.timed(spoken, first), self.out_lengths(lengths), scores)
