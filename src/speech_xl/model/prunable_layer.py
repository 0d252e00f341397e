"""A cache layer for Hugging Face decoders whose tokens can be dropped anywhere: one layer of a `KVMemory`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

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

    def picked(self, tokens: Tensor, shift: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Keys, moved by `shift` as in `compact`, and values of `tokens` [B, K]: copies."""
        assert self.keys is not None and self.values is not None, "nothing was read yet"
        keys, values = _gathered(self.keys, tokens), _gathered(self.values, tokens)
        return keys if shift is None else shift(keys), values

    def compact(
        self, tokens: Tensor, places: Tensor, width: int, shift: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """Move `tokens` [B, K] to `places` [B, K], which nothing needed holds, and forget all from `width` on.

        shift: takes the moved keys [B, heads, K, head dim] to where they stand from now on.
        """

        def moved(whole: Tensor, change: Callable[[Tensor], Tensor] | None) -> Tensor:
            part = _gathered(whole, tokens)
            write = Tensor.scatter if whole.requires_grad else Tensor.scatter_
            return write(whole, 2, _along(places, whole), part if change is None else change(part))[:, :, :width]

        assert self.keys is not None and self.values is not None, "nothing was read yet"
        self.keys, self.values = moved(self.keys, shift), moved(self.values, None)


def _along(index: Tensor, whole: Tensor) -> Tensor:
    """Tokens [B, K] as an index into [B, heads, T, head dim]."""
    return index[:, None, :, None].expand(-1, whole.shape[1], -1, whole.shape[3])


def _gathered(whole: Tensor, tokens: Tensor) -> Tensor:
    return whole.gather(2, _along(tokens, whole))


def _is_start_of(capacity: Tensor, held: Tensor) -> bool:
    """Whether what is held is still the beginning of the room, and may be written behind."""
    same = held.data_ptr() == capacity.data_ptr() and held.stride() == capacity.stride() and len(held) == len(capacity)
    return same and capacity.is_inference() == torch.is_inference_mode_enabled()
