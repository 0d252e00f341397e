"""The memory: what is kept and for how long, and forks that leave the original alone."""

from types import SimpleNamespace

import pytest
import torch
from transformers import cache_utils

from experiments.random_models import listener, llm_folder, speech
from speech_xl.model.kv_memory import KVMemory, PrunableLayer
from speech_xl.model.positions import Kind
from speech_xl.model.speech import Speech

INTERVALS = [[6, 6, 5], [4, 3], [9]]
RATIOS = [[2, None, 8], [1, 4], [4]]
P, F, S, K = Kind.PREFIX, Kind.FRAME, Kind.SST, Kind.UNCOMPRESSED


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return listener(llm_folder(tmp_path_factory.mktemp("llm"))).eval()


@pytest.fixture
def memory(model):
    with torch.no_grad():
        return model.prefill(speech(*INTERVALS), RATIOS)


def kept(intervals, ratios):
    """The formula: an SST for every started group, every frame where uncompressed."""
    return sum(n if ratio is None else -(-n // ratio) for n, ratio in zip(intervals, ratios, strict=True))


def test_kept_tokens_follow_the_formula_in_every_layer(model, memory):
    prefix = len(model.llm.prompt.prefix)
    wanted = [prefix + kept(*row) for row in zip(INTERVALS, RATIOS, strict=True)]
    assert memory.kept.tolist() == wanted
    for layer in memory.cache.layers:
        assert layer.keys.shape[2] == layer.values.shape[2] == memory.valid.shape[1] == max(wanted)
        assert layer.get_seq_length() == max(wanted)


def test_the_next_position_counts_every_token_heard(model, memory):
    layouts = model.layouts(speech(*INTERVALS), RATIOS, [0] * 3)
    assert memory.position.tolist() == [len(layout) for layout in layouts]


def test_peak_is_the_fullest_moment_of_the_fullest_row(model, memory):
    prefix = len(model.llm.prompt.prefix)
    # Row 0, at the end of its last interval: prefix, 3 SSTs, 6 kept frames, then 5 frames and their SST.
    assert memory.peak == prefix + 3 + 6 + 5 + 1
    assert memory.peak > int(memory.kept.max())


@torch.no_grad()
def test_the_bound_is_the_interval_not_the_audio(model):
    """Twenty intervals hold what was kept plus one interval, never all frames."""
    memory = model.prefill(speech([8] * 20), [[8] * 20])
    prefix = len(model.llm.prompt.prefix)
    assert memory.peak == prefix + 19 + 8 + 1
    assert memory.kept.tolist() == [prefix + 20]


def snapshot(memory):
    parts = [tensor.clone() for layer in memory.cache.layers for tensor in (layer.keys, layer.values)]
    return [*parts, memory.valid.clone(), memory.position.clone()], memory.peak


def same(one, other):
    return one[1] == other[1] and all(a.equal(b) for a, b in zip(one[0], other[0], strict=True))


@torch.no_grad()
def test_answering_leaves_the_memory_as_it_was(model, memory):
    before = snapshot(memory)
    first = model.generate(memory, [0, 1, 2, 0], ["who?", "what was said?", "x", "where?"], [5, 6, 7, 8])
    assert same(before, snapshot(memory))
    assert first == model.generate(memory, [0, 1, 2, 0], ["who?", "what was said?", "x", "where?"], [5, 6, 7, 8])


@torch.no_grad()
def test_a_fork_shares_nothing_with_its_original(memory):
    before = snapshot(memory)
    fork = memory.select([2, 0, 0])
    assert fork.kept.tolist() == memory.kept[[2, 0, 0]].tolist()
    assert fork.position.tolist() == memory.position[[2, 0, 0]].tolist()
    for mine, theirs in zip(fork.cache.layers, memory.cache.layers, strict=True):
        assert mine.keys.equal(theirs.keys[[2, 0, 0]]) and mine.values.equal(theirs.values[[2, 0, 0]])
        mine.keys.zero_()
        mine.values.add_(1.0)
    fork.valid.zero_()
    fork.position.add_(5)
    fork.prune(torch.zeros(3, 0, dtype=torch.long))
    assert same(before, snapshot(memory))


@torch.no_grad()
def test_a_fork_of_all_rows_in_order_is_a_copy_as_well(memory):
    before = snapshot(memory)
    fork = memory.select(range(3))
    fork.cache.layers[0].keys.zero_()
    fork.valid.zero_()
    assert same(before, snapshot(memory))


@torch.no_grad()
@pytest.mark.parametrize("shared", [True, False])
def test_a_fork_shares_what_is_held_and_both_go_on_alone(model, memory, shared):
    memory = model.prefill(speech([6, 6], [6, 6], [6, 6]), [[2, 4]] * 3) if shared else memory
    copied, fork = memory.select(range(3)), memory.fork()
    for mine, theirs in zip(fork.cache.layers, memory.cache.layers, strict=True):
        assert (mine.keys.data_ptr() == theirs.keys.data_ptr()) is shared
        assert (mine.values.data_ptr() == theirs.values.data_ptr()) is shared
    frames, other = speech([7], [7], [7]).frames, -speech([5], [5], [5]).frames
    twin = memory.select(range(3))
    model.compress_interval(memory, frames, [7] * 3, [2] * 3)  # writes behind what both hold
    assert same(snapshot(copied), snapshot(fork))
    model.compress_interval(twin, frames, [7] * 3, [2] * 3)
    model.compress_interval(fork, other, [5] * 3, [4] * 3)
    model.compress_interval(copied, other, [5] * 3, [4] * 3)
    assert same(snapshot(copied), snapshot(fork)) and same(snapshot(twin), snapshot(memory))


@torch.no_grad()
@pytest.mark.parametrize("positions", ["original", "compact"])
def test_a_row_that_reads_nothing_goes_on_carrying(tmp_path, positions):
    model = listener(llm_folder(tmp_path, "llama3"), positions=positions, carried_frames=3).eval()
    heard = speech([4, 3], [5, 6])
    both, (first, second) = model.start(2), heard.frames.split(1)
    model.compress_interval(both, heard.frames[:, :5], [4, 5], [2, 2])
    model.compress_interval(both, second[:, 5:11].expand(2, -1, -1), [0, 6], [None, 4])
    assert both.carried_valid.tolist() == [[True] * 3] * 2
    kept = [row for row in both.kept.tolist()]
    assert both.peak == kept[1] - 2 + 3 + 6 + 2, "what was carried is held beside the interval"
    model.compress_interval(both, first[:, 4:7].expand(2, -1, -1), [3, 0], [2, None])
    for number, row in enumerate((first, second)):
        alone = model.prefill(
            Speech(row, heard.lengths[number : number + 1], [heard.intervals[number]]), [[2, 2 + 2 * number]]
        )
        mine = both.row(number)
        assert mine.position.equal(alone.position) and mine.tensors().keys() == alone.tensors().keys()
        for name, tensor in alone.tensors().items():
            torch.testing.assert_close(mine.tensors()[name], tensor, msg=name)


@torch.no_grad()
def test_forks_and_files_carry_too(tmp_path):
    model = listener(llm_folder(tmp_path), carried_frames=2).eval()
    memory = model.prefill(speech([6, 6], [3]), [[2, 4], [4]])
    frames = speech([4], [4]).frames
    fork, copied = memory.fork(), memory.select([0, 1])
    restored = KVMemory.from_tensors({name: t.clone() for name, t in memory.tensors().items()}, memory.peak)
    for one in (fork, copied, restored, memory):
        model.compress_interval(one, frames, [4, 4], [2, 2])
    for one in (fork, copied, restored):
        assert one.tensors().keys() == memory.tensors().keys()
        assert all(tensor.equal(memory.tensors()[name]) for name, tensor in one.tensors().items())


def test_pruning_keeps_order_and_packs_rows():
    memory = KVMemory(1, 2, torch.device("cpu"))
    layer = memory.cache.layers[0]
    kinds = torch.tensor([[P, F, S, K, F], [P, F, F, S, Kind.PAD]])
    keys = torch.arange(10.0).view(2, 1, 5, 1)
    layer.update(keys, keys + 100)
    memory.prune(kinds)
    assert layer.keys[0, 0, :, 0].tolist() == [0.0, 2.0, 3.0]
    assert layer.keys[1, 0, :2, 0].tolist() == [5.0, 8.0]
    assert layer.values.equal(layer.keys + 100)
    assert memory.valid.tolist() == [[True, True, True], [True, True, False]]
    assert memory.peak == 5
    # The next chunk: row 1's padding slot goes, so that no row holds more than it must.
    layer.update(keys[:, :, :2] + 20, keys[:, :, :2] + 120)
    memory.prune(torch.tensor([[F, F], [F, S]]))
    assert layer.keys[0, 0, :, 0].tolist() == [0.0, 2.0, 3.0]
    assert layer.keys[1, 0, :, 0].tolist() == [5.0, 8.0, 26.0]
    assert memory.valid.all() and memory.peak == 5


@torch.no_grad()
def test_what_is_held_is_copied_only_when_the_room_is_used_up():
    layer, chunks = PrunableLayer(), torch.randn(40, 2, 1, 5, 3).unbind()
    places = set()
    for number, chunk in enumerate(chunks, 1):
        keys, values = layer.update(chunk, -chunk)
        assert keys.equal(torch.cat(chunks[:number], dim=2)) and values.equal(-keys)
        places.add(keys.data_ptr())
    assert len(places) == 4  # 200 tokens: room for 69, then 134, 199 and 264


@torch.no_grad()
def test_what_follows_keys_put_in_from_outside_is_behind_those():
    """An eviction replaces what a layer holds; the room of what was there before is not theirs."""
    layer, chunk = PrunableLayer(), torch.randn(1, 1, 5, 3)
    layer.update(chunk, chunk)
    others = torch.randn(1, 1, 4, 3)
    layer.keys, layer.values = others, others + 1
    keys, values = layer.update(chunk, chunk)
    assert keys.equal(torch.cat([others, chunk], dim=2)) and values.equal(torch.cat([others + 1, chunk], dim=2))


@torch.no_grad()
def test_a_memory_made_of_anothers_tensors_keeps_them_when_the_other_goes_on(model, memory):
    """Rows of unlike length: the shorter ones' padding is where the other writes next."""
    twin = KVMemory.from_tensors(memory.tensors(), memory.peak)
    before = held(twin)
    model.compress_interval(memory, torch.randn(3, 8, 32, dtype=torch.float64), [8, 8, 8], [2, 4, None])
    assert held(twin).equal(before)
    theirs = held(memory)
    model.compress_interval(twin, torch.randn(3, 8, 32, dtype=torch.float64), [8, 8, 8], [2, 4, None])
    assert held(memory).equal(theirs)


def held(memory):
    """All keys and values but padding, in a row."""
    real = memory.valid[:, None, :, None]
    parts = (tensor.masked_select(real) for layer in memory.cache.layers for tensor in (layer.keys, layer.values))
    return torch.cat(list(parts))


def test_a_chunk_sees_what_is_valid_and_its_own_past():
    memory = SimpleNamespace(valid=torch.tensor([[True, False], [True, True]]))
    mask = KVMemory.step_mask(memory, torch.tensor([[F, S, Kind.PAD], [F, F, S]]))
    assert mask.shape == (2, 1, 3, 5)
    # Padding sees itself alone beside the memory: a query without any key is undefined.
    assert mask[0, 0].int().tolist() == [[1, 0, 1, 0, 0], [1, 0, 1, 1, 0], [1, 0, 1, 1, 1]]
    assert mask[1, 0].int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


QUESTIONS = ["who?", "what was said, by whom, and when?", "x", "where?"]


@torch.no_grad()
def test_a_static_memory_answers_as_the_memory_it_was_made_of(model, memory):
    rows, limits = [0, 1, 2, 0], [5, 6, 7, 8]
    wanted = model.generate(memory, rows, QUESTIONS, limits)
    frozen = memory.freeze("static", capacity=64)
    assert {layer.keys.shape[2] for layer in frozen.cache.layers} == {memory.valid.shape[1] + 64}
    for _ in range(2):  # asking leaves it as it was
        assert model.generate(frozen, rows, QUESTIONS, limits) == wanted
    with pytest.raises(ValueError, match=r"up to 60 don't fit the capacity of 64: .* larger capacity"):
        model.generate(frozen, [0], QUESTIONS[:1], [60])


@torch.no_grad()
@pytest.mark.skipif(not hasattr(cache_utils, "Fp8QuantizedLayer"), reason="an older transformers")
def test_an_fp8_memory_holds_eight_bits_a_number_and_nearly_the_same_numbers(model, memory):
    frozen = memory.freeze("fp8")
    for layer, full in zip(frozen.cache.layers, memory.cache.layers, strict=True):
        keys, scale = layer._quantized_keys
        assert keys.element_size() == 1 and keys.shape == full.keys.shape
        assert (keys.double() * scale - full.keys).abs().max() < 0.07 * full.keys.abs().max()
        assert not torch.equal(keys.double() * scale, full.keys)
    rows, limits = [0, 1, 2, 0], [5, 6, 7, 8]
    answers = model.generate(frozen, rows, QUESTIONS, limits)
    assert len(answers) == 4 and answers == model.generate(frozen, rows, QUESTIONS, limits)
    fork = frozen.select([2, 0])
    assert fork.valid.equal(memory.valid[[2, 0]]) and fork.position.equal(memory.position[[2, 0]])


def test_another_kind_of_seal_is_refused(memory):
    with pytest.raises(ValueError, match="freeze\\('wax'\\): choose 'static'"):
        memory.freeze("wax")
