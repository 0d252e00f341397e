"""docs/reliability.md: every test and every drill that it names exists; its table is tested in test_tables.py."""

import ast
import json
import re

import pytest

from experiments.drills.__main__ import DRILLS
from experiments.measurements.record import DOCS, RESULTS, ROOT

TEXT = (DOCS / "reliability.md").read_text(encoding="utf-8")
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


def test_every_drill_of_the_record_exists():
    record = json.loads((RESULTS / "reliability.json").read_text(encoding="utf-8"))
    assert set(record["drills"]) <= set(DRILLS)
