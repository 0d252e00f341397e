"""docs/reliability.md: every test that it names exists, every drill too, and its figures are those of the record."""

import ast
import json
import re

import pytest

from experiments.benchmarks.record import RESULTS, ROOT
from experiments.drills.__main__ import DRILLS
from experiments.drills.page import PAGE, table, with_figures

TEXT = PAGE.read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
ROWS = [line for line in TEXT.partition("## What the drills found")[0].splitlines() if line.startswith("| ")]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_on_the_page_exists(file, name):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test_and_drills_that_exist():
    promises = [row.strip("|").split(" | ") for row in ROWS if not row.startswith(("| promise", "| ---"))]
    assert len(promises) > 30
    for promise, test, drill in promises:
        assert "::test_" in test, promise
        assert set(re.findall(r"`(\w+)`", drill)) <= set(DRILLS), promise


def test_the_figures_are_those_of_the_record():
    record = json.loads((RESULTS / "reliability.json").read_text(encoding="utf-8"))
    assert with_figures(TEXT, record["drills"]) == TEXT, "run: python -m experiments.drills page"
    assert set(record["drills"]) <= set(DRILLS)


def test_a_case_that_failed_stands_on_the_page():
    row = {"case": "cut in half", "ok": False, "outcome": "silent"}
    drills = {"damaged": {"rows": [row, row | {"ok": True}], "summary": {"damaged": 2}, "seconds": 130}}
    assert "| `damaged` | 1 of 2 | `damaged` 2 | 2 |" in table(drills)
    assert "- `damaged`, cut in half: silent" in table(drills)
    with pytest.raises(ValueError, match="markers"):
        with_figures("no markers", drills)
