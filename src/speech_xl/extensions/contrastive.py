"""Answers that frames say by themselves: a loss that shows an adapter what is asked before the LLM knows how to look.

What CTC is to transcripts. An LLM that answers by heart gives an adapter no gradient to speak of, and an adapter that
says nothing gives the LLM nothing to look at; this leads the adapter out first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from speech_xl.model.adapter import masked

TEMPERATURE = 0.1  # of the cosines


class Heard(NamedTuple):
    """Mean loss (a scalar), and of how many answers how many were the likeliest."""

    loss: Tensor
    right: int
    answers: int


def mean_frames(frames: Tensor, lengths: Tensor) -> Tensor:
    """Each row's mean frame [B, D] of frames [B, N, D] with lengths int64 [B]."""
    return masked(frames, lengths).sum(1) / lengths[:, None]


def heard_answers(means: Tensor, asked: Sequence[tuple[int, str, str]], embed: Callable[[str], Tensor]) -> Heard:
    """Cross entropy of each answer among all answers to that question in the batch, by the cosine of the row's mean
    frame and the answer's embedding, as it differs from the others'.

    means: [B, D]; asked: (row, question, answer); embed: an answer's embedding [D]. A question with one answer in the
    batch has nothing to tell apart and is left out; the loss is 0 where none is left.
    """
    questions: dict[str, list[tuple[int, str]]] = {}
    for row, question, answer in asked:
        questions.setdefault(question, []).append((row, answer))
    losses, right = [], 0
    for rows in questions.values():
        answers = sorted({answer for _, answer in rows})
        if len(answers) < 2:
            continue
        table = torch.stack([embed(answer) for answer in answers]).detach().float()
        unit_means = normalize(means[[row for row, _ in rows]].float(), dim=-1)
        logits = unit_means @ normalize(table - table.mean(0), dim=-1).T / TEMPERATURE
        truth = torch.tensor([answers.index(answer) for _, answer in rows], device=logits.device)
        losses.append(cross_entropy(logits, truth, reduction="none"))
        right += int((logits.argmax(1) == truth).sum())
    if not losses:
        return Heard(0.0 * means.sum(), 0, 0)
    per_answer = torch.cat(losses)
    return Heard(per_answer.mean(), right, len(per_answer))
