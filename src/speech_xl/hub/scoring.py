"""One pass over audio and text: the logits of what follows the audio, and the loss of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers.utils import ModelOutput

from speech_xl import SAMPLE_RATE
from speech_xl.data.partition import window_ends
from speech_xl.model import SpeechLLM
from speech_xl.model.layout import LayoutBatch, interval_frames
from speech_xl.model.prompt import IGNORE
from speech_xl.model.ratios import to_ratio
from speech_xl.model.speech import Ratios, Speech


@dataclass
class SpeechXLOutput(ModelOutput):
    """What `SpeechXL.forward` gives.

    loss            mean cross entropy of the labels, float32; None without labels
    logits          [B, T, vocabulary]: those at place t tell of token t + 1 of input_ids
    kept_kv_tokens  int64 [B], KV tokens that stay of the audio before them
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    kept_kv_tokens: Tensor | None = None


def heard(model: SpeechLLM, audio: Sequence[Tensor], interval_seconds: float) -> Speech:
    """Rows of audio [S] at 16 kHz as speech frames, cut into intervals of this length."""
    adapted = model.adapt(model.encoder.encode(audio))
    ends = [window_ends(0.0, len(row) / SAMPLE_RATE, interval_seconds, SAMPLE_RATE) for row in audio]
    lengths = adapted.lengths.tolist()
    intervals = [interval_frames(row, n, model.frame_rate) for row, n in zip(ends, lengths, strict=True)]
    return Speech(adapted.frames, adapted.lengths, intervals, adapted.scores)


def score(model: SpeechLLM, speech: Speech, ratio: int, ids: Tensor, lengths: Sequence[int]) -> SpeechXLOutput:
    """Logits of what follows the audio, ids [B, T], of which the first ``lengths[row]`` count; no loss yet."""
    ratios: Ratios = speech.throughout(to_ratio(ratio))
    layouts = model.layouts(speech, ratios, lengths)
    batch = LayoutBatch.collate(layouts, model.device)
    mask, memory_keys = model.view(batch)
    hidden = model.decode(model.embed(batch, speech, ids), batch.kind, batch.position, mask, None, memory_keys)
    starts = [len(layout) - length for layout, length in zip(layouts, lengths, strict=True)]
    places = torch.tensor(starts, device=ids.device)[:, None] + torch.arange(ids.shape[1], device=ids.device)
    places = places.clamp(max=hidden.shape[1] - 1)[..., None].expand(-1, -1, hidden.shape[2])
    kept = torch.tensor([layout.kept for layout in layouts], device=ids.device)
    return SpeechXLOutput(logits=model.llm.logits(hidden.gather(1, places)), kept_kv_tokens=kept)


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of labels [B, T], which are input_ids where they count and -100 elsewhere."""
    target = labels[:, 1:]
    where = target != IGNORE
    if not where.any():
        raise ValueError("labels: all are -100; label the answer's tokens, as processor(..., answer=...) does")
    found = logits[:, :-1][where]
    return cross_entropy(found.float() if found.dtype != torch.float64 else found, target[where])
