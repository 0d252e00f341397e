"""SemanticAdapter: two convolutions and a linear layer on the encoder's last layer, for words.

After the semantic half of DIFFA's dual adapter (arXiv 2507.18452), which Speech-XL most likely uses.
"""

from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from speech_xl.checks import number, whole
from speech_xl.model.adapters.adapter import Adapted, Adapter, masked, output_norm, stretches


class SemanticAdapter(Adapter):
    """Conv1d(k3) - GELU - Conv1d(k, stride) - GELU - Linear - LayerNorm on the encoder's last layer.

    stride           encoder frames per speech frame: 4 takes Whisper's 50 Hz to 12.5 Hz
    hidden           inner width; None means twice the encoder's
    dropout          on the inner activations, from 0 to below 1
    channel_dropout  share of the encoder's dimensions that are zero in a row in training, from 0 to below 1, where
                     there is little speech (wav2vec 2.0, arXiv 2006.11477, masks channels when it is fine-tuned)
    time_mask        share of the encoder's frames that are zero in training, from 0 to below 1, in stretches of
                     `STRETCH`: what is spoken there has to follow from the words around (SpecAugment, arXiv 1904.08779)
    """

    def __init__(
        self,
        stride: int = 4,
        hidden: int | None = None,
        dropout: float = 0.0,
        channel_dropout: float = 0.0,
        time_mask: float = 0.0,
    ) -> None:
        super().__init__()
        whole("adapter.stride", stride, least=1)
        if hidden is not None:
            whole("adapter.hidden", hidden, least=1)
        number("adapter.dropout", dropout, least=0, below=1)
        number("adapter.channel_dropout", channel_dropout, least=0, below=1)
        self.time_mask = number("adapter.time_mask", time_mask, least=0, below=1)
        self.stride, self.grain, self.hidden, self.rate = stride, stride, hidden, dropout
        self.channel_dropout = nn.Dropout1d(channel_dropout)

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        hidden = self.hidden or 2 * encoder_width
        self.context = nn.Conv1d(encoder_width, encoder_width, 3, padding=1)
        self.reduce = nn.Conv1d(encoder_width, hidden, self.stride, stride=self.stride)
        self.project = nn.Linear(hidden, llm_width)
        self.dropout = nn.Dropout(self.rate)
        self.norm = output_norm(llm_width, scale)

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

    def forward(self, frames: Tensor, lengths: Tensor, embeddings: Tensor) -> Adapted:
        return Adapted(self.norm(self.neighbourhoods(frames, lengths)), self.out_lengths(lengths))
