"""PosteriorAdapter: speech frames made of the LLM's own token embeddings. docs/extensions/ctc.md."""

import torch
from torch import Tensor, nn

from speech_xl.extensions.ctc.token_scores import TokenScores
from speech_xl.model.adapters import Adapted, SemanticAdapter


class PosteriorAdapter(SemanticAdapter):
    """A frame is the mean of the LLM's token embeddings, weighted by how likely each token is spoken there.

    The convolutions of `SemanticAdapter` say where in the LLM's width a frame lies; a softmax over its tokens and a
    blank, whose vector is learned, takes it to what the LLM has read before. Sums of CTC posteriors and embeddings are
    LegoSLM's (Ma et al., arXiv 2505.11352); AlignVLM (arXiv 2502.01341) does so for pictures. Words pass, a voice
    doesn't: `DualAdapter` adds it. The scores are V + 1 numbers a frame, so a large vocabulary costs memory.

    Arguments as in `SemanticAdapter`.
    """

    scores_tokens = True

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        super().build(encoder_width, llm_width, scale)
        self.tokens = TokenScores(llm_width)
        self.silence = nn.Parameter(0.5 * scale * torch.randn(1, llm_width))

    def forward(self, frames: Tensor, lengths: Tensor, embeddings: Tensor) -> Adapted:
        scores = self.tokens(self.neighbourhoods(frames, lengths), embeddings)
        table = torch.cat([embeddings.to(scores.dtype), self.silence.to(scores.dtype)])
        return Adapted(self.norm(scores.softmax(-1) @ table), self.out_lengths(lengths), scores)
