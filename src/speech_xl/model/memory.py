"""Listening interval by interval: a KV cache that keeps the prefix and the SSTs and forgets the frames.

A memory holds a batch whose rows may differ in intervals, ratios and kept tokens. It is the streaming twin of the
one-pass mask in layout.py, and the only path that answers at inference.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import cache_utils
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, StaticLayer

from speech_xl.model.layout import Kind


class PrunableLayer(DynamicLayer):
    """A cache layer whose tokens can be dropped anywhere, not only at the end."""

    def keep(self, index: Tensor) -> None:
        """Keep, per row, the tokens at `index` [B, K], in this order."""
        where = index[:, None, :, None].expand(-1, self.keys.shape[1], -1, self.keys.shape[3])
        self.keys, self.values = self.keys.gather(2, where), self.values.gather(2, where)


class KVMemory:
    """What a batch of listeners has kept: per-layer KV, which entries are real, and the next position.

    cache     Hugging Face cache of `PrunableLayer`s, [B, heads, K, head dim] each
    valid     bool [B, K], False where a row holds padding
    position  int64 [B], the RoPE position the next token gets
    peak      most KV tokens any row's cache held at once, frames of the current interval included
    """

    def __init__(self, layers: int, rows: int, device: torch.device) -> None:
        self.cache = Cache(layers=[PrunableLayer() for _ in range(layers)])
        self.valid = torch.zeros(rows, 0, dtype=torch.bool, device=device)
        self.position = torch.zeros(rows, dtype=torch.long, device=device)
        self.peak = 0

    @property
    def kept(self) -> Tensor:
        """KV tokens each row holds, prefix included: int64 [B]."""
        return self.valid.sum(1)

    def select(self, rows: Sequence[int]) -> "KVMemory":
        """A new memory with these rows (copies), one for each question to ask."""
        index = torch.as_tensor(rows, device=self.valid.device)
        return KVMemory.from_tensors({name: tensor[index] for name, tensor in self.tensors().items()}, self.peak)

    def tensors(self) -> dict[str, Tensor]:
        """All that a memory is made of, by name."""
        layers: dict[str, Tensor] = {}
        for number, layer in enumerate(self.cache.layers):
            assert layer.keys is not None and layer.values is not None, "nothing was read yet"
            layers |= {f"layers.{number}.keys": layer.keys, f"layers.{number}.values": layer.values}
        return layers | {"valid": self.valid, "position": self.position}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], peak: int) -> "KVMemory":
        """The memory whose `tensors` these are."""
        valid = tensors["valid"]
        memory = cls(sum(name.endswith(".keys") for name in tensors), len(valid), valid.device)
        for number, layer in enumerate(memory.cache.layers):
            keys, values = tensors[f"layers.{number}.keys"], tensors[f"layers.{number}.values"]
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
        memory.valid, memory.position, memory.peak = valid, tensors["position"], peak
        return memory

    def to(self, device: torch.device | str) -> "KVMemory":
        """A copy of it on another device."""
        return KVMemory.from_tensors({name: tensor.to(device) for name, tensor in self.tensors().items()}, self.peak)

    def seal(self, kind: Literal["static", "fp8"], room: int = 1024) -> "SealedMemory":
        """A copy that answers and no longer listens: ``static``, tensors of one size for compiled decoding, with `room`
        for the tokens of a question and its answer; ``fp8``, eight bits a number and nearly the same answers.

        Raises ValueError for another kind, or where the installed transformers has no fp8 cache.
        """
        fp8 = getattr(cache_utils, "Fp8QuantizedLayer", None)
        if kind not in ("static", "fp8") or (kind == "fp8" and fp8 is None):
            raise ValueError(f"seal({kind!r}): choose 'static', or 'fp8' with a newer transformers that has it")
        length = self.valid.shape[1] + room
        make = fp8 if kind == "fp8" and fp8 is not None else lambda: StaticLayer(length)
        layers = [make() for _ in self.cache.layers]
        for mine, sealed in zip(self.cache.layers, layers, strict=True):
            assert mine.keys is not None and mine.values is not None, "nothing was read yet"
            sealed.update(mine.keys, mine.values)
        nothing = self.cache.layers[0].keys[:, :, :0]
        return SealedMemory(layers, make, nothing, self.valid, self.position)

    def step_mask(self, kind: Tensor) -> Tensor:
        """Mask of a chunk [B, T] over memory and itself, bool [B, 1, T, K + T]: memory, then causal in the chunk."""
        real = kind != Kind.PAD
        length = kind.shape[1]
        square = torch.ones(length, length, dtype=torch.bool, device=kind.device).tril()
        own = square & real[:, None, :] | torch.eye(length, dtype=torch.bool, device=kind.device)
        return torch.cat([self.valid[:, None, :].expand(-1, length, -1), own], dim=2)[:, None]

    def prune(self, kind: Tensor, turned: Callable[[int, Tensor], Tensor] | None = None) -> None:
        """After a chunk of these kinds [B, T] has been run: drop its frames and padding, pack each row.

        turned: takes a layer's number and its chunk's keys [B, heads, T, D] to where they stand from now on.
        """
        self.peak = max(self.peak, int((self.valid.sum(1) + (kind != Kind.PAD).sum(1)).max()))
        stays = torch.cat([self.valid, (kind != Kind.PAD) & (kind != Kind.FRAME)], dim=1)
        width = int(stays.sum(1).max())
        index = torch.argsort((~stays).to(torch.uint8), dim=1, stable=True)[:, :width]
        for number, layer in enumerate(self.cache.layers):
            if turned is not None:
                old, new = layer.keys.tensor_split([layer.keys.shape[2] - kind.shape[1]], dim=2)
                layer.keys = torch.cat([old, turned(number, new)], dim=2)
            layer.keep(index)
        self.valid = stays.gather(1, index)


class SealedMemory:
    """What a memory has kept, in Hugging Face cache layers of another kind (`KVMemory.seal`); it is asked like one.

    make     makes an empty layer of that kind
    nothing  no keys at all, [B, heads, 0, head dim]: what a layer is given to have it give out what it holds
    """

    def __init__(
        self,
        layers: list[Any],
        make: Callable[[], CacheLayerMixin],
        nothing: Tensor,
        valid: Tensor,
        position: Tensor,
    ) -> None:
        self.cache, self.make, self.nothing = Cache(layers=layers), make, nothing
        self.valid, self.position = valid, position

    def select(self, rows: Sequence[int]) -> "SealedMemory":
        """A new one with these rows (copies), one for each question to ask."""
        index = torch.as_tensor(rows, device=self.valid.device)
        layers = []
        for layer in self.cache.layers:
            held = layer.update(self.nothing, self.nothing)
            layers.append(self.make())
            layers[-1].update(*(tensor[index, :, : self.valid.shape[1]] for tensor in held))
        return SealedMemory(layers, self.make, self.nothing[index], self.valid[index], self.position[index])
