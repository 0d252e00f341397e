"""Listening interval by interval: a KV cache that keeps the prefix and the SSTs and forgets the frames.

Frames that the next interval still sees lie beside the cache: questions never see them, and `recall` puts them in.

A memory holds a batch whose rows may differ in intervals, ratios and kept tokens. It is the streaming twin of the
one-pass mask in layout.py, and the only path that answers at inference.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import cache_utils
from transformers.cache_utils import Cache, CacheLayerMixin, StaticLayer

from speech_xl.model.layout import View
from speech_xl.model.positions import PRUNED, Kind
from speech_xl.model.prunable_layer import PrunableLayer

KeyShift = Callable[[Tensor], Callable[[int, Tensor], Tensor]]  # see `KVMemory.prune`


class KVMemory:
    """What a batch of listeners has kept: per-layer KV, which entries are real, and the next position.

    cache     Hugging Face cache of `PrunableLayer`s, [B, heads, K, head dim] each
    valid     bool [B, K], False in the padding at the end of a shorter row
    position  int64 [B], the RoPE position the next token gets
    peak      most KV tokens any row's cache held at once, frames of the current interval included
    history   int64 [B, I, 2], tokens kept and the next position after the prefix and then after each interval; 0 beyond
    noted     int64 [B], how many of these a row has
    carried   keys and values of each layer, [B, heads, W, head dim]: frames for the next interval's eyes; [] for none
    carried_valid  bool [B, W], False in the padding at the end of a row with fewer
    """

    def __init__(self, layers: int, rows: int, device: torch.device) -> None:
        self.cache = Cache(layers=[PrunableLayer() for _ in range(layers)])
        self.valid = torch.zeros(rows, 0, dtype=torch.bool, device=device)
        self.position = torch.zeros(rows, dtype=torch.long, device=device)
        self.peak = 0
        self.history = torch.zeros(rows, 0, 2, dtype=torch.long, device=device)
        self.noted = torch.zeros(rows, dtype=torch.long, device=device)
        self.carried: list[tuple[Tensor, Tensor]] = []
        self.carried_valid = torch.zeros(rows, 0, dtype=torch.bool, device=device)

    @property
    def kept(self) -> Tensor:
        """KV tokens each row holds, prefix included: int64 [B]."""
        return self.valid.sum(1)

    @property
    def bytes(self) -> int:
        """Bytes of keys and values as they lie in memory, prefix, carried frames and padding included."""
        held = (tensor for name, tensor in self.tensors().items() if name.endswith((".keys", ".values")))
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

    def note(self, heard: Tensor) -> None:
        """The prefix, or an interval, is over for the rows that have `heard` it, bool [B]."""
        if int((self.noted + heard).max()) > self.history.shape[1]:
            self.history = torch.nn.functional.pad(self.history, (0, 0, 0, 1))
        rows = heard.nonzero()[:, 0]
        self.history[rows, self.noted[rows]] = torch.stack([self.kept, self.position], dim=1)[rows]
        self.noted = self.noted + heard

    def viewed(self, rows: Sequence[int], views: Sequence[View | None]) -> "KVMemory":
        """A new memory for each question, with what its view keeps of the row it goes to: the prefix and the intervals
        from first to last, as if the audio had ended there; all of it without a view, or where no listener made it."""
        columns, position = [], []
        for row, view in zip(rows, views, strict=True):
            intervals, kept = int(self.noted[row]) - 1, int(self.kept[row])
            if view is None or intervals < 1:
                columns.append(torch.arange(kept))
                position.append(int(self.position[row]))
                continue
            last = min(view[1], intervals - 1)
            prefix, start = (int(self.history[row, at, 0]) for at in (0, max(0, min(view[0], last + 1))))
            stop, after = self.history[row, last + 1].tolist()
            columns.append(torch.cat([torch.arange(prefix), torch.arange(start, stop)]))
            position.append(after)
        device = self.valid.device
        index = torch.nn.utils.rnn.pad_sequence(columns, batch_first=True).to(device)
        own = torch.as_tensor(rows, device=device)[:, None]
        tensors = {
            name: tensor[own, :, index].transpose(1, 2) if tensor.shape[1] else tensor[own[:, 0]]
            for name, tensor in self.tensors().items()
            if name.startswith("layers.")
        }
        lengths = torch.tensor([len(some) for some in columns], device=device)
        tensors["valid"] = torch.arange(index.shape[1], device=device) < lengths[:, None]
        tensors["position"] = torch.tensor(position, device=device)
        return KVMemory.from_tensors(tensors, self.peak)

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
        own = ("valid", "position", "history")  # what is carried is never written to
        return KVMemory.from_tensors(shared | {name: shared[name].clone() for name in own}, self.peak)

    def row(self, row: int) -> "KVMemory":
        """A new memory of this row alone, without the padding of longer ones."""
        length = int(self.valid[row].sum())
        rows = {name: tensor[row : row + 1] for name, tensor in self.tensors().items()}
        rows |= {name: tensor[:, :, :length] for name, tensor in rows.items() if name.startswith("layers.")}
        rows["valid"] = rows["valid"][:, :length]
        rows["history"] = rows["history"][:, : int(self.noted[row])]
        count = int(self.carried_valid[row].sum())
        for name in [name for name in rows if name.startswith("carried")]:
            rows[name] = rows[name][:, :count] if name == "carried_valid" else rows[name][:, :, :count]
        return KVMemory.from_tensors({name: tensor.clone() for name, tensor in rows.items()}, self.peak)

    def tensors(self) -> dict[str, Tensor]:
        """All that a memory is made of, by name; keys and values are views that the memory goes on writing behind.

        Of layers that have read nothing, as without a prefix, they are [B, 0, 0, 0]. What is carried is there where
        anything is.
        """
        layers: dict[str, Any] = {}
        nothing = torch.zeros(len(self.valid), 0, 0, 0, device=self.valid.device)
        for number, layer in enumerate(self.cache.layers):
            keys, values = (layer.keys, layer.values) if layer.is_initialized else (nothing, nothing)
            layers |= {f"layers.{number}.keys": keys, f"layers.{number}.values": values}
        for number, (keys, values) in enumerate(self.carried):
            layers |= {f"carried.{number}.keys": keys, f"carried.{number}.values": values}
        more = {"carried_valid": self.carried_valid} if self.carried else {}
        about = {"valid": self.valid, "position": self.position, "history": self.history, "noted": self.noted}
        return layers | about | more

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], peak: int) -> "KVMemory":
        """The memory whose `tensors` these are."""
        valid = tensors["valid"]
        memory = cls(sum(name.endswith(".keys") and name[0] == "l" for name in tensors), len(valid), valid.device)
        for number, layer in enumerate(memory.cache.layers):
            keys, values = tensors[f"layers.{number}.keys"], tensors[f"layers.{number}.values"]
            if keys.shape[1]:
                layer.lazy_initialization(keys, values)
                layer.keys, layer.values = keys, values
        if "carried_valid" in tensors and tensors["carried_valid"].shape[1]:
            names = [f"carried.{number}" for number in range(len(memory.cache.layers))]
            memory.carried = [(tensors[f"{name}.keys"], tensors[f"{name}.values"]) for name in names]
            memory.carried_valid = tensors["carried_valid"]
        if "history" in tensors:  # which memories of earlier versions haven't got
            memory.history, memory.noted = tensors["history"], tensors["noted"]
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

    def recall(self) -> Tensor:
        """Put what is carried behind what is kept, for an interval that is read next and then pruned; the columns that
        are real by now, bool [B, K + W]."""
        for layer, held in zip(self.cache.layers, self.carried, strict=False):
            layer.update(*held)
        return torch.cat([self.valid, self.carried_valid], dim=1)

    def step_mask(self, kind: Tensor, valid: Tensor | None = None) -> Tensor:
        """Mask of a chunk [B, T] over memory and itself, bool [B, 1, T, K + T]: memory, then causal in the chunk.

        valid: the memory's columns that are real, where they were recalled.
        """
        valid = self.valid if valid is None else valid
        real = kind != Kind.PAD
        length = kind.shape[1]
        square = torch.ones(length, length, dtype=torch.bool, device=kind.device).tril()
        own = square & real[:, None, :] | torch.eye(length, dtype=torch.bool, device=kind.device)
        return torch.cat([valid[:, None, :].expand(-1, length, -1), own], dim=2)[:, None]

    def prune(self, kind: Tensor, shift: KeyShift | None = None) -> None:
        """After a chunk of these kinds [B, T] has been run: drop its frames and padding, pack each row to the left.

        What was recalled for the chunk is dropped too, and its own carried frames take that place; a row that read
        nothing goes on carrying what it did.

        shift: of tokens of the chunk [B, K], what takes a layer's number and their keys [B, heads, K, D] to where they
                stand from now on; what was recalled counts as the chunk's beginning.
        """
        before, held = self.valid.sum(1), self.valid.shape[1]
        idle = (kind == Kind.PAD).all(1, keepdim=True)
        kind = torch.cat([torch.where(idle & self.carried_valid, Kind.CARRIED, Kind.PAD).to(kind), kind], dim=1)
        real = (kind != Kind.PAD).sum(1) + torch.where(idle[:, 0], 0, self.carried_valid.sum(1))
        self.peak = max(self.peak, int((before + real).max()))
        pruned = torch.isin(kind, torch.tensor([Kind.PAD, *PRUNED], device=kind.device))
        which, new = _columns(~pruned)
        onward, carried = _columns(kind == Kind.CARRIED)
        places = before[:, None] + torch.arange(which.shape[1], device=which.device)
        width = int((before + new).max())
        turns = [shift(part) if shift and part.shape[1] else None for part in (which, onward)]
        self.carried = []
        for number, layer in enumerate(self.cache.layers):
            kept_shift, onward_shift = (None if turn is None else partial(turn, number) for turn in turns)
            if onward.shape[1]:
                self.carried.append(layer.picked(held + onward, onward_shift))
            layer.compact(held + which, places, width, kept_shift)
        self.valid = torch.arange(width, device=new.device) < (before + new)[:, None]
        self.carried_valid = torch.arange(onward.shape[1], device=new.device) < carried[:, None]


def _columns(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Of bool [B, T] the columns of each row that are chosen, in order, and how many: int64 [B, K] and [B]."""
    count = chosen.sum(1)
    return torch.argsort((~chosen).to(torch.uint8), dim=1, stable=True)[:, : int(count.max())], count


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
