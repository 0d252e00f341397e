"""Attention over a layout: one function, registered with Hugging Face, that never runs without its mask.

Keys come in two parts: ``[every token's own key] ++ [a copy of what is remembered, as later intervals see it]``. A
query sees its own interval among the first and what earlier intervals left among the second (`visible_intervals`). The
copies make scheme ``compact`` exact in one pass, where an SST stands at one position in its interval and at another in
memory. And because remembered keys lie together instead of between the frames, most of the square of queries and keys
is empty in whole blocks: FlexAttention skips them on a GPU, and `query_chunks` leaves them out for SDPA.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from speech_xl.model.layout import NEVER, LayoutBatch, in_view, visible_intervals
from speech_xl.model.positions import Kind

NAME = "speech_xl"  # attn_implementation of every LLM


QUERY_CHUNK = 128  # queries of one SDPA call

SAFE_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

UNKNOWN = {"softcap": "a cap on attention's scores (Gemma 2)", "s_aux": "attention sinks (gpt-oss)"}

KeyShift = Callable[[nn.Module, Tensor], Tensor]  # a layer and its keys [B, H, M, D] to the keys elsewhere


class QueryChunk(NamedTuple):
    """Some queries of a one-pass sequence and all they may see: own keys ``start..stop``, the first `copies` of what is
    remembered, and a mask over both, bool [B, 1, queries, keys]."""

    queries: slice
    own: slice
    copies: int
    mask: Tensor


@dataclass(frozen=True)
class MemoryKeys:
    """Which tokens' keys are seen a second time, where, and by whom.

    index   int64 [B, M], tokens whose keys are copied; 0 in padding, which the mask hides
    shift   moves the copies, in the layer that asks, from their originals' positions to theirs (`RopeShift.by`); None
            where these are the same
    query_chunks  for SDPA: the mask, chunk by chunk of queries; None where a block mask holds it
    """

    index: Tensor
    shift: KeyShift | None = None
    query_chunks: list[QueryChunk] | None = None

    def extend(self, module: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, T, D] with the copies behind them: [B, H, T + M, D]."""
        where = self.index[:, None, :, None]
        keys = key.gather(2, where.expand(-1, key.shape[1], -1, key.shape[3]))
        values = value.gather(2, where.expand(-1, value.shape[1], -1, value.shape[3]))
        if self.shift is not None:
            keys = self.shift(module, keys)
        return torch.cat([key, keys], dim=2), torch.cat([value, values], dim=2)


