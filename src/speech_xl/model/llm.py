"""Any Hugging Face causal language model, pretrained or from a config, with LoRA where asked for."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from typing import Any, Literal, cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PretrainedConfig

from speech_xl.checks import number, whole
from speech_xl.model.attention import NAME as ATTENTION
from speech_xl.model.attention import RopeShift
from speech_xl.model.pretrained import REPORTED, PretrainedError, check_complete, drawing, existing, loading
from speech_xl.model.prompt import Prompt
from speech_xl.storage.hub_folder import MODEL_TYPE

CHANGING_ROPE = {"dynamic", "longrope"}  # whose angles depend on how long a sequence has become


@dataclass
class Lora:
    """LoRA through peft.

    r               rank
    alpha           scale: the delta is multiplied by alpha / r
    dropout         on the delta's input, 0..1
    target_modules  names of the linear layers that get one
    """

    r: int = 32
    alpha: int = 64
    dropout: float = 0.0
    target_modules: list[str] = field(default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj"])

    def __post_init__(self) -> None:
        whole("llm.lora.r", self.r, least=1)
        number("llm.lora.alpha", self.alpha, above=0)
        number("llm.lora.dropout", self.dropout, least=0, below=1)
        if not self.target_modules:
            raise ValueError("llm.lora.target_modules: got []; name layers, such as [q_proj, v_proj]")


def cache_argument(decoder: nn.Module) -> str:
    """What a decoder calls its KV cache: `cache` in newer releases of transformers, `past_key_values` before."""
    return "cache" if "cache" in signature(decoder.forward).parameters else "past_key_values"


def rope_types(config: PretrainedConfig) -> set[str]:
    """The kinds of RoPE a config names, those of single layer types included."""
    parameters = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    each = [parameters, *(value for value in parameters.values() if isinstance(value, dict))]
    return {str(kind) for one in each if (kind := one.get("rope_type", one.get("type")))}


class LLM(nn.Module):
    """A decoder by its Hugging Face name or folder.

    name                    hub name (Qwen/Qwen2.5-7B-Instruct) or a folder with config.json and a tokenizer
    pretrained              load weights; False starts from the config with random weights
    dtype                   what the weights are kept in: float32 or bfloat16
    lora                    low-rank deltas to train in place of the weights; null for none
    gradient_checkpointing  trade time for memory in training
    attention               of one-pass training: ``flex`` (FlexAttention), ``sdpa`` (query chunks, each with what it
                            may see), or ``auto``: flex on a GPU, sdpa elsewhere. Flex has no backward on a CPU
    trust_remote_code       run code that comes with the model; off unless you set it
    revision                branch, tag or commit on the hub; None: the newest
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = True,
        dtype: str = "float32",
        lora: Lora | None = None,
        gradient_checkpointing: bool = False,
        attention: Literal["auto", "flex", "sdpa"] = "auto",
        trust_remote_code: bool = False,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        if dtype not in ("float32", "bfloat16", "float64"):
            raise ValueError(f"llm.dtype={dtype!r}: choose float32 or bfloat16")
        self.loaded = ""  # which of its tensors are pretrained, in one line
        self.name, self.pretrained, self.dtype, self.lora = name, pretrained, getattr(torch, dtype), lora
        if attention not in ("auto", "flex", "sdpa"):
            raise ValueError(f"llm.attention={attention!r}: choose auto, flex or sdpa")
        self.attention = attention
        self.gradient_checkpointing, self.trust_remote_code = gradient_checkpointing, trust_remote_code
        self.revision = revision

    def build(self) -> None:
        name = existing(self.name, "llm")
        options: dict[str, Any] = {"trust_remote_code": self.trust_remote_code}
        options |= {"revision": self.revision} if self.revision else {}
        shape = {"dtype": self.dtype, "attn_implementation": ATTENTION}
        with loading("llm", self.name):
            config = AutoConfig.from_pretrained(name, **options)
            drawn = nullcontext()
            if config.model_type == MODEL_TYPE:  # its weights come from elsewhere: from the file of the whole model
                config, drawn = config.text_config, drawing()
            if getattr(config, "is_encoder_decoder", False):
                raise PretrainedError(
                    f"llm.name={self.name}: {type(config).__name__} is of an encoder with a decoder; name a causal "
                    "language model, such as Qwen/Qwen2.5-0.5B-Instruct"
                )
            if self.pretrained:
                made: Any = AutoModelForCausalLM.from_pretrained(name, **shape, **REPORTED, **options)
                self.model, report = made
                self.loaded = check_complete("llm", self.name, self.model, self.model, report)
            else:
                with drawn:
                    self.model = AutoModelForCausalLM.from_config(config, **shape, **options)
                self.model.tie_weights()  # which drawing them does, or leaving it
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
            check_vocabulary(self.name, tokenizer, self.embedding.num_embeddings)
        if changing := rope_types(self.model.config) & CHANGING_ROPE:
            raise ValueError(
                f"llm.name={self.name}: {changing.pop()} RoPE changes old keys as audio grows; pruned KV can't follow"
            )
        # Answers are greedy: penalties and the like that come with a model would change them unseen.
        self.model.generation_config = GenerationConfig()
        self.prompt = Prompt(tokenizer)
        if self.lora is not None:
            spec = LoraConfig(
                r=self.lora.r,
                lora_alpha=self.lora.alpha,
                lora_dropout=self.lora.dropout,
                target_modules=list(self.lora.target_modules),
            )
            inject_adapter_in_model(spec, self.model)
            self._keep_lora_float32()
        if self.gradient_checkpointing:
            # Non-reentrant: the decoder's inputs need no gradient of their own, and hooks run again on recompute.
            self.model.gradient_checkpointing_enable({"use_reentrant": False})

    def _keep_lora_float32(self) -> None:
        """Deltas are float32 at least, whatever the LLM's dtype: in bfloat16 the steps of usual learning rates round to
        nothing. peft casts a delta's input to the delta's dtype, and its output back to the LLM's."""
        deltas = [parameter for name, parameter in self.model.named_parameters() if "lora_" in name]
        for parameter in deltas:
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
        if self.loaded:
            self.loaded += f"; {len(deltas)} new of LoRA"

    @property
    def decoder(self) -> nn.Module:
        return self.model.get_decoder()

    @property
    def embedding(self) -> nn.Embedding:
        return cast(nn.Embedding, self.model.get_input_embeddings())

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)

    @cached_property
    def cache_argument(self) -> str:
        return cache_argument(self.decoder)

    def cache_positions(self, held: int, new: int) -> dict[str, Tensor]:
        """Where `new` tokens stand behind a cache of `held`, for `generate` in older releases of transformers.

        They would reckon it from the number of tokens given, and fail where that is less than the cache holds.
        """
        if "cache_position" not in signature(self.decoder.forward).parameters:
            return {}
        return {"cache_position": torch.arange(held, held + new, device=self.embedding.weight.device)}

    @cached_property
    def rope_shift(self) -> RopeShift:
        """Rotates this decoder's keys to other positions."""
        return RopeShift(self.decoder)

    @property
    def flex(self) -> bool:
        """Whether a one-pass sequence goes through FlexAttention."""
        return self.attention == "flex" or (self.attention == "auto" and self.embedding.weight.is_cuda)

    def logits(self, hidden: Tensor) -> Tensor:
        """The LM head on hidden states [..., D] -> [..., vocabulary], with the config's scale or soft cap."""
        config = self.model.config
        logits = self.model.get_output_embeddings()(hidden)
        logits = logits * getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
        cap = getattr(config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def kv_bytes_per_token(self) -> int:
        """Bytes one token's keys and values take over all layers, in the weights' dtype."""
        config = self.model.config
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        element = torch.finfo(self.dtype).bits // 8
        return 2 * config.num_hidden_layers * config.num_key_value_heads * head * element

    def training_flops(self, tokens: int, label_tokens: int) -> float:
        """Forward and backward FLOPs: 2 per weight and token each way, and 2 more where the weight itself is trained.

        The head sees label tokens alone; looking up embeddings and attention's quadratic part are left out.
        """
        looked_up, head = self.embedding.weight, self.model.get_output_embeddings().weight
        decoder = [p for p in self.decoder.parameters() if p is not looked_up]

        def a_token(parameters: Sequence[Tensor]) -> float:
            return sum(p.numel() * (6.0 if p.requires_grad else 4.0) for p in parameters)

        return tokens * a_token(decoder) + label_tokens * a_token([head])


def check_vocabulary(name: str, tokenizer: Any, embeddings: int) -> None:
    """Raises PretrainedError where the tokenizer writes texts in tokens that the LLM has no embedding for.

    Special tokens beyond its vocabulary don't count: transformers adds some to a tokenizer that has no use for them.
    """
    ids = int(tokenizer.vocab_size)
    if ids > embeddings:
        raise PretrainedError(
            f"llm.name={name}: its tokenizer has {ids:,} tokens and the LLM {embeddings:,} embeddings; take the "
            "tokenizer that belongs to the LLM"
        )
