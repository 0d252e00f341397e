"""Listening interval by interval: a KV cache that keeps the prefix and the SSTs and forgets the frames.

A memory holds a batch whose rows may differ in intervals, ratios and kept tokens. It is the streaming twin of the
one-pass mask in layout.py, and the only path that answers at inference.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import cache_utils
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, StaticLayer

from speech_xl.model.layout import Kind

MIN_CAPACITY = 64  # tokens


class PrunableLayer(DynamicLayer):
    """A cache layer whose tokens can be dropped anywhere, not only at the end.

    Keys and values are the beginning of tensors with room behind them: what comes is written there, and what is held
    is copied only when the room is used up. Where gradients flow, autograd needs new tensors each time and gets them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.capacity: dict[str, Tensor] = {}

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Hold these too, [B, heads, T, head dim] each; all that is held."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        if self.keys.requires_grad or key_states.requires_grad:
            return super().update(key_states, value_states, *args, **kwargs)
        self.keys = self._append("keys", self.keys, key_states)
        self.values = self._append("values", self.values, value_states)
        return self.keys, self.values

    def _append(self, name: str, held: Tensor, new: Tensor) -> Tensor:
        before, length = held.shape[2], held.shape[2] + new.shape[2]
        capacity = self.capacity.get(name)
        if capacity is None or not _is_start_of(capacity, held) or capacity.shape[2] < length:
            capacity = new.new_empty(*new.shape[:2], length + max(MIN_CAPACITY, length // 4), new.shape[3])
            capacity[:, :, :before] = held
            self.capacity[name] = capacity
        capacity[:, :, before:length] = new
        return capacity[:, :, :length]

    def compact(
        self, tokens: Tensor, places: Tensor, width: int, shift: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """Move `tokens` [B, K] to `places` [B, K], which nothing needed holds, and forget all from `width` on.

        shift: takes the moved keys [B, heads, K, head dim] to where they stand from now on.
        """

        def moved(whole: Tensor, change: Callable[[Tensor], Tensor] | None) -> Tensor:
            def along(index: Tensor) -> Tensor:
                return index[:, None, :, None].expand(-1, whole.shape[1], -1, whole.shape[3])

            part = whole.gather(2, along(tokens))
            write = Tensor.scatter if whole.requires_grad else Tensor.scatter_
            return write(whole, 2, along(places), part if change is None else change(part))[:, :, :width]

        assert self.keys is not None and self.values is not None, "nothing was read yet"
        self.keys, self.values = moved(self.keys, shift), moved(self.values, None)


def _is_start_of(capacity: Tensor, held: Tensor) -> bool:
    """Whether what is held is still the beginning of the room, and may be written behind."""
    same = held.data_ptr() == capacity.data_ptr() and held.stride() == capacity.stride() and len(held) == len(capacity)
    return same and capacity.is_inference() == torch.is_inference_mode_enabled()


class KVMemory:
    """What a batch of listeners has kept: per-layer KV, which entries are real, and the next position.

    cache     Hugging Face cache of `PrunableLayer`s, [B, heads, K, head dim] each
    valid     bool [B, K], False in the padding at the end of a shorter row
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

    @property
    def bytes(self) -> int:
        """Bytes of keys and values as they lie in memory, prefix and padding included."""
        held = (tensor for name, tensor in self.tensors().items() if name.startswith("layers."))
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values over all layers, in the number format they are held in; 0 of an empty
        memory."""
        held = [tensor for layer in self.cache.layers if layer.is_initialized for tensor in (layer.keys, layer.values)]
        return sum(tensor.shape[1] * tensor.shape[3] * tensor.element_size() for tensor in held)

    def audio_bytes(self, prefix: int) -> list[int]:
        """Bytes of keys and values that each row keeps of the audio, measured on the tensors: of all real tokens, less
        the `prefix` tokens of the prompt before the audio. Padding isn't counted.

        A layer that keeps fewer tokens than the widest has the last columns of `valid`.
        """
        sizes = torch.zeros(len(self.valid), dtype=torch.long, device=self.valid.device)
        for layer in self.cache.layers:
            if layer.is_initialized:
                assert layer.keys is not None and layer.values is not None
                tokens = self.valid[:, self.valid.shape[1] - layer.keys.shape[2] :].sum(1) - prefix
                for tensor in (layer.keys, layer.values):
                    sizes += tokens * (tensor.shape[1] * tensor.shape[3] * tensor.element_size())
        return sizes.tolist()

    def select(self, rows: Sequence[int]) -> "KVMemory":
        """A new memory with these rows (copies), one for each question to ask."""
        index = torch.as_tensor(rows, device=self.valid.device)
        return KVMemory.from_tensors({name: tensor[index] for name, tensor in self.tensors().items()}, self.peak)

    def fork(self) -> "KVMemory":
        """A memory that holds the same and goes on alone.

        Keys and values are shared until one of both holds more: the fork then writes into tensors of its own, this one
        behind what the fork holds. With rows of several lengths, whose padding is written to, they are copied.
        """
        if not self.valid.all():
            return self.select(range(len(self.valid)))
        shared = self.tensors()
        own = {name: shared[name].clone() for name in ("valid", "position")}
        return KVMemory.from_tensors({**shared, **own}, self.peak)

    def row(self, row: int) -> "KVMemory":
        """A new memory of this row alone, without the padding of longer ones."""
        length = int(self.valid[row].sum())
        rows = {name: tensor[row : row + 1] for name, tensor in self.tensors().items()}
        rows |= {name: tensor[:, :, :length] for name, tensor in rows.items() if name.startswith("layers.")}
        rows["valid"] = rows["valid"][:, :length]
        return KVMemory.from_tensors({name: tensor.clone() for name, tensor in rows.items()}, self.peak)

    def tensors(self) -> dict[str, Tensor]:
        """All that a memory is made of, by name; keys and values are views that the memory goes on writing behind.

        Of layers that have read nothing, as without a prefix, they are [B, 0, 0, 0].
        """
        layers: dict[str, Any] = {}
        nothing = torch.zeros(len(self.valid), 0, 0, 0, device=self.valid.device)
        for number, layer in enumerate(self.cache.layers):
            keys, values = (layer.keys, layer.values) if layer.is_initialized else (nothing, nothing)
            layers |= {f"layers.{number}.keys": keys, f"layers.{number}.values": values}
        return layers | {"valid": self.valid, "position": self.position}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], peak: int) -> "KVMemory":
        """The memory whose `tensors` these are."""
        valid = tensors["valid"]
        memory = cls(sum(name.endswith(".keys") for name in tensors), len(valid), valid.device)
        for number, layer in enumerate(memory.cache.layers):
            keys, values = tensors[f"layers.{number}.keys"], tensors[f"layers.{number}.values"]
            if keys.shape[1]:
                layer.lazy_initialization(keys, values)
                layer.keys, layer.values = keys, values
        memory.valid, memory.position, memory.peak = valid, tensors["position"], peak
        return memory

    def to(self, device: torch.device | str) -> "KVMemory":
        """A copy of it on another device."""
        tensors = {name: tensor.to(device, copy=True) for name, tensor in self.tensors().items()}
        return KVMemory.from_tensors(tensors, self.peak)

    def freeze(self, kind: Literal["static", "fp8"], capacity: int = 1024) -> "FrozenMemory":
        """A copy that answers and no longer listens: ``static``, tensors of one size for compiled decoding, with room
        for `capacity` tokens of a question and its answer; ``fp8``, eight bits a number and nearly the same answers.

        Raises ValueError for another kind, or where the installed transformers has no fp8 cache.
        """
        fp8 = getattr(cache_utils, "Fp8QuantizedLayer", None)
        if kind not in ("static", "fp8") or (kind == "fp8" and fp8 is None):
            raise ValueError(f"freeze({kind!r}): choose 'static', or 'fp8' with a newer transformers that has it")
        if not self.valid.shape[1]:
            raise ValueError(f"freeze({kind!r}): nothing was heard yet")
        length = self.valid.shape[1] + capacity
        make = fp8 if kind == "fp8" and fp8 is not None else lambda: StaticLayer(length)
        layers = [make() for _ in self.cache.layers]
        for layer, frozen in zip(self.cache.layers, layers, strict=True):
            assert layer.keys is not None and layer.values is not None, "nothing was read yet"
            frozen.update(layer.keys, layer.values)
        nothing = self.cache.layers[0].keys[:, :, :0]
        return FrozenMemory(layers, make, nothing, self.valid, self.position, capacity if kind == "static" else None)

    def step_mask(self, kind: Tensor) -> Tensor:
        """Mask of a chunk [B, T] over memory and itself, bool [B, 1, T, K + T]: memory, then causal in the chunk."""
        real = kind != Kind.PAD
        length = kind.shape[1]
        square = torch.ones(length, length, dtype=torch.bool, device=kind.device).tril()
        own = square & real[:, None, :] | torch.eye(length, dtype=torch.bool, device=kind.device)
        return torch.cat([self.valid[:, None, :].expand(-1, length, -1), own], dim=2)[:, None]

    def prune(self, kind: Tensor, shift: Callable[[int, Tensor, Tensor], Tensor] | None = None) -> None:
        """After a chunk of these kinds [B, T] has been run: drop its frames and padding, pack each row to the left.

        shift: takes a layer's number, the keys that stay [B, heads, K, D] and which of the chunk they are [B, K] to
                where they stand from now on.
        """
        before, held = self.valid.sum(1), self.valid.shape[1]
        stays = (kind != Kind.PAD) & (kind != Kind.FRAME)
        self.peak = max(self.peak, int((before + (kind != Kind.PAD).sum(1)).max()))
        new = stays.sum(1)
        which = torch.argsort((~stays).to(torch.uint8), dim=1, stable=True)[:, : int(new.max())]
        places = before[:, None] + torch.arange(which.shape[1], device=which.device)
        width = int((before + new).max())
        for number, layer in enumerate(self.cache.layers):
            change = None if shift is None else partial(shift, number, which=which)
            layer.compact(held + which, places, width, change)
        self.valid = torch.arange(width, device=new.device) < (before + new)[:, None]


class FrozenMemory:
    """What a memory has kept, in Hugging Face cache layers of another kind (`KVMemory.freeze`); it is asked like one.

    make     makes an empty layer of that kind
    nothing  no keys at all, [B, heads, 0, head dim]: what a layer is given to have it give out what it holds
    room     tokens that a question and its answer may have, None for any number
    """

    def __init__(
        self,
        layers: list[Any],
        make: Callable[[], CacheLayerMixin],
        nothing: Tensor,
        valid: Tensor,
        position: Tensor,
        capacity: int | None = None,
    ) -> None:
        self.cache, self.make, self.nothing = Cache(layers=layers), make, nothing
        self.valid, self.position, self.capacity = valid, position, capacity

    def select(self, rows: Sequence[int]) -> "FrozenMemory":
        """A new one with these rows (copies), one for each question to ask."""
        index = torch.as_tensor(rows, device=self.valid.device)
        layers = []
        for layer in self.cache.layers:
            held = layer.update(self.nothing, self.nothing)
            layers.append(self.make())
            layers[-1].update(*(tensor[index, :, : self.valid.shape[1]] for tensor in held))
        nothing, valid, position = self.nothing[index], self.valid[index], self.position[index]
        return FrozenMemory(layers, self.make, nothing, valid, position, self.capacity)