class RopeShift:
    """Rotates keys that already carry RoPE by a shift of positions, with the model's own frequencies and halves.

    ``R(p + s) k = R(s) R(p) k``. The angles come from the decoder's own rotary module and are applied by its own
    function, so llama3, YaRN and per-layer-type frequencies hold as they are; a scale that the module puts on cosines
    (YaRN) is taken off, because the key already has it. Layers without RoPE are left alone.

    Raises ValueError for a decoder whose rotary module isn't found.
    """

    def __init__(self, decoder: nn.Module) -> None:
        rotary = getattr(decoder, "rotary_emb", None)
        if not isinstance(rotary, nn.Module):
            raise ValueError(
                f"{type(decoder).__name__} has no rotary_emb: positions='compact' turns keys by it; choose 'original'"
            )
        self.rotary = rotary
        self.by_type = "layer_type" in signature(rotary.forward).parameters

    def angles(self, keys: Tensor, shift: Tensor, **which: str) -> tuple[Tensor, Tensor]:
        """Cosines and sines [B, M, D] at these shifts [B, M], in the keys' dtype."""
        cos, sin = self.rotary(keys, shift, **which)
        scale = self.rotary(keys, torch.zeros_like(shift[:1, :1]), **which)[0][..., :1]  # cos(0), scaled
        return cos / scale, sin / scale

    def by(self, shift: Tensor) -> KeyShift:
        """Turns a layer's keys [B, H, M, D] by shift [B, M]; the angles are computed once for all layers alike."""
        known: dict[str, tuple[Tensor, Tensor]] = {}

        def shifted(module: nn.Module, keys: Tensor) -> Tensor:
            if not getattr(module, "use_rope", True):
                return keys
            which = {"layer_type": str(module.layer_type)} if self.by_type else {}
            name = which.get("layer_type", "")
            if name not in known:
                known[name] = self.angles(keys, shift, **which)
            apply: Callable[..., tuple[Tensor, Tensor]] = sys.modules[type(module).__module__].__dict__[
                "apply_rotary_pos_emb"
            ]
            return apply(keys, keys, *known[name])[1]

        return shifted


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    dropout: float = 0.0,
    *,
    memory_keys: MemoryKeys | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Hugging Face's attention interface: a plain mask for a cache, else a block mask or query chunks."""
    if attention_mask is None:
        raise RuntimeError(
            f"{type(module).__name__} was run without a mask: frames would be seen outside their interval, or the "
            "future. Give `attention_mask` of shape [B, 1, queries, keys]."
        )
    for name in UNKNOWN:
        if options.pop(name, None) is not None:
            raise ValueError(
                f"{type(module).__name__} asks for {name}, {UNKNOWN[name]}, which attention over SSTs leaves out: "
                "choose an LLM without it"
            )
    options |= {"dropout": dropout}
    options.pop("sliding_window", None)  # the mask alone says what is seen, in every layer alike
    if memory_keys is None:
        return sdpa(module, query, key, value, attention_mask, **options), None
    keys, values = memory_keys.extend(module, key, value)
    if memory_keys.query_chunks is not None:
        return in_query_chunks(module, query, keys, values, memory_keys.query_chunks, **options), None
    # Under autocast RoPE leaves queries and keys in float32; not every FlexAttention takes them beside bfloat16 values.
    query, keys = query.to(values.dtype), keys.to(values.dtype)
    if query.is_cuda:
        # For fewer than 128 queries torch would take its decoding kernel, which has no choice of blocks for them.
        kernel = {"FORCE_USE_FLEX_ATTENTION": True}
        return flex_attention_forward(module, query, keys, values, attention_mask, kernel_options=kernel, **options)
    # The compiled kernel for CPUs fails for some lengths; this is its reference, and has a forward alone.
    scale = options["scaling"]
    out = flex_attention(query, keys, values, block_mask=attention_mask, scale=scale, enable_gqa=True)
    return out.transpose(1, 2), None


def sdpa(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **options: Any) -> Tensor:
    """Torch's own attention: [B, T, H, D]. CPUs group query heads without copying keys, under a mask too.

    On a GPU without cuDNN's kernel, which torch 2.11 and later prefer on Hopper: under a mask its backward pass gives
    NaN for some lengths (pytorch/pytorch#196678), and ours stopped at an illegal memory access.
    """
    if query.device.type != "cpu":
        with sdpa_kernel(SAFE_KERNELS):
            return sdpa_attention_forward(module, query, key, value, mask, **options)[0]
    dropout, scale = options.get("dropout", 0.0), options.get("scaling")
    out = scaled_dot_product_attention(query, key, value, mask, dropout, scale=scale, enable_gqa=True)
    return out.transpose(1, 2)


def in_query_chunks(
    module: nn.Module, query: Tensor, keys: Tensor, values: Tensor, query_chunks: list[QueryChunk], **options: Any
) -> Tensor:
    """SDPA over split keys, each piece with what it may see: [B, T, H, D]."""
    length = query.shape[2]
    places = [(one.own, slice(length, length + one.copies)) for one in query_chunks]
    pieces = zip(query.split([one.mask.shape[2] for one in query_chunks], dim=2), query_chunks, strict=True)
    seen_keys, seen_values = (SeenByChunk.apply(x, places) for x in (keys, values))
    outs = [
        sdpa(module, piece, own, value, one.mask, **options)
        for (piece, one), own, value in zip(pieces, seen_keys, seen_values, strict=True)
    ]
    return torch.cat(outs, dim=1)


class SeenByChunk(torch.autograd.Function):
    """Keys or values [B, H, K, D] to what each chunk of queries sees of them, two stretches joined.

    Slices of a tensor would each give a gradient of its whole size, mostly zeros, and there are many chunks: here all
    are added into one.
    """

    @staticmethod
    def forward(ctx: Any, whole: Tensor, places: list[tuple[slice, slice]]) -> tuple[Tensor, ...]:
        ctx.places, ctx.shape = places, whole.shape
        return tuple(torch.cat([whole[:, :, one], whole[:, :, other]], dim=2) for one, other in places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].new_zeros(ctx.shape)
        for (one, other), gradient in reversed(list(zip(ctx.places, gradients, strict=True))):
            first = one.stop - one.start
            total[:, :, one] += gradient[:, :, :first]
            total[:, :, other] += gradient[:, :, first:]
        return total, None


