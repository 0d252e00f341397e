"""TokenScores: frames scored against the LLM's token embeddings and a blank, and the text that scores spell."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerBase


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


def greedy_text(tokenizer: PreTrainedTokenizerBase, scores: Tensor) -> str:
    """The text of the likeliest CTC path through scores [N, V + 1] of all tokens and a blank, which is last."""
    path = scores.argmax(-1).unique_consecutive()
    return str(tokenizer.decode(path[path != scores.shape[1] - 1].tolist())).strip()
