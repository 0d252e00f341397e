"""What a model gives: its tensors, logits and answers, to be held against another's."""

from typing import Any

import torch
from torch import Tensor

from experiments.random_models import audio
from speech_xl import SpeechXL

QUESTIONS = ("how many", "who is it?")


@torch.no_grad()
def given_by(model: SpeechXL) -> tuple[dict[str, Tensor], list[str]]:
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    tensors["logits"] = logits(model)
    return tensors, answers(model)


@torch.no_grad()
def logits(model: SpeechXL, ratio: int = 2) -> Tensor:
    inputs: Any = model.processor(audio=[sound(0), sound(1)], text=list(QUESTIONS), sampling_rate=16_000, ratio=ratio)
    found = model(**inputs).logits
    assert found is not None
    return found


def answers(model: SpeechXL, ratio: int = 2) -> list[str]:
    memory = model.listen(sound(0), rate=16_000, ratio=ratio)
    return [memory.ask(question, 12).text for question in QUESTIONS]


def sound(seed: int) -> Tensor:
    return audio(1.3 + seed / 2, seed=seed)
