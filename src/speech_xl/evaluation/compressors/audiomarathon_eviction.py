"""KV eviction as AudioMarathon runs kvpress (arXiv 2510.07293): a share of the whole prompt's KV goes, text included.

The rules are those of the AudioMarathon repository's src/Qwen_2.5_Omni/qwen_kvpress, commit c8f49f3. The LLM reads the
whole prompt: what precedes the audio, the audio, and the question. Each layer, once it has attended, keeps the
int(T (1 - share)) best of its T tokens, per head, the question's among them. The answer's first token comes from what
the prompt's last token has read; the others see what was kept. Nothing is dropped while answers are generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from speech_xl.checks import number
from speech_xl.evaluation.compressors.compressor import Compressor
from speech_xl.evaluation.compressors.eviction import evicting
from speech_xl.evaluation.compressors.one_chunk import OneChunk
from speech_xl.model import SpeechLLM
from speech_xl.model.context import check_question, warn_beyond_context
from speech_xl.model.generation import answers_of
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.layout import View
from speech_xl.model.positions import Kind
from speech_xl.model.speech import GeneratedText, Speech

PROMPT_PRESSES = {"Knorm": "KnormPress", "Random": "RandomPress", "TOVA": "TOVAPress", "SnapKV": "SnapKVPress"}
SNAP_WINDOW = 64  # tokens that SnapKV looks from, at the prompt's end; its pooling kernel has 5, kvpress's default


class PromptMemory(KVMemory):
    """What is kept of a prompt that ends in a question, and what the answer begins from.

    question  ids of its tokens
    logits    float32 [1, V], of the answer's first token
    stays     places of the prompt's tokens that each layer keeps: int64 [1, heads, K], by layer
    audio     the audio's places in the prompt
    """

    question: list[int]
    logits: Tensor
    stays: dict[int, Tensor]
    audio: range

    def audio_bytes(self, prefix: int) -> list[int]:
        """Bytes of keys and values of the audio alone, counted over every head; the text's aren't among them."""
        total = 0
        for number_of, places in self.stays.items():
            layer: Any = self.cache.layers[number_of]
            tokens = int(((places >= self.audio.start) & (places < self.audio.stop)).sum())
            total += sum(tokens * tensor.shape[3] * tensor.element_size() for tensor in (layer.keys, layer.values))
        return [total]


class PromptEviction(Compressor):
    """One of `PROMPT_PRESSES` of kvpress, a share of the whole prompt removed.

    Random draws anew in each layer, always the same for the same `seed` and prompt (the repository's have no seed).

    Raises ValueError for another press or a share that isn't 0 <= share < 1, ImportError with the remedy where kvpress
    isn't installed; `prefill`, ValueError for SnapKV and a prompt that isn't longer than its window.
    """

    streams = False
    needs_question = True
    compresses = False  # by a ratio: the share is fixed

    def __init__(self, press: str, share: float, seed: int = 0) -> None:
        if press not in PROMPT_PRESSES:
            raise ValueError(f"press={press!r}: choose one of {', '.join(PROMPT_PRESSES)}")
        self.share, self.seed = number("share", share, least=0, below=1), seed
        self.name = f"AudioMarathon KV {press} {share:g}"
        try:
            make = getattr(import_module("kvpress"), PROMPT_PRESSES[press])
        except ImportError as error:
            raise ImportError(f"{self.name} comes from kvpress: pip install -e '.[baselines]'") from error
        self.make = partial(make, compression_ratio=share)
        self.longer_than = SNAP_WINDOW if press == "SnapKV" else 0

    def prefill(self, model: SpeechLLM, speech: Speech, ratio: int, instruction: str = "") -> PromptMemory:
        question = model.llm.prompt.question(instruction)
        chunk = OneChunk.of(model, speech, question)
        check_question(model.llm, len(question), chunk.prefix + chunk.frames)
        tokens = len(chunk)
        if tokens <= self.longer_than:
            raise ValueError(
                f"{self.name}: looks from the last {self.longer_than} tokens, and the prompt has {tokens}; choose "
                "another compressor, or longer audio"
            )
        memory = PromptMemory(model.llm.model.config.num_hidden_layers, 1, model.device)
        kept = int(tokens * (1 - self.share))
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.random.fork_rng(devices), evicting(model, memory, self.make(), kept, tokens) as stays:
            torch.manual_seed(self.seed)
            hidden = chunk.read(model, memory)
        memory.stays, memory.question = stays, question
        memory.audio = range(chunk.prefix, chunk.prefix + chunk.frames)
        memory.logits = model.llm.logits(hidden[:, -1]).float()
        memory.valid = torch.ones(1, kept, dtype=torch.bool, device=model.device)
        memory.position, memory.peak = torch.tensor([tokens], device=model.device), tokens
        return memory

    @torch.no_grad()
    def generate(
        self,
        model: SpeechLLM,
        memory: KVMemory,
        instructions: Sequence[str],
        limits: Sequence[int],
        rules: Sequence[LogitsProcessor] = (),
        rows: Sequence[int] | None = None,
        views: Sequence[View | None] = (),
    ) -> list[GeneratedText]:
        """The greedy answer to the question that the memory has read. Raises ValueError for another one."""
        asked = [model.llm.prompt.question(one) for one in instructions]
        if not isinstance(memory, PromptMemory) or asked != [memory.question]:
            raise ValueError(f"{self.name}: answers the one question that its memory was made with; prefill anew")
        end, fork = model.llm.prompt.end_id, memory.select([0])
        ids: Any = torch.tensor(asked, device=model.device)
        logits, first = memory.logits, ids.shape[1]
        kind = torch.full((1, 1), int(Kind.SUFFIX), device=model.device)
        for _ in range(limits[0]):
            for rule in rules:
                logits = rule(ids, logits)
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
            if int(ids[0, -1]) == end or ids.shape[1] - first == limits[0]:
                break
            embeds = model.llm.embedding(ids[:, -1:])
            hidden = model.decode(embeds, kind, fork.position[:, None], fork.step_mask(kind), fork)
            fork.valid = torch.nn.functional.pad(fork.valid, (0, 1), value=True)
            fork.position += 1
            logits = model.llm.logits(hidden[:, -1]).float()
        warn_beyond_context(model, int(fork.position.max()) + 1, model.positions)
        return answers_of(model, ids[:, first:].tolist(), limits, rules)
