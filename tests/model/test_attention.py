"""The attention function: FlexAttention agrees with SDPA, nothing runs without a mask, keys turn as positions do."""

from types import SimpleNamespace

import pytest
import torch

from experiments.measurements.two_paths import allowed
from experiments.random_models import listener, llm_folder
from speech_xl.model.attention import (
    QUERY_CHUNK,
    MemoryKeys,
    RopeShift,
    attend,
    block_mask,
    mask_for_generate,
    query_chunks,
)
from speech_xl.model.layout import LayoutBatch, build_layout
from speech_xl.model.positions import Kind

ROWS = [([6, 6, 5], [2, None, 8], 7), ([9], [4], 3), ([5] * 30, [2] * 30, 20)]
MODULE = SimpleNamespace(num_key_value_groups=2, is_causal=True, training=False)


def batch(scheme="original"):
    return LayoutBatch.collate([build_layout(2, *row, scheme) for row in ROWS])


def random(rows, length, more=0):
    generator = torch.Generator().manual_seed(0)
    shapes = [(rows, 4, length, 8), (rows, 2, length + more, 8), (rows, 2, length + more, 8)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@torch.no_grad()
def test_query_chunks_and_flex_and_the_plain_mask_agree_on_a_ragged_batch(size):
    layout = batch()
    real, kept = layout.kind != Kind.PAD, layout.kept()
    index = kept.clamp(min=0)
    query, key, value = random(*layout.kind.shape)
    nothing = torch.zeros(len(index), 1, 0, 0, dtype=torch.bool)
    plain = attend(MODULE, query, key, value, allowed(layout), scaling=0.3)[0]
    cut = MemoryKeys(index, query_chunks=query_chunks(layout, kept, size))
    for mask, keys in ((nothing, cut), (block_mask(layout, kept), MemoryKeys(index))):
        out = attend(MODULE, query, key, value, mask, memory_keys=keys, scaling=0.3)[0]
        torch.testing.assert_close(out[real], plain[real], atol=1e-12, rtol=1e-10)
        assert out.isfinite().all(), "padding too"


def test_query_chunks_leave_out_what_nobody_sees():
    """2,000 frames at 16x: a query is multiplied with its piece, its interval and the SSTs so far, not with all."""
    layout = LayoutBatch.collate([build_layout(16, [50] * 40, [16] * 40, 32)])
    found = query_chunks(layout, layout.kept())
    assert [p.queries.start for p in found] == list(range(0, layout.kind.shape[1], QUERY_CHUNK))
    held = int((layout.kind == Kind.SST).sum()) + 16
    for piece in found:
        assert piece.mask.shape[3] == piece.own.stop - piece.own.start + piece.copies
        assert piece.own.stop - piece.own.start <= QUERY_CHUNK + 54 and piece.copies <= held
    multiplied = sum(piece.mask[0, 0].numel() for piece in found)
    assert multiplied < 0.4 * layout.kind.shape[1] ** 2 / 2
    assert all(piece.mask.any(3).all() for piece in found), "a query without any key has no attention"


def test_split_keys_leave_flex_most_blocks_to_skip():
    """Interleaved SSTs touch nearly every block below the diagonal; copies behind the tokens don't."""
    layout = LayoutBatch.collate([build_layout(16, [50] * 150, [16] * 150, 32)])
    split = block_mask(layout, layout.kept())
    blocks = split.kv_num_blocks.sum() + split.full_kv_num_blocks.sum()
    rows = split.kv_num_blocks.shape[2]
    assert blocks < 0.25 * rows * (rows + 1) / 2


def test_nothing_runs_without_a_mask():
    with pytest.raises(RuntimeError, match=r"run without a mask.*attention_mask"):
        attend(MODULE, *random(1, 4), None)


def test_a_sliding_window_does_not_hide_ssts():
    query, key, value = random(1, 6)
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool).tril()
    free = attend(MODULE, query, key, value, mask, scaling=0.3)[0]
    assert attend(MODULE, query, key, value, mask, scaling=0.3, sliding_window=2)[0].equal(free)


def test_generates_mask_is_causal_behind_what_was_cached():
    padding = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 0, 1]])
    by_offset = mask_for_generate(2, 5, q_length=2, q_offset=3, attention_mask=padding)
    assert by_offset[:, 0].long().tolist() == [
        [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
        [[0, 1, 1, 0, 0], [0, 1, 1, 0, 1]],
    ]
    by_place = mask_for_generate(2, 5, cache_position=torch.tensor([3, 4]), attention_mask=padding)
    assert by_place.equal(by_offset)
    assert mask_for_generate(1, 3, q_length=1, q_offset=2).all(), "no padding, no skipping either"


@pytest.mark.parametrize("family", ["llama", "llama3", "yarn", "gemma3", "smollm3"])
@torch.no_grad()
def test_turned_keys_are_keys_at_the_other_position(tmp_path, family):
    """R(p + s) k = R(s) R(p) k with each layer's frequencies and scale; layers without RoPE are left alone."""
    model = listener(llm_folder(tmp_path, family), positions="compact")
    decoder, turn = model.llm.decoder, model.llm.rope_shift
    places, shift = torch.tensor([[3, 40, 7]]), torch.tensor([[5, -20, 0]])
    turned_by = turn.by(shift)
    for number, layer in enumerate(decoder.layers):
        keys = {}
        for name, position in (("before", places), ("after", places + shift)):
            kept = Cached()
            which = {"layer_type": layer.self_attn.layer_type} if turn.by_type else {}
            hidden = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
            layer.self_attn(
                hidden,
                position_embeddings=decoder.rotary_emb(hidden, position, **which),
                attention_mask=torch.ones(1, 1, 3, 3, dtype=torch.bool),
                **{model.llm.cache_argument: kept},
            )
            keys[name] = kept.keys
        turned = turned_by(layer.self_attn, keys["before"])
        torch.testing.assert_close(turned, keys["after"], atol=1e-5, rtol=1e-5)
        assert turned.equal(keys["before"]) == (family == "smollm3" and number == 1)


class Cached:
    """Takes a layer's keys on their way to the attention."""

    def update(self, keys, values, *_args, **_options):
        self.keys = keys
        return keys, values


def test_a_decoder_without_rotary_module_is_refused():
    with pytest.raises(ValueError, match="no rotary_emb.*choose 'original'"):
        RopeShift(torch.nn.Linear(1, 1))