def origin_of(layout: LayoutBatch, kept: Tensor) -> Tensor:
    """The interval that each key is of, own keys and copies: int64 [B, T + M]."""
    return torch.cat([layout.interval, layout.interval.gather(1, kept.clamp(min=0))], dim=1)


def query_chunks(layout: LayoutBatch, kept: Tensor, size: int = QUERY_CHUNK) -> list[QueryChunk]:
    """The one-pass mask for SDPA, `size` queries at a time; own keys and copies that no row's queries see are left out.

    Padding queries see themselves, because an attention row without any key is undefined.
    """
    first, last = visible_intervals(layout, kept)
    now, device = layout.interval, layout.interval.device
    place = torch.arange(now.shape[1], device=device)
    fresh = torch.nn.functional.pad(now[:, 1:] != now[:, :-1], (1, 0), value=True)
    starts = torch.where(fresh, place, 0).cummax(1).values  # where each token's interval begins
    starts = torch.where(layout.kind == Kind.PAD, place, starts).amin(0).tolist()
    latest = now.amax(0)  # the furthest row's interval at each place
    born = first[:, now.shape[1] :]
    origin, viewed = origin_of(layout, kept), bool((layout.view[..., 1] != NEVER).any())
    found = []
    for start in range(0, now.shape[1], size):
        stop = min(start + size, now.shape[1])
        copies = int((born <= latest[start:stop].max()).sum(1).max())
        low = starts[start]
        keys = torch.cat([place[low:stop], now.shape[1] + torch.arange(copies, device=device)])
        query = now[:, start:stop, None]
        seen = (first[:, keys][:, None] <= query) & (query <= last[:, keys][:, None])
        if viewed:
            seen &= in_view(layout.view[:, start:stop, None], query, origin[:, keys][:, None])
        past = (keys <= place[start:stop, None]) | (keys >= now.shape[1])
        itself = keys == place[start:stop, None]
        mask = (seen & past | itself)[:, None]
        found.append(QueryChunk(slice(start, stop), slice(low, stop), copies, mask))
    return found


def mask_for_generate(
    batch_size: int,
    kv_length: int,
    q_length: int = 0,
    q_offset: int | Tensor = 0,
    cache_position: Tensor | None = None,
    attention_mask: Tensor | None = None,
    device: torch.device | str = "cpu",
    **_: Any,
) -> Tensor:
    """The mask `generate` runs on, bool [B, 1, queries, keys]: causal, padding hidden, and always there.

    `attention_mask` is bool or int [B, keys]. Sliding windows are left out, because they would forget SSTs. Releases of
    transformers before 5.4 say where the queries stand by `cache_position` [queries], later ones by offset and length.
    """
    queries = torch.arange(q_length, device=device) + q_offset if cache_position is None else cache_position
    causal = torch.arange(kv_length, device=device) <= queries[:, None]
    mask = causal.expand(batch_size, 1, -1, -1)
    if attention_mask is None:
        return mask
    real = torch.nn.functional.pad(attention_mask.bool(), (0, kv_length - attention_mask.shape[1]))
    return mask & real[:, None, None, :]


def block_mask(layout: LayoutBatch, kept: Tensor) -> BlockMask:
    """The one-pass mask for FlexAttention: queries [T], keys [T + M], blocks that nobody sees left out."""
    first, last = visible_intervals(layout, kept)
    now, length = layout.interval, layout.interval.shape[1]
    origin, view = origin_of(layout, kept), layout.view

    def sees(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        past = (key <= query) | (key >= length)
        seen = past & (first[row, key] <= now[row, query]) & (now[row, query] <= last[row, key])
        return seen & in_view(view[row, query], now[row, query], origin[row, key]) | (key == query)

    return create_block_mask(sees, len(now), None, length, first.shape[1], device=str(now.device))


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, mask_for_generate)
