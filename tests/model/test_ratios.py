"""Ratios: what is refused, and a draw that is the same everywhere."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from speech_xl.model import ratios
from speech_xl.model.ratios import check_ratios, draw_ratios

PINNED = [2, 2, 4, 2, 8, 8, 8, 2]


def test_draw_depends_on_seed_epoch_and_id_alone():
    draw = draw_ratios([2, 4, 8], 50, seed=1, epoch=2, sample_id="a")
    assert draw == draw_ratios([8, 2, 4], 50, seed=1, epoch=2, sample_id="a")
    for other in ({"seed": 0}, {"epoch": 3}, {"sample_id": "b"}):
        assert draw != draw_ratios([2, 4, 8], 50, **({"seed": 1, "epoch": 2, "sample_id": "a"} | other))
    # Pinned: a change would silently break the resume of runs in progress.
    assert draw_ratios([2, 4, 8], 8, seed=0, epoch=0, sample_id="cut-1") == PINNED


def test_draw_is_the_same_in_a_process_with_another_hash_seed():
    # The file alone, not the package: it is pure, and this stays quick.
    code = "import runpy, sys; print(runpy.run_path(sys.argv[1])['draw_ratios']([2, 4, 8], 8, 0, 0, 'cut-1'))"
    command = [sys.executable, "-c", code, ratios.__file__]
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.strip() == str(PINNED)


def test_longer_draws_begin_like_shorter_ones():
    assert draw_ratios([2, 4], 30, 0, 0, "a")[:10] == draw_ratios([2, 4], 10, 0, 0, "a")


def test_ratios_are_drawn_evenly_per_interval_or_once_per_sample():
    counts = Counter(draw_ratios([2, 4, 8], 6000, 0, 0, "a"))
    assert set(counts) == {2, 4, 8} and all(1800 < count < 2200 for count in counts.values())
    for sample in range(20):
        draw = draw_ratios([2, 4, 8], 10, 0, 0, str(sample), per="sample")
        assert len(draw) == 10 and len(set(draw)) == 1
    assert len({draw_ratios([2, 4, 8], 1, 0, 0, str(i), per="sample")[0] for i in range(20)}) == 3
    assert draw_ratios([2, 4], 0, 0, 0, "no interval") == []


def test_repeated_ratios_are_drawn_more_often():
    counts = Counter(draw_ratios([2, 2, 2, 4], 4000, 0, 0, "a"))
    assert counts[2] / 4000 == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([2, 0], r"eval_ratios\[1\]: got 0; give a whole number from 1 upwards: speech frames that one SST stands for"),
        ([-1], r"eval_ratios\[0\]: got -1"),
        ([2.0], r"eval_ratios\[0\]: got 2.0"),
        ([True], r"eval_ratios\[0\]: got True"),
        ([], "eval_ratios: the list is empty"),
        (4, "eval_ratios: got 4; give a list"),
        ("24", "eval_ratios: got '24'; give a list"),
    ],
)
def test_bad_ratios_are_refused_by_key_and_value(bad, message):
    with pytest.raises(ValueError, match=message):
        check_ratios(bad, "eval_ratios")


def test_bad_draws_are_refused():
    with pytest.raises(ValueError, match="per: got 'frame'"):
        draw_ratios([2], 1, 0, 0, "a", per="frame")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="n_intervals: got -1"):
        draw_ratios([2], -1, 0, 0, "a")
