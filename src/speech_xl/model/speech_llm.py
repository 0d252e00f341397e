"""The backbone all phases share: encoder, adapter, LLM and SSTs, with its two execution paths.

`forward` is one pass over whole sequences with the layout's mask (training); `prefill` and `generate` go interval by
interval through a pruned KV cache (inference). They compute the same function; tests/model/test_exactness.py holds
them to it.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.utils.rnn import pad_sequence
from transformers import LogitsProcessor

from speech_xl.model.adapters import Adapted, Adapter
from speech_xl.model.answer_loss import answer_loss
from speech_xl.model.attention import MemoryKeys, block_mask, query_chunks
from speech_xl.model.context import warn_beyond_context
from speech_xl.model.decoding_rules import DecodingRules
from speech_xl.model.encoder import Encoder
from speech_xl.model.fingerprint import KnownFingerprint, meaning, settings
from speech_xl.model.frame_code import FrameCode
from speech_xl.model.generation import StepWatch, TokenWatch, greedy_answers
from speech_xl.model.groups import Groups
from speech_xl.model.kv_memory import FrozenMemory, KeyShift, KVMemory
from speech_xl.model.layout import Layout, LayoutBatch, Placement, View, build_layout
from speech_xl.model.llm import LLM
from speech_xl.model.positions import Kind, Scheme
from speech_xl.model.prompt import Suffix
from speech_xl.model.speech import GeneratedText, OnePass, Ratios, Speech, TokenStates
from speech_xl.model.sst import SSTs, attention_modules


class SpeechLLM(nn.Module):
    """Encoder + adapter + LLM (+ SSTs once `add_sst` was called). `build` loads or makes the weights.

    lineage     what its weights come from, as plain data; None where they come from no file
    decoding    what its answers may be
    frame_code  what speech frames and SSTs hold beside what is heard; by default nothing
    """

    lineage: dict[str, Any] | None = None

    def __init__(
        self,
        encoder: Encoder,
        adapter: Adapter,
        llm: LLM,
        decoding: DecodingRules | None = None,
        frame_code: FrameCode | None = None,
    ) -> None:
        super().__init__()
        self.decoding = decoding or DecodingRules()
        self.encoder, self.adapter, self.llm = encoder, adapter, llm
        self.frame_code = frame_code or FrameCode()
        self.sst: SSTs | None = None
        self.built, self._fingerprint = False, KnownFingerprint()

    def build(self) -> None:
        """Make or load every parameter; calling it again does nothing."""
        if self.built:
            return
        self.llm.build()
        self.encoder.build(self.adapter.layers)
        scale = self.llm.embedding.weight.detach().float().square().mean().sqrt().item()
        self.adapter.build(self.encoder.width, self.llm.width, scale)
        self.frame_code.build(self.llm.width, scale)
        self.built = True

    def add_sst(self, sst: SSTs) -> None:
        """Give the backbone SSTs, initialised from the LLM as it is now."""
        sst.build(self.llm.decoder, self.llm.embedding)
        self.sst = sst

    @property
    def frame_rate(self) -> float:
        """Speech frames a second, after the adapter."""
        return self.encoder.frame_rate / self.adapter.stride

    @property
    def device(self) -> torch.device:
        return self.llm.embedding.weight.device

    def processors(self, instructions: Sequence[str], seconds: Sequence[float]) -> list[LogitsProcessor]:
        """What the next token of answers to these instructions must obey, each about so many seconds of audio."""
        return self.decoding.processors(self.llm.prompt, instructions, seconds, self.device)

    def adapt(self, encoded: Sequence[Tensor], first: int | Tensor = 0) -> Adapted:
        """Encoder frames, one [L, F, D_enc] a row, to speech frames, the first of which is number `first` of its
        session (or int64 [B])."""
        parameter = next(self.adapter.parameters())
        lengths = torch.tensor([e.shape[1] for e in encoded], device=parameter.device)
        rows = [e.transpose(0, 1).to(parameter) for e in encoded]
        padded = pad_sequence(rows, batch_first=True).transpose(1, 2)
        adapted = self.adapter(padded, lengths, self.llm.embedding.weight)
        return adapted._replace(frames=self.frame_code(adapted.frames, first))

    def check_ratios(self, ratios: Ratios) -> None:
        """Raises ValueError where compression is asked of a model without SSTs."""
        if self.sst is None and any(ratio is not None for row in ratios for ratio in row):
            raise ValueError("a compression ratio was asked for, but this model has no SSTs: train stage 3 first")

    def layouts(
        self,
        speech: Speech,
        ratios: Ratios,
        suffixes: Sequence[int | Sequence[int]],
        views: Sequence[Sequence[View | None]] = (),
    ) -> list[Layout]:
        self.check_ratios(ratios)
        prefix = len(self.llm.prompt.prefix)
        rows = zip(speech.intervals, ratios, suffixes, views or [()] * len(speech), strict=True)
        return [build_layout(prefix, *row, *self.layout_options, views=seen) for *row, seen in rows]

    def identity(self) -> str:
        """Names these very weights, their configs and settings: a KV cache means nothing to any other model.

        Reckoned again only where one of them has changed."""
        parts = {"encoder": self.encoder, "adapter": self.adapter, "frame_code": self.frame_code, "sst": self.sst}
        configs = [meaning(getattr(part.model, "config", None)) for part in (self.llm, self.encoder)]
        about = json.dumps([settings(parts), self.llm.prompt.prefix, configs], sort_keys=True, default=str)
        return self._fingerprint(self.state_dict(), about)

    @property
    def positions(self) -> Scheme:
        return "original" if self.sst is None else self.sst.positions

    @property
    def placement(self) -> Placement:
        return "interleaved" if self.sst is None else self.sst.placement

    @property
    def layout_options(self) -> tuple[Scheme, Placement, int]:
        return self.positions, self.placement, 0 if self.sst is None else self.sst.carried_frames

    def embed(self, layout: LayoutBatch, speech: Speech, suffix_ids: Tensor) -> Tensor:
        """Token embeddings [B, T, D] in layout order; padding gets whatever stands at source 0."""
        embedding = self.llm.embedding
        prefix = torch.tensor(self.llm.prompt.prefix, dtype=torch.long, device=suffix_ids.device)
        tables = [
            embedding(prefix).expand(len(speech), -1, -1),
            speech.frames.to(embedding.weight.dtype),
            embedding(suffix_ids),
        ]
        starts = torch.tensor([0, *(t.shape[1] for t in tables)], device=suffix_ids.device).cumsum(0)
        table_of = torch.tensor([0, 1, 1, 2, 1, 1], device=suffix_ids.device)  # by Kind
        index = starts[table_of[layout.kind.clamp(min=0)]] + layout.source
        table = torch.cat(tables, dim=1)
        rows = table.gather(1, index[..., None].expand(-1, -1, table.shape[2]))
        if self.sst is None:
            return rows
        frames, groups = tables[1].flatten(0, 1), Groups.of(layout, tables[1].shape[1])
        sst_rows = self.frame_code.onto_groups(self.sst.rows(frames, groups), frames[groups.center])
        return rows.masked_scatter((layout.kind == Kind.SST)[..., None], sst_rows)

    def decode(
        self,
        embeds: Tensor,
        kind: Tensor,
        position: Tensor,
        mask: Tensor | BlockMask,
        memory: KVMemory | None,
        memory_keys: MemoryKeys | None = None,
    ) -> Tensor:
        """Run the decoder, SST rows through their own projections: hidden states [B, T, D]."""
        extra: dict[str, Any] = {self.llm.cache_argument: None if memory is None else memory.cache}
        extra |= {} if memory_keys is None else {"memory_keys": memory_keys}
        if self.sst is not None:
            extra["sst_rows"] = (kind.reshape(-1) == Kind.SST).nonzero().squeeze(1)
        about = {"attention_mask": mask, "position_ids": position, "use_cache": memory is not None}
        return self.llm.decoder(inputs_embeds=embeds, **about, **extra).last_hidden_state

    def forward(
        self,
        speech: Speech,
        ratios: Ratios,
        suffixes: Sequence[Suffix | Sequence[Suffix]],
        weights: Sequence[float] | None = None,
        keep: Collection[Literal["labels", "states"]] = (),
    ) -> OnePass:
        """One pass: the summed cross entropy of the answers' tokens, with frames hidden outside their interval.

        suffixes: of each row what follows its audio; of several, none sees another.
        weights: what a label token of each row counts, 1 where it is left out.
        keep: what else the result has; it takes memory until the backward pass is done.
        """
        rows = [[one] if isinstance(one, Suffix) else list(one) for one in suffixes]
        lengths = [[len(suffix.ids) for suffix in row] for row in rows]
        layouts = self.layouts(speech, ratios, lengths, [[suffix.view for suffix in row] for row in rows])
        warn_beyond_context(self, max(int(one.position.max()) for one in layouts) + 1, self.positions)
        batch = LayoutBatch.collate(layouts, self.device)
        joined = [Suffix.joined(row) for row in rows]
        ids = pad_sequence([torch.tensor(suffix.ids, device=self.device) for suffix in joined], batch_first=True)
        embeds = self.embed(batch, speech, ids)
        mask, memory_keys = self.view(batch)
        hidden = self.decode(embeds, batch.kind, batch.position, mask, None, memory_keys)
        out = answer_loss(self.llm, hidden, batch.kind, layouts, joined, weights, "labels" in keep)
        return replace(out, states=TokenStates(hidden, batch)) if "states" in keep else out

    def view(self, batch: LayoutBatch) -> tuple[Tensor | BlockMask, MemoryKeys]:
        """What a one-pass sequence sees: its mask, and the keys of what is remembered, which the mask counts on.

        For SDPA the mask lies in the query chunks, and the one beside them is empty, of no use to any other function.
        """
        kept = batch.kept()
        index, shift = kept.clamp(min=0), None
        if self.positions == "compact":
            shift = self.llm.rope_shift.by((batch.position_after - batch.position).gather(1, index))
        if self.llm.flex:
            return block_mask(batch, kept), MemoryKeys(index, shift)
        nothing = index.new_zeros(len(index), 1, 0, 0, dtype=torch.bool)
        return nothing, MemoryKeys(index, shift, query_chunks(batch, kept))

    def start(self, rows: int) -> KVMemory:
        """A memory of `rows` listeners who have read the prefix and heard nothing."""
        memory = KVMemory(self.llm.model.config.num_hidden_layers, rows, self.device)
        ids = torch.tensor(self.llm.prompt.prefix, dtype=torch.long, device=self.device).expand(rows, -1)
        if ids.shape[1]:
            kind = torch.full_like(ids, Kind.PREFIX)
            position = torch.arange(ids.shape[1], device=self.device).expand(rows, -1)
            self.decode(self.llm.embedding(ids), kind, position, memory.step_mask(kind), memory)
            memory.prune(kind)
            memory.position += ids.shape[1]
        memory.note(torch.ones(rows, dtype=torch.bool, device=self.device))
        return memory

    def compress_interval(
        self, memory: KVMemory, frames: Tensor, lengths: Sequence[int], ratios: Sequence[int | None]
    ) -> None:
        """One more interval of every row: frames [B, n, D], of which the first ``lengths[row]`` (0: none) count.

        Afterwards the memory holds its SSTs, or its frames where the ratio is None, and frames that it carries on.
        """
        rows = [([n], [ratio]) if n else ([], []) for n, ratio in zip(lengths, ratios, strict=True)]
        layouts = [build_layout(0, *row, 0, *self.layout_options, goes_on=True) for row in rows]
        batch = LayoutBatch.collate(layouts, self.device)
        speech = Speech(frames, torch.tensor(lengths), [intervals for intervals, _ in rows])
        embeds = self.embed(batch, speech, batch.source.new_zeros(len(frames), 0))
        position = batch.position + memory.position[:, None]
        self.decode(embeds, batch.kind, position, memory.step_mask(batch.kind, memory.recall()), memory)
        recalled = memory.carried_valid.shape[1]  # they stay where they stand
        shift = nn.functional.pad(batch.position_after - batch.position, (recalled, 0))
        memory.prune(batch.kind, self._key_shift(shift))
        memory.position += torch.tensor([layout.next for layout in layouts], device=self.device)
        memory.note(torch.tensor(lengths, device=self.device) > 0)

    def prefill(self, speech: Speech, ratios: Ratios) -> KVMemory:
        """Interval by interval: after each, its frames' KV is dropped and its SSTs' KV stays."""
        self.check_ratios(ratios)
        memory = self.start(len(speech))
        starts = [0] * len(speech)
        for number in range(max(len(row) for row in speech.intervals)):
            lengths = [row[number] if number < len(row) else 0 for row in speech.intervals]
            chunks = [f[s : s + n] for f, s, n in zip(speech.frames, starts, lengths, strict=True)]
            interval_ratios = [row[number] if number < len(row) else None for row in ratios]
            self.compress_interval(memory, pad_sequence(chunks, batch_first=True), lengths, interval_ratios)
            starts = [s + n for s, n in zip(starts, lengths, strict=True)]
        return memory

    def _key_shift(self, shift: Tensor) -> KeyShift | None:
        """What moves keys of a chunk by shift [B, T] when its interval is over; None where nothing moves."""
        if self.positions != "compact":
            return None
        layers = attention_modules(self.llm.decoder)

        def of(which: Tensor) -> Callable[[int, Tensor], Tensor]:
            key_shift = self.llm.rope_shift.by(shift.gather(1, which))
            return lambda number, keys: key_shift(layers[number], keys)

        return of

    @torch.no_grad()
    def generate(
        self,
        memory: KVMemory | FrozenMemory,
        rows: Sequence[int],
        instructions: Sequence[str | list[int]],
        limits: Sequence[int],
        rules: Sequence[LogitsProcessor] = (),
        watch: TokenWatch | StepWatch | None = None,
        views: Sequence[View | None] = (),
    ) -> list[GeneratedText]:
        """Greedy answers: question q goes to memory row ``rows[q]`` and gets at most ``limits[q]`` tokens.

        instructions: their texts, or their ids as `Prompt.question` gives them; rules: what else the next token must
        obey; watch: is shown each token of a single question; views: first and last interval that a question sees. The
        memory is left as it was, and each limit holds on its own. Raises ValueError where a frozen memory has no room
        or a question is too long. Warns, once, where positions go beyond the LLM's context.
        """
        return greedy_answers(self, memory, rows, instructions, limits, rules, watch, views)
