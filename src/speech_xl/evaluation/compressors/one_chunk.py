"""A session, and a question if need be, read by the LLM in one chunk: what goes in, before anything is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from speech_xl.model import SpeechLLM
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.positions import Kind
from speech_xl.model.speech import Speech


class OneChunk(NamedTuple):
    """The prompt's prefix, all frames of one session and perhaps a question.

    embeds          [1, T, D]
    kind, place     int64 [1, T]: of none of these tokens the KV is pruned by itself; positions 0, 1, ...
    prefix, frames  how many of the T come before the audio, and how many are audio
    """

    embeds: Tensor
    kind: Tensor
    place: Tensor
    prefix: int
    frames: int

    @classmethod
    def of(cls, model: SpeechLLM, speech: Speech, question: Sequence[int] = ()) -> OneChunk:
        """The first row of `speech`; question: token ids behind it."""
        prefix, frames = model.llm.prompt.prefix, int(speech.lengths[0])
        before, after = (
            model.llm.embedding(torch.tensor([list(ids)], dtype=torch.long, device=model.device))
            for ids in (prefix, question)
        )
        embeds = torch.cat([before, speech.frames[:1, :frames].to(before.dtype), after], dim=1)
        kind = torch.full(embeds.shape[:2], int(Kind.UNCOMPRESSED), device=model.device)
        place = torch.arange(kind.shape[1], device=model.device)[None]
        return cls(embeds, kind, place, len(prefix), frames)

    def __len__(self) -> int:
        return self.kind.shape[1]

    def read(self, model: SpeechLLM, memory: KVMemory) -> Tensor:
        """Run it all over an empty memory: the last layer's hidden states [1, T, D]."""
        return model.decode(self.embeds, self.kind, self.place, memory.step_mask(self.kind), memory)
