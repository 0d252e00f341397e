"""The layout: where SSTs stand, what they stand for, and who sees whom."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.measurements.two_paths import allowed
from speech_xl.model.groups import Groups
from speech_xl.model.layout import LayoutBatch, build_layout, interval_frames, place_ssts, visible_intervals
from speech_xl.model.positions import Kind

P, F, S, X, K = Kind.PREFIX, Kind.FRAME, Kind.SST, Kind.SUFFIX, Kind.UNCOMPRESSED
quick = settings(deadline=None, max_examples=150, derandomize=True)


def test_sst_after_every_ratio_frames_and_after_the_remainder():
    kind, offset, group_size = place_ssts(5, 2)
    assert kind.tolist() == [F, F, S, F, F, S, F, S]
    assert offset.tolist() == [0, 1, 0, 2, 3, 2, 4, 4], "an SST's is that of the frame amid its own"
    assert group_size.tolist() == [0, 0, 2, 0, 0, 2, 0, 1]


def test_ratio_larger_than_the_interval_gives_one_sst_at_its_end():
    assert place_ssts(3, 16)[0].tolist() == [F, F, F, S]


def test_appended_ssts_stand_behind_all_frames():
    kind, offset, group_size = place_ssts(5, 2, "appended")
    assert kind.tolist() == [F, F, F, F, F, S, S, S]
    assert offset.tolist() == [0, 1, 2, 3, 4, 0, 2, 4] and group_size.tolist() == [0, 0, 0, 0, 0, 2, 2, 1]


def test_uncompressed_interval_is_kept_frames_alone():
    kind, offset, group_size = place_ssts(3, None)
    assert kind.tolist() == [K, K, K] and offset.tolist() == [0, 1, 2] and not group_size.any()


@quick
@given(length=st.integers(1, 200), ratio=st.integers(1, 40))
def test_every_frame_belongs_to_exactly_one_sst(length, ratio):
    kind, offset, group_size = place_ssts(length, ratio)
    groups = np.split(kind, np.flatnonzero(kind == S) + 1)
    assert len(groups.pop()) == 0, "frames after the last SST belong to none"
    sizes = [int((group == F).sum()) for group in groups]
    assert len(sizes) == -(-length // ratio)
    assert all(size == ratio for size in sizes[:-1]) and 1 <= sizes[-1] <= ratio
    assert group_size[kind == S].tolist() == sizes and not group_size[kind == F].any()
    assert offset[kind == F].tolist() == list(range(length))


@quick
@given(frames=st.integers(1, 400), width=st.integers(1, 90), ratio=st.integers(1, 40))
def test_over_all_intervals_too(frames, width, ratio):
    """n frames in intervals of w at ratio alpha: each frame is in one group, and each group has one SST at its end."""
    intervals = [width] * (frames // width) + [frames % width] * bool(frames % width)
    layout = build_layout(0, intervals, [ratio] * len(intervals), 0)
    groups = np.split(np.arange(len(layout)), np.flatnonzero(layout.kind == S) + 1)
    assert len(groups.pop()) == 0
    assert len(groups) == sum(-(-n // ratio) for n in intervals) == layout.kept
    heard = []
    for group in groups:
        own = layout.source[group]
        assert own[-1] == own[(len(group) - 2) // 2], "an SST says when the frame amid its own was heard"
        assert (layout.kind[group[:-1]] == F).all() and 1 <= len(group) - 1 <= ratio
        assert len(set(layout.interval[group])) == 1, "a group lies within one interval"
        heard += layout.source[group[:-1]].tolist()
    assert heard == list(range(frames))


@quick
@given(
    rows=st.lists(st.tuples(st.integers(1, 30), st.one_of(st.none(), st.integers(1, 12))), max_size=6),
    prefix=st.integers(0, 4),
    suffix=st.integers(0, 4),
)
def test_layout_holds_every_token_once_and_in_order(rows, prefix, suffix):
    intervals, ratios = [n for n, _ in rows], [ratio for _, ratio in rows]
    layout = build_layout(prefix, intervals, ratios, suffix)
    kept = sum(n if ratio is None else -(-n // ratio) for n, ratio in rows)
    ssts = sum(0 if ratio is None else -(-n // ratio) for n, ratio in rows)
    assert len(layout) == prefix + sum(intervals) + ssts + suffix
    assert (layout.kept, layout.frames) == (kept, sum(intervals))
    audio = np.isin(layout.kind, (F, K))
    assert layout.source[audio].tolist() == list(range(sum(intervals)))
    assert layout.source[layout.kind == P].tolist() == list(range(prefix))
    assert layout.source[layout.kind == X].tolist() == list(range(suffix))
    assert (np.diff(layout.interval) >= 0).all() and (np.diff(layout.position) == 1).all()
    assert (layout.interval[layout.kind == P] == -1).all()
    assert (layout.interval[layout.kind == X] == len(rows)).all()
    for number, (n, ratio) in enumerate(rows):
        mine = layout.kind[layout.interval == number]
        assert int(np.isin(mine, (F, K)).sum()) == n
        assert (mine == K).any() == (ratio is None)


@quick
@given(
    rows=st.lists(
        st.lists(st.tuples(st.integers(1, 30), st.one_of(st.none(), st.integers(1, 12))), min_size=1, max_size=4),
        min_size=1,
        max_size=3,
    ),
    placement=st.sampled_from(["interleaved", "appended"]),
)
def test_the_frames_of_every_sst_are_those_of_its_group(rows, placement):
    intervals, ratios = ([[entry[n] for entry in row] for row in rows] for n in (0, 1))
    both = zip(intervals, ratios, strict=True)
    length = max(map(sum, intervals))
    groups = Groups.of(LayoutBatch.collate([build_layout(2, *row, 1, "original", placement) for row in both]), length)
    expected, start = [], 0
    for number, row in enumerate(rows):
        start = number * length
        for frames, ratio in row:
            held = list(range(start, start + frames))
            expected += [held[n : n + ratio] for n in range(0, frames, ratio)] if ratio else []
            start += frames
    owner, frames = groups.members()
    found = [frames[owner == n].tolist() for n in range(len(groups.center))]
    assert found == expected
    assert groups.center.tolist() == [group[(len(group) - 1) // 2] for group in expected]
    numbers = torch.arange(len(rows) * length, dtype=torch.float64)[:, None]
    assert groups.means(numbers)[:, 0].tolist() == pytest.approx([np.mean(group) for group in expected])


@pytest.mark.parametrize("ratio", [0, -2])
def test_ratio_below_one_is_refused(ratio):
    with pytest.raises(ValueError, match=f"ratio {ratio}: must be an integer >= 1"):
        build_layout(1, [4], [ratio], 1)


def test_empty_interval_and_missing_ratio_are_refused():
    with pytest.raises(ValueError, match="at least one frame, got 0"):
        place_ssts(0, 2)
    with pytest.raises(ValueError, match="2 intervals but 1 ratios"):
        build_layout(0, [3, 3], [2], 0)


def test_interval_frames_follow_the_borders():
    assert interval_frames([4.0, 8.0, 10.0], 125, 12.5) == [50, 50, 25]


def test_interval_longer_than_the_audio_is_one_interval():
    assert interval_frames([30.0], 20, 12.5) == [20]


def test_interval_shorter_than_a_frame_vanishes_into_its_neighbour():
    assert interval_frames([1.0, 1.01, 2.0], 25, 12.5) == [12, 1, 12]
    assert interval_frames([1.0, 1.001, 2.0], 20, 10.0) == [10, 10]


@quick
@given(
    steps=st.lists(st.floats(0.001, 7.0), min_size=1, max_size=12),
    rate=st.sampled_from([6.25, 12.5, 25.0, 50.0]),
    slack=st.integers(-1, 3),
)
def test_interval_frames_lose_no_frame(steps, rate, slack):
    ends = np.cumsum(steps).tolist()
    frames = max(1, int(np.ceil(ends[-1] * rate)) + slack)
    lengths = interval_frames(ends, frames, rate)
    assert sum(lengths) == frames and all(n > 0 for n in lengths) and len(lengths) <= len(ends)


C = Kind.CARRIED


def test_the_last_frames_of_a_compressed_interval_are_carried_on_where_audio_follows():
    layout = build_layout(1, [3, 2, 2], [2, None, 4], [1, 1], "original", carried=2)
    kinds = [P, F, C, S, C, S, K, K, F, F, S, X, X]
    assert layout.kind.tolist() == kinds, "neither an uncompressed interval nor the last one carries"
    assert (layout.kept, layout.frames) == (2 + 2 + 1, 7)
    assert build_layout(0, [2], [4], 0, carried=5, goes_on=True).kind.tolist() == [C, C, S]
    appended = build_layout(0, [3, 1], [2, 2], 1, "original", "appended", carried=1)
    assert appended.kind.tolist() == [F, F, C, S, S, F, S, X]


@pytest.mark.parametrize("placement", ["interleaved", "appended"])
def test_compact_keeps_the_distance_of_carried_frames(placement):
    intervals, ratios = [5, 4, 3], [2, 4, 2]
    layout = build_layout(2, intervals, ratios, 1, "compact", placement, carried=2)
    plain = build_layout(2, intervals, ratios, 1, "original", placement)
    for number in range(2):
        carried = (layout.kind == C) & (layout.interval == number)
        first = np.flatnonzero(layout.interval == number + 1)[0]
        distances = layout.position[first] - layout.position_after[carried]
        assert carried.sum() == 2
        assert distances.tolist() == (plain.position[first] - plain.position[carried]).tolist()
    without = build_layout(2, intervals, ratios, 1, "compact", placement)
    assert layout.position.tolist() == without.position.tolist()
    kept = layout.kind != C
    assert layout.position_after[kept].tolist() == without.position_after[kept].tolist()


def rule(q, k, kind, interval):
    """The rule of the design, one pair at a time."""
    if q == k:
        return True
    return k <= q and kind[k] != Kind.PAD and (kind[k] != F or interval[k] == interval[q])


def test_mask_is_the_rule_for_every_pair_of_a_ragged_batch():
    layouts = [
        build_layout(2, [5, 3, 4], [2, None, 8], 3),
        build_layout(2, [2, 2], [1, 4], 5),
    ]
    batch = LayoutBatch.collate(layouts)
    mask = allowed(batch)
    rows, length = batch.kind.shape
    assert mask.shape == (rows, 1, length, length) and mask.dtype == torch.bool
    for row in range(rows):
        kind, interval = batch.kind[row].tolist(), batch.interval[row].tolist()
        real = [q for q in range(length) if kind[q] != Kind.PAD]
        wanted = [[rule(q, k, kind, interval) for k in range(length)] for q in real]
        assert mask[row, 0, real].tolist() == wanted
        assert mask[row, 0].diagonal().all(), "padding too has a key to attend to"


def test_suffix_sees_ssts_and_kept_frames_but_no_compressed_frame():
    layout = build_layout(2, [4, 3], [2, None], 2)
    batch = LayoutBatch.collate([layout])
    seen = allowed(batch)[0, 0, -1].numpy()
    assert set(layout.kind[seen].tolist()) == {P, S, K, X}
    assert int(np.isin(layout.kind[seen], (S, K)).sum()) == layout.kept


def test_compact_packs_memory_before_each_interval():
    layout = build_layout(2, [4, 3, 2], [2, None, 4], 3, "compact")
    assert layout.kind.tolist() == [P, P, F, F, S, F, F, S, K, K, K, F, F, S, X, X, X]
    assert layout.position.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8, 9, 8, 9, 10]
    assert layout.position_after[layout.kind != F].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert layout.next == 11


def test_interpolated_puts_frames_between_integers():
    layout = build_layout(1, [5, 2], [4, None], 1, "interpolated")
    assert layout.kind.tolist() == [P, F, F, F, F, S, F, S, K, K, X]
    wanted = [0, 0.2, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 4, 5]
    assert layout.position.tolist() == pytest.approx(wanted)
    assert layout.position_after is layout.position and layout.next == 6


@pytest.mark.parametrize(
    ("placement", "kinds", "positions"),
    [
        ("interleaved", [P, F, F, S, F, F, S, F, S, K, K, F, S, X, X], [0, 1, 2, 2, 3, 4, 4, 5, 5, 6, 7, 8, 8, 9, 10]),
        ("appended", [P, F, F, F, F, F, S, S, S, K, K, F, S, X, X], [0, 1, 2, 3, 4, 5, 2, 4, 5, 6, 7, 8, 8, 9, 10]),
    ],
)
def test_shared_puts_an_sst_on_the_last_frame_of_its_own(placement, kinds, positions):
    layout = build_layout(1, [5, 2, 1], [2, None, 4], 2, "shared", placement)
    assert layout.kind.tolist() == kinds and layout.position.tolist() == positions
    assert layout.position_after is layout.position and layout.next == 11


@quick
@given(
    rows=st.lists(st.tuples(st.integers(1, 30), st.one_of(st.none(), st.integers(1, 12))), max_size=6),
    prefix=st.integers(0, 4),
    suffix=st.integers(0, 4),
    placement=st.sampled_from(["interleaved", "appended"]),
)
def test_shared_positions_are_those_of_the_uncompressed_audio(rows, prefix, suffix, placement):
    lengths = [n for n, _ in rows]
    layout = build_layout(prefix, lengths, [ratio for _, ratio in rows], suffix, "shared", placement)
    plain = build_layout(prefix, lengths, [None] * len(rows), suffix)
    assert layout.position[layout.kind != S].tolist() == plain.position.tolist() and layout.next == plain.next
    sst = layout.kind == S
    last = layout.source[sst] + layout.group_size[sst] // 2  # of its frames
    assert layout.position[sst].tolist() == (prefix + last).tolist()


@quick
@given(
    rows=st.lists(st.tuples(st.integers(1, 30), st.one_of(st.none(), st.integers(1, 12))), max_size=6),
    prefix=st.integers(0, 4),
    suffix=st.integers(0, 4),
    scheme=st.sampled_from(["original", "compact", "interpolated"]),
)
def test_positions_rise_within_an_interval_and_over_memory(rows, prefix, suffix, scheme):
    layout = build_layout(prefix, [n for n, _ in rows], [ratio for _, ratio in rows], suffix, scheme)
    same = np.diff(layout.interval) == 0
    assert (np.diff(layout.position)[same] > 0).all()
    kept = layout.kind != F
    assert (np.diff(layout.position_after[kept]) > 0).all()
    if scheme != "original":
        assert layout.position_after[kept].tolist() == list(range(kept.sum()))
    assert layout.next == (0 if not len(layout) else layout.position_after[-1] + 1)
    for number in range(len(rows)):
        mine = layout.interval == number
        held = layout.position_after[kept & (layout.interval < number)]
        if len(held):
            assert layout.position[mine].min() > held.max(), "an interval stands after all it remembers"


@quick
@given(
    rows=st.lists(
        st.lists(st.tuples(st.integers(1, 9), st.one_of(st.none(), st.integers(1, 5))), max_size=4), min_size=1
    ),
    suffix=st.integers(0, 3),
    carried=st.integers(0, 4),
)
def test_split_keys_show_each_query_the_same_tokens_once(rows, suffix, carried):
    layouts = [build_layout(2, [n for n, _ in row], [r for _, r in row], suffix, carried=carried) for row in rows]
    batch = LayoutBatch.collate(layouts)
    plain, kept = allowed(batch)[:, 0], batch.kept()
    first, last = visible_intervals(batch, kept)
    now, length = batch.interval[:, :, None], plain.shape[2]
    split = (first[:, None] <= now) & (now <= last[:, None])
    split[:, :, :length] &= torch.ones(length, length, dtype=torch.bool).tril()
    seen = split[:, :, :length].long()
    for row, columns in enumerate(kept):
        for copy, column in enumerate(columns.tolist()):
            if column >= 0:
                seen[row, :, column] += split[row, :, length + copy].long()
            else:
                assert not split[row, :, length + copy].any(), "padding is nothing to remember"
    real = batch.kind != Kind.PAD
    assert seen[real].equal(plain.long()[real])
