"""How far two models are apart: the largest difference of their logits on the same random input."""

from __future__ import annotations

import torch

from speech_xl import SAMPLE_RATE
from speech_xl.hub.model import SpeechXL

SECONDS = 1.5  # of noise, for each of two rows


@torch.no_grad()
def largest_difference(one: SpeechXL, other: SpeechXL) -> tuple[float, float]:
    """The largest difference of their logits in one pass over two rows of noise, and the largest logit."""
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, int(SECONDS * SAMPLE_RATE), generator=generator) * 0.1
    text = one.processor(text=[one.transcript.instruction] * 2)
    first, second = (model(audio, text["input_ids"], attention_mask=text["attention_mask"]) for model in (one, other))
    assert first.logits is not None and second.logits is not None
    return float((first.logits - second.logits).abs().max()), float(first.logits.abs().max())
