"""AudioMarathon's token pruning (arXiv 2510.07293): from a layer of the LLM on, only a share of the audio is read.

The rules are those of the AudioMarathon repository's src/Modeling/modeling_qwen2_5_omni_fastv.py, commit c8f49f3.
Layers below layer K read all N speech frames. At the input of layer K, max(1, int(N (1 - share))) of them stay, in
their order and at their own positions; all other tokens stay. The hidden states of the others are not computed any
further, so layers from K on neither hold their KV nor see them. That is not what an eviction from the cache does.

One difference: the repository counts the audio's begin and end markers among the N, and may prune them. Here audio has
no marker tokens, and N is the number of speech frames.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from speech_xl.checks import number, whole
from speech_xl.evaluation.compressors.compressor import Compressor
from speech_xl.evaluation.compressors.eviction import narrower_layers
from speech_xl.evaluation.compressors.one_chunk import OneChunk
from speech_xl.model import SpeechLLM
from speech_xl.model.attention import NAME
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.speech import Speech
from speech_xl.model.sst import attention_modules

ALONG = {  # what a decoder gives its layers, and which dimensions of it run along the tokens
    "hidden_states": (-2,),
    "attention_mask": (-2, -1),
    "position_embeddings": (-2,),
    "position_ids": (-1,),
    "cache_position": (-1,),
}


class TokenPruning(Compressor):
    """From the input of layer `layer` on (the first is 0), `share` of the speech frames is left out.

    Raises ValueError for a share that isn't 0 <= share < 1 or a layer below `lowest`; `prefill`, for an LLM without
    that layer, or whose layers are given something unknown for each token.
    """

    streams = False
    compresses = False  # by a ratio: the share is fixed
    method = ""
    lowest = 0

    def __init__(self, share: float, layer: int) -> None:
        self.share = number("share", share, least=0, below=1)
        self.layer = whole("layer", layer, least=self.lowest)
        self.name = f"AudioMarathon {self.method} {share:g} at layer {layer}"

    @abstractmethod
    def choose(self, frames: int, kept: int, attention: Tensor | None) -> Tensor:
        """The frames that stay, int64 [kept], of so many. attention: float [frames], that the prompt's last token pays
        to each in the layer below, for methods that look at it."""

    def watching(self, model: SpeechLLM, seen: list[Tensor]) -> AbstractContextManager[None]:
        """While it lasts, what is needed for `choose` goes into `seen`: nothing, for most."""
        return nullcontext()

    def prefill(self, model: SpeechLLM, speech: Speech, ratio: int, instruction: str = "") -> KVMemory:
        layers = decoder_layers(model, self.layer)
        asked = model.llm.prompt.question(instruction) if self.needs_question else []
        chunk = OneChunk.of(model, speech, asked)
        held, seen, kept = chunk.prefix + chunk.frames, [], kept_frames(chunk.frames, self.share)
        memory = KVMemory(len(layers), 1, model.device)

        def stays() -> Tensor:
            attention = seen[0][chunk.prefix : held] if seen else None
            chosen = self.choose(chunk.frames, kept, attention).to(model.device).sort().values + chunk.prefix
            place = chunk.place[0]
            return torch.cat([place[: chunk.prefix], chosen, place[held:]])

        with self.watching(model, seen), pruned_from(layers[self.layer :], len(chunk), stays):
            chunk.read(model, memory)
        every: list[Any] = memory.cache.layers
        for layer in every:  # the question is read again as it is answered
            width = layer.keys.shape[2] - len(asked)
            layer.keys, layer.values = layer.keys[:, :, :width], layer.values[:, :, :width]
        widest = max(layer.keys.shape[2] for layer in every)
        memory.valid = torch.ones(1, widest, dtype=torch.bool, device=model.device)
        memory.position, memory.peak = torch.tensor([held], device=model.device), len(chunk)
        return memory

    def generating(self, model: SpeechLLM, memory: KVMemory) -> AbstractContextManager[None]:
        return narrower_layers(model, memory)


class FramePruning(TokenPruning):
    """Evenly spaced frames: int(i (N / kept)), i = 0 .. kept - 1 (the paper's time-aligned pruning)."""

    method = "Frame"

    def choose(self, frames: int, kept: int, attention: Tensor | None) -> Tensor:
        step = frames / kept
        return torch.tensor([int(place * step) for place in range(kept)])


class RandomPruning(TokenPruning):
    """Frames drawn at random; the same for the same `seed`, number of frames and share (the repository's have no
    seed)."""

    method = "Random"

    def __init__(self, share: float, layer: int, seed: int = 0) -> None:
        super().__init__(share, layer)
        self.seed = seed

    def choose(self, frames: int, kept: int, attention: Tensor | None) -> Tensor:
        return torch.randperm(frames, generator=torch.Generator().manual_seed(self.seed))[:kept]


class AttentionPruning(TokenPruning):
    """The frames that the prompt's last token, behind the question, attends to most in layer `layer` - 1, on average
    over heads (after FastV, arXiv 2403.06764).

    The repository's own code for it can't run as it is published, so its figures came from another version.
    """

    method = "FastV"
    lowest = 1
    needs_question = True

    def choose(self, frames: int, kept: int, attention: Tensor | None) -> Tensor:
        assert attention is not None, "the layer below has run before"
        return attention.topk(kept).indices

    def watching(self, model: SpeechLLM, seen: list[Tensor]) -> AbstractContextManager[None]:
        return last_attention(attention_modules(model.llm.decoder)[self.layer - 1], seen)


def kept_frames(frames: int, share: float) -> int:
    """Frames that stay where a share is removed: int(N (1 - share)) in floating point, and one at least. For 0.8 of 10
    it is 1, because 1 - 0.8 is a little less than 0.2; the repository's script counts so too."""
    return max(1, int(frames * (1 - share)))


def decoder_layers(model: SpeechLLM, layer: int) -> Sequence[nn.Module]:
    """The LLM's layers. Raises ValueError where they or their attention aren't found, or `layer` isn't among them."""
    count, layers = model.llm.model.config.num_hidden_layers, getattr(model.llm.decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList) or len(layers) != count:
        raise ValueError(
            f"{type(model.llm.decoder).__name__} has no list of its {count} layers: tokens can't be pruned at one of "
            "them; choose another LLM, or a compressor that prunes the cache"
        )
    try:
        attention_modules(model.llm.decoder)
    except ValueError as error:
        raise ValueError(
            f"{type(model.llm.decoder).__name__}: token pruning needs separate q_proj, k_proj and v_proj in every "
            "layer; choose another LLM, or a compressor that chooses frames"
        ) from error
    if layer >= count:
        raise ValueError(f"at layer {layer}: the LLM has {count} layers; name one from 0 to {count - 1}")
    return list(layers)


@contextmanager
def pruned_from(layers: Sequence[nn.Module], tokens: int, stays: Callable[[], Tensor]) -> Iterator[None]:
    """While it lasts, these layers are given only the tokens that stay, of a chunk of so many over an empty cache.

    stays: is asked once, as the first of them is reached: places in the chunk, rising. Whatever else a decoder gives
    its layers for each token is cut alike.
    """
    chosen: list[Tensor] = []

    def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        first = module is layers[0]
        if first:
            chosen[:] = [stays()]
        given = dict(kwargs)
        if args:
            given["hidden_states"], args = args[0], args[1:]
        if args:
            raise ValueError(f"{type(module).__name__} is given more than its hidden states by place; {CHOOSE}")
        hidden = given.pop("hidden_states")
        cut = {name: _cut(module, name, value, tokens, chosen[0]) for name, value in given.items()}
        return (hidden.index_select(1, chosen[0]) if first else hidden,), cut

    hooks = [layer.register_forward_pre_hook(hook, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for registered in hooks:
            registered.remove()


CHOOSE = "how to leave tokens out isn't known: choose another LLM, or a compressor that prunes the cache"


def _cut(module: nn.Module, name: str, value: Any, tokens: int, places: Tensor) -> Any:
    """What a layer is given, along the tokens at these places."""
    if isinstance(value, tuple) and name in ALONG:
        return tuple(_cut(module, name, part, tokens, places) for part in value)
    if not isinstance(value, Tensor):
        return value
    for dimension in ALONG.get(name, ()):
        if value.shape[dimension] != tokens:
            raise ValueError(
                f"{type(module).__name__} is given {name} of shape {tuple(value.shape)} for {tokens} tokens; {CHOOSE}"
            )
        value = value.index_select(dimension, places)
    if name not in ALONG and tokens in value.shape:
        raise ValueError(f"{type(module).__name__} is given {name} of shape {tuple(value.shape)}; {CHOOSE}")
    return value


@contextmanager
def last_attention(module: nn.Module, seen: list[Tensor]) -> Iterator[None]:
    """While it lasts, the attention of the last token to every key in this module, on average over heads, goes into
    `seen`: float [keys]. It is computed from the queries and keys that the module itself attends with."""
    attend: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS[NAME]

    def watched(asked: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, *args: Any, **options: Any):
        if asked is module:
            keys = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
            scale = options.get("scaling") or query.shape[-1] ** -0.5
            scores = (query[:, :, -1:] @ keys.transpose(2, 3)) * scale
            scores = scores.masked_fill(~mask[:, :, -1:], -torch.inf)
            weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
            seen.append(weights.mean(1)[0, -1])
        return attend(asked, query, key, value, mask, *args, **options)

    ALL_ATTENTION_FUNCTIONS[NAME] = watched
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS[NAME] = attend
