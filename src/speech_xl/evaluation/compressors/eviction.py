"""KV eviction by kvpress: the LLM hears all frames at once, then drops the KV that scores lowest, per head and layer.

kvpress patches attention functions as it is imported, so it is imported only where an `Eviction` is made:
``pip install -e ".[baselines]"``. Its presses score; the hooks that ask them are ours, so that they run on any release
of transformers, layers without RoPE are scored without it, and exactly as much is kept as SSTs would keep.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from speech_xl.evaluation.compressors.compressor import Compressor, budget
from speech_xl.evaluation.compressors.one_chunk import OneChunk
from speech_xl.model import SpeechLLM
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.speech import Speech
from speech_xl.model.sst import attention_modules

PRESSES = ("StreamingLLM", "SnapKV", "TOVA", "Knorm", "ExpectedAttention", "KeyDiff", "PyramidKV")
WINDOW = 64  # queries that SnapKV and PyramidKV look from, where the budget has room for them


class Eviction(Compressor):
    """One of kvpress's presses over prefix and frames, the question kept out of both.

    press        one of `PRESSES`
    query_aware  the question stands behind the frames while they are scored and is dropped again, so that another
                 question needs listening anew

    Raises ValueError for another press, ImportError with the mend where kvpress isn't installed.
    """

    streams = False

    def __init__(self, press: str, query_aware: bool = False) -> None:
        if press not in PRESSES:
            raise ValueError(f"press={press!r}: choose one of {', '.join(PRESSES)}")
        try:
            kvpress = import_module("kvpress")
        except ImportError as error:
            raise ImportError(f"{press} comes from kvpress: pip install -e '.[baselines]'") from error
        self.press: Any = getattr(kvpress, f"{press}Press")
        self.needs_question = query_aware
        self.name = self.name_of(press, query_aware)

    @staticmethod
    def name_of(press: str, query_aware: bool = False) -> str:
        """What it is called, whether kvpress is installed or not."""
        return f"{press}, query-aware" if query_aware else press

    def prefill(self, model: SpeechLLM, speech: Speech, ratio: int, instruction: str = "") -> KVMemory:
        asked = model.llm.prompt.question(instruction) if self.needs_question else []
        chunk = OneChunk.of(model, speech, asked)
        kept, prefilled = chunk.prefix + budget(speech.intervals[0], ratio), chunk.prefix + chunk.frames
        memory = KVMemory(model.llm.model.config.num_hidden_layers, 1, model.device)
        with evicting(model, memory, self._press(kept, len(chunk)), kept, prefilled):
            chunk.read(model, memory)
        layers: list[Any] = memory.cache.layers
        widest = max(layer.keys.shape[2] for layer in layers)
        memory.valid = torch.ones(1, widest, dtype=torch.bool, device=model.device)
        memory.position, memory.peak = torch.tensor([prefilled], device=model.device), len(chunk)
        return memory

    def generating(self, model: SpeechLLM, memory: KVMemory) -> AbstractContextManager[None]:
        return narrower_layers(model, memory)

    def _press(self, kept: int, total: int) -> Any:
        # Half a token over: some presses round what they keep down, and floats would cost one now and then.
        options: dict[str, Any] = {"compression_ratio": max(0.0, 1 - (kept + 0.5) / total)}
        if hasattr(self.press, "window_size"):
            options["window_size"] = max(1, min(WINDOW, kept // 2))
        return self.press(**options)


class NoRotation(nn.Module):
    """Rotary angles of a layer that has none: cosine 1, sine 0."""

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        ones = x.new_ones(*position_ids.shape, x.shape[-1])
        return ones, torch.zeros_like(ones)


@contextmanager
def evicting(model: SpeechLLM, memory: KVMemory, press: Any, kept: int, prefilled: int) -> Iterator[dict[int, Tensor]]:
    """While it lasts, each attention layer that has run drops all but the `kept` best of its first `prefilled` tokens.

    Yields what stays, by layer: places of tokens, int64 [1, heads, K]. PyramidKV keeps more in lower layers and fewer
    in higher ones, `kept` on average.
    """
    press.post_init_from_model(model.llm.model)
    rotary, bare, hooks = model.llm.decoder.rotary_emb, NoRotation(), []
    stays: dict[int, Tensor] = {}

    def hook(module: Any, _args: Any, kwargs: dict[str, Any], _output: Any) -> None:
        hidden, layer = kwargs["hidden_states"], memory.cache.layers[module.layer_idx]
        if not getattr(module, "use_rope", True):
            places = torch.arange(hidden.shape[1], device=hidden.device)[None]
            kwargs = kwargs | {"position_embeddings": bare(hidden[..., : module.head_dim], places)}
        best = min(kept, prefilled)
        if best < prefilled:
            scores = press.score(module, hidden, layer.keys, layer.values, None, kwargs)[..., :prefilled]
            if hasattr(press, "get_layer_budget"):
                best = min(prefilled, press.get_layer_budget(module, layer.keys.shape[2]))
            stays[module.layer_idx] = scores.topk(best, dim=2).indices.sort(dim=2).values
        else:
            stays[module.layer_idx] = torch.arange(prefilled, device=hidden.device).expand(*layer.keys.shape[:2], -1)
        index = stays[module.layer_idx][..., None]
        layer.keys = layer.keys.gather(2, index.expand(-1, -1, -1, layer.keys.shape[3]))
        layer.values = layer.values.gather(2, index.expand(-1, -1, -1, layer.values.shape[3]))

    modules: list[Any] = attention_modules(model.llm.decoder)
    try:
        for module in modules:
            # ExpectedAttention asks the layer for its angles. Not by setattr, which would make it a part of the layer.
            module.__dict__["rotary_emb"] = rotary if getattr(module, "use_rope", True) else bare
            hooks.append(module.register_forward_hook(hook, with_kwargs=True))
        yield stays
    finally:
        for registered in hooks:
            registered.remove()
        for module in modules:
            module.__dict__.pop("rotary_emb", None)


@contextmanager
def narrower_layers(model: SpeechLLM, memory: KVMemory) -> Iterator[None]:
    """While it lasts, a layer that keeps less than the widest gets the mask's last columns, which are its own."""
    widest, hooks = memory.valid.shape[1], []
    layers: list[Any] = memory.cache.layers
    for module, layer in zip(attention_modules(model.llm.decoder), layers, strict=True):
        missing = widest - layer.keys.shape[2]

        def narrow(
            _module: Any, args: Any, kwargs: dict[str, Any], missing: int = missing
        ) -> tuple[Any, dict[str, Any]]:
            return args, kwargs | {"attention_mask": kwargs["attention_mask"][..., missing:]}

        if missing:
            hooks.append(module.register_forward_pre_hook(narrow, with_kwargs=True))
    try:
        yield
    finally:
        for registered in hooks:
            registered.remove()
