"""One pass and streaming differ by rounding alone, as in exactness.json, and every broken path is noticed by as much.

exactness.json is the whole table of `experiments/measurements/exactness.py`; here some of its rows are made again.
The differences of the broken paths depend on every number of the models. In float64 they hold to ten digits where the
random weights of the models are the recorded ones.
"""

import json
from pathlib import Path

import pytest

from experiments.measurements.exactness import CONTROLS, NOTICED, compare, control
from experiments.random_models import llm_folder
from tests.golden.conditions import conditions

RECORDED = json.loads((Path(__file__).parent / "exactness.json").read_text())
ROUNDING = 10  # times the largest recorded difference: how far rounding may go on another processor
DRAWN_BY = ("torch", "transformers", "cpu_capability")  # what the random weights of the models depend on
CASES = [
    ("qwen2", "original", "full"),
    ("qwen3", "compact", "lora"),
    ("llama3", "interpolated", "full"),
    ("yarn", "compact", "full"),
    ("smollm3", "interpolated", "lora"),
    ("gemma3", "original", "lora"),
    ("granite", "compact", "full"),
]
BROKEN = [("qwen2", "original"), ("smollm3", "compact"), ("gemma3", "interpolated")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("llms")
    return {family: llm_folder(root / family, family) for family in {case[0] for case in CASES}}


@pytest.mark.parametrize(("family", "scheme", "projections"), CASES)
def test_the_two_paths_differ_by_rounding_alone(folders, family, scheme, projections):
    row = {"family": family, "scheme": scheme, "projections": projections}
    assert sum(row.items() <= recorded.items() for recorded in RECORDED["rows"]) == 1, "the table has this row"
    found = compare(folders[family], scheme, projections)
    assert found["value"] <= ROUNDING * RECORDED["summary"]["max_abs_diff_float64"]
    assert found["gradient"] <= ROUNDING * RECORDED["summary"]["max_grad_diff_float64"]


@pytest.mark.parametrize("case", CONTROLS)
@pytest.mark.parametrize(("family", "scheme"), BROKEN)
def test_a_broken_path_is_noticed_by_as_much(folders, family, scheme, case):
    row = {"family": family, "scheme": scheme, "control": case}
    (recorded,) = (found["difference"] for found in RECORDED["controls"] if row.items() <= found.items())
    found = control(folders[family], scheme, case)
    assert found > NOTICED
    here = conditions()
    if all(here[name] == RECORDED["conditions"][name] for name in DRAWN_BY):
        assert found == pytest.approx(recorded, rel=1e-10)
