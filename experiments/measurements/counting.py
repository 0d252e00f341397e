"""FLOPs and KV bytes of listening, counted over models' real sizes on meta tensors, for efficiency.py."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, PreTrainedConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from experiments.measurements.sizes import smollm2_135m, speech_llm_of
from speech_xl.model import SSTs
from speech_xl.model.attention import NAME
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.llm import cache_argument

RATE, OMNI_RATE = 12.5, 25.0  # speech frames a second in the LLM
INTERVAL = 64  # frames: 5.12 s, a multiple of every ratio
TEXT = 32  # tokens of prompt and question
ANSWER = 256  # tokens of an answer
BYTES = 2  # bfloat16


class Counted:
    """A decoder on meta tensors, and what one call of it costs."""

    def __init__(self, config: PreTrainedConfig) -> None:
        with torch.device("meta"):
            self.model = AutoModelForCausalLM.from_config(config, attn_implementation=NAME)
        self.config = config

    @property
    def decoder(self) -> nn.Module:
        return self.model.get_decoder()

    @property
    def head(self) -> int:
        return getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads

    def kv_bytes(self) -> int:
        """Of one token, bfloat16."""
        return 2 * BYTES * self.config.num_hidden_layers * self.config.num_key_value_heads * self.head

    @torch.no_grad()
    def flops(self, tokens: int, held: int, ssts: int = 0) -> int:
        """Of `tokens` tokens, `ssts` of them SSTs, behind a cache that holds `held`; without the LM head."""
        memory = KVMemory(self.config.num_hidden_layers, 1, torch.device("meta"))
        empty = torch.empty(1, self.config.num_key_value_heads, held, self.head, device="meta")
        for number in range(self.config.num_hidden_layers):
            memory.cache.update(empty, empty, number)
        with FlopCounterMode(display=False) as counter:
            self.decoder(
                inputs_embeds=torch.empty(1, tokens, self.config.hidden_size, device="meta"),
                attention_mask=torch.empty(1, 1, tokens, held + tokens, dtype=torch.bool, device="meta"),
                position_ids=torch.empty(1, tokens, dtype=torch.long, device="meta"),
                use_cache=True,
                **{cache_argument(self.decoder): memory.cache},
            )
        return counter.get_total_flops() + self.sst_flops(ssts)

    def sst_flops(self, ssts: int) -> int:
        """What the SSTs' own projections add: q, k and v of each in every layer, and no q in the last."""
        queries = self.config.num_attention_heads * self.head
        keys = self.config.num_key_value_heads * self.head
        layers = self.config.num_hidden_layers
        return 2 * ssts * self.config.hidden_size * ((layers - 1) * queries + 2 * layers * keys)

    @cache  # noqa: B019  (lives as long as the benchmark)
    def line(self, tokens: int, ssts: int = 0) -> tuple[float, float]:
        """FLOPs behind a cache of M tokens are a + b M; (a, b) from two counts, and a third must lie on it."""
        base, far = self.flops(tokens, 0, ssts), self.flops(tokens, 4000, ssts)
        slope = (far - base) / 4000
        assert abs(self.flops(tokens, 1000, ssts) - (base + 1000 * slope)) < 1e-6 * far
        return base, slope

    def decode(self, held: int) -> float:
        """FLOPs of ANSWER tokens, one at a time, behind a cache of `held`, LM head included."""
        base, slope = self.line(1)
        head = 2 * self.config.hidden_size * self.config.vocab_size
        return sum(base + slope * (held + step) + head for step in range(ANSWER))


@dataclass
class Cost:
    """Of one way to listen to one length: FLOPs of reading audio and text, of an answer, and KV bytes."""

    prefill: float
    decode: float
    kept_bytes: int
    peak_bytes: int


def with_ssts(llm: Counted, seconds: float, ratio: int, encoder: float) -> Cost:
    """Interval by interval; `encoder` is what a second of audio costs before the LLM, in FLOPs."""
    frames = round(seconds * RATE)
    held = peak = TEXT
    total = sum(llm.line(TEXT)) + encoder * seconds
    for start in range(0, frames, INTERVAL):
        length = min(INTERVAL, frames - start)
        ssts = 0 if ratio == 1 else -(-length // ratio)
        base, slope = llm.line(length + ssts, ssts)
        total += base + slope * held
        peak = max(peak, held + length + ssts)
        held += ssts or length
    return Cost(total, llm.decode(held), held * llm.kv_bytes(), peak * llm.kv_bytes())


def full_cache(llm: Counted, seconds: float, encoder: float) -> Cost:
    """All frames at OMNI_RATE in one prefill."""
    tokens = round(seconds * OMNI_RATE) + TEXT
    whole = llm.flops(tokens, 0)
    return Cost(
        whole + encoder * seconds, llm.decode(tokens), tokens * llm.kv_bytes(), (tokens + ANSWER) * llm.kv_bytes()
    )


@torch.no_grad()
def whisper_flops(config: Any) -> float:
    """FLOPs a second of a Whisper encoder: a window of 30 s on meta tensors."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        WhisperEncoder(config).eval()(torch.empty(1, config.num_mel_bins, 3000))
    return counter.get_total_flops() / 30


def omni_tower_flops(
    layers: int = 32, width: int = 1280, inner: int = 5120, chunk: int = 100, mels: int = 128
) -> float:
    """FLOPs a second of Qwen2.5-Omni's audio tower, by its published sizes: 50 tokens a second after two convolutions,
    attention within chunks of 100, then halved and projected to 3,584."""
    tokens = 50.0
    convolutions = 2 * 3 * width * (mels * 100 + width * tokens)
    linear = 2 * tokens * layers * (4 * width**2 + 2 * width * inner)
    attention = 4 * tokens * layers * chunk * width
    return convolutions + linear + attention + 2 * 25 * width * 3584


@torch.no_grad()
def counts_agree() -> float:
    """Counted on meta tensors over counted while a small model really listens; 1 where they agree."""
    model = speech_llm_of(smollm2_135m(3, 2048), torch.device("cpu"), "float32", SSTs("full"))
    memory, expected = model.start(1), 0.0
    base, slope = Counted(model.llm.model.config).line(INTERVAL + INTERVAL // 4, INTERVAL // 4)
    # The counter knows the plain form of attention, not the fused one of CPUs.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        for _ in range(3):
            expected += base + slope * int(memory.kept)
            model.compress_interval(memory, torch.randn(1, INTERVAL, model.llm.width), [INTERVAL], [4])
    return expected / counter.get_total_flops()
