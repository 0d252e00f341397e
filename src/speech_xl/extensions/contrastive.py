"""ContrastiveAnswers: an auxiliary loss for questions about a whole session. docs/extensions/contrastive.md.

What CTC is to transcripts. An LLM that answers by heart gives an adapter hardly any gradient, and an adapter that says
nothing gives the LLM nothing to attend to. This loss trains the adapter first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from speech_xl.checks import number
from speech_xl.data.batch import SpeechBatch
from speech_xl.model import SpeechLLM
from speech_xl.model.adapters.adapter import masked
from speech_xl.model.speech import Speech
from speech_xl.phases.extension import AuxiliaryLoss, PhaseExtension

TEMPERATURE = 0.1  # of the cosines


class ContrastiveAnswers(PhaseExtension):
    """The mean of a session's frames lies nearer to the embedding of its answer than to those of other answers.

    For questions about a whole session with few answers, such as who speaks and how. What was said at one place no mean
    can tell.

    weight  of the loss, a mean over answers
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = number("ContrastiveAnswers.weight", weight, least=0)

    def loss(self, backbone: SpeechLLM, batch: SpeechBatch, speech: Speech, step: int) -> AuxiliaryLoss:
        asked = [
            (row, t.instruction, t.answer) for row, turns in enumerate(batch.turns) for t in turns if t.task == "qa"
        ]
        found = contrast(mean_frames(speech.frames, speech.lengths), asked, lambda text: embed(backbone, text))
        logged = {"contrastive": found.loss.detach(), "contrastive_right": found.right / max(1, found.answers)}
        return AuxiliaryLoss(self.weight * found.loss, logged if found.answers else {}, max(1, found.answers))


class Contrast(NamedTuple):
    """Mean loss (a scalar), and of how many answers how many were the likeliest."""

    loss: Tensor
    right: int
    answers: int


def embed(backbone: SpeechLLM, text: str) -> Tensor:
    """The mean of a text's token embeddings [D]."""
    ids = backbone.llm.prompt.text_ids(text)
    return backbone.llm.embedding.weight[torch.tensor(ids, device=backbone.device)].mean(0)


def mean_frames(frames: Tensor, lengths: Tensor) -> Tensor:
    """Each row's mean frame [B, D] of frames [B, N, D] with lengths int64 [B]."""
    return masked(frames, lengths).sum(1) / lengths[:, None]


def contrast(means: Tensor, asked: Sequence[tuple[int, str, str]], embed: Callable[[str], Tensor]) -> Contrast:
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
        return Contrast(0.0 * means.sum(), 0, 0)
    per_answer = torch.cat(losses)
    return Contrast(per_answer.mean(), right, len(per_answer))
