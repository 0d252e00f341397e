"""The loss of a training pass: the cross entropy of the answers' tokens, from hidden states of whole sequences."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from speech_xl.model.layout import Layout
from speech_xl.model.llm import LLM
from speech_xl.model.prompt import IGNORE, Suffix
from speech_xl.model.speech import Labels, OnePass


def answer_loss(
    llm: LLM,
    hidden: Tensor,
    kind: Tensor,
    layouts: Sequence[Layout],
    suffixes: Sequence[Suffix],
    weights: Sequence[float] | None,
    keep_logits: bool = False,
) -> OnePass:
    """Of hidden states [B, T, D] of tokens of these kinds [B, T]; each row's layout ends with its suffix's tokens.

    weights: what a label token of each row counts, 1 where it is left out.
    """
    labels = torch.full_like(kind, IGNORE)
    for row, (layout, suffix) in enumerate(zip(layouts, suffixes, strict=True)):
        first = len(layout) - len(suffix.ids)
        labels[row, first : len(layout)] = torch.tensor(suffix.labels, device=labels.device)
    target = labels[:, 1:]  # position t predicts token t + 1
    where = target != IGNORE
    logits = llm.logits(hidden[:, :-1][where])
    losses = cross_entropy(logits.float() if logits.dtype != torch.float64 else logits, target[where], reduction="none")
    weight = torch.tensor(weights or [1.0] * len(layouts), device=labels.device)[:, None].expand_as(target)[where]
    return OnePass(
        loss_sum=(losses * weight).sum(),
        label_weight=float(weight.sum()),
        label_tokens=int(where.sum()),
        tokens=sum(len(layout) for layout in layouts),
        kept_kv_tokens=sum(layout.kept for layout in layouts),
        labels=Labels(logits, weight) if keep_logits else None,
    )
