"""experiments/figures/method.py: it draws every picture of docs/method.md, and what it draws is what the model does."""

import re

import matplotlib.image
import numpy as np
import pytest
import torch

from experiments.figures.method import FIGURES, held_tokens, main, visible
from experiments.measurements.record import ROOT
from experiments.random_models import listener, llm_folder, speech
from speech_xl.model.layout import build_layout
from speech_xl.model.positions import POSITIONS, Kind

PAGE = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
INTERVALS, RATIOS = [6, 7, 5], [2, 3, 8]


def test_every_picture_of_the_page_is_drawn_and_no_other(tmp_path):
    main(["--out", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FIGURES)
    assert set(re.findall(r"\]\(pictures/([\w.]+)\)", PAGE)) == set(FIGURES)
    for name in FIGURES:
        assert (ROOT / "docs" / "pictures" / name).is_file()
        picture = matplotlib.image.imread(tmp_path / name)[..., :3]
        vermilion = np.abs(picture - np.array([213, 94, 0]) / 255).max(axis=2) < 0.01  # the SSTs
        assert vermilion.mean() > 1e-3, f"{name} shows no SST"


@pytest.mark.parametrize("placement", ["interleaved", "appended"])
@pytest.mark.parametrize("ratios", [RATIOS, [4, None, 2], [None, None, None]])
def test_the_mask_that_is_drawn_is_the_rule_of_the_page(ratios, placement):
    layout = build_layout(2, INTERVALS, ratios, 4, placement=placement)
    seen = visible(layout)
    for query in range(len(layout)):
        for key in range(len(layout)):
            forgotten = layout.kind[key] == Kind.FRAME and layout.interval[key] != layout.interval[query]
            assert seen[query, key] == (key <= query and not forgotten)


def test_the_tokens_that_are_drawn_are_held_by_a_real_memory(tmp_path):
    model = listener(llm_folder(tmp_path)).eval()
    prefix = len(model.llm.prompt.prefix)
    held = held_tokens(build_layout(prefix, INTERVALS, RATIOS, 0))
    with torch.no_grad():
        memory = model.prefill(speech(INTERVALS), [RATIOS])
    assert memory.peak == held.max()
    assert int(memory.kept[0]) == build_layout(prefix, INTERVALS, RATIOS, 0).kept + prefix < held.max()


def test_the_positions_of_the_page_are_the_layouts():
    rows = re.findall(r"^\| `(\w+)` ((?:\| \S+ )+)\|$", PAGE, re.M)
    assert [scheme for scheme, _ in rows] == list(POSITIONS)
    for scheme, cells in rows:
        layout = build_layout(1, [4, 4], [2, 2], 1, scheme)
        places = zip(layout.position, layout.position_after, strict=True)
        wanted = [number(p) if p == m else f"{number(p)}→{number(m)}" for p, m in places]
        assert wanted == cells.strip("| ").split(" | ")


def number(position: float) -> str:
    """With two decimals at most."""
    return f"{position:.2f}".rstrip("0").rstrip(".")
