"""Distillation: what is heard compressed should be answered as what is heard whole, by the same weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speech_xl.checks import number


@dataclass
class Distillation:
    """A loss that draws the answers from compressed speech to those from all frames, by the same weights.

    The teacher is the model itself without compression and dropout; it gets no gradient from here. The loss is the
    Kullback-Leibler divergence of the student's distribution from the teacher's at every label token, as KV-Distill
    (arXiv 2503.10337) does for text contexts.

    Args:
        weight: of the loss beside the cross entropy.
        temperature: both distributions are softened by it; the loss is multiplied by its square.
    """

    weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        number("model.distillation.weight", self.weight, above=0)
        number("model.distillation.temperature", self.temperature, above=0)


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) [L] of softmaxes of logits [L, V] at a temperature, times its square (Hinton et al., arXiv
    1503.02531)."""
    wide = torch.promote_types(student.dtype, torch.float32)
    said, wanted = ((logits.to(wide) / temperature).log_softmax(-1) for logits in (student, teacher))
    return temperature**2 * (wanted.exp() * (wanted - said)).sum(-1)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Without gradients and dropout."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)
