"""experiments/measurements/record.py: what a results file holds, what it refuses, and those already in docs/results."""

import json
import subprocess
from types import SimpleNamespace

import pytest
import torch

from experiments.measurements.record import KEYS, RESULTS, check, commit_of_tree, machine, record

GOOD = {
    "summary": {"wer_1x": 0.03, "minutes": 12},
    "command": "python experiments/run.py test",
    "data": "embedded test",
}


def test_a_record_has_every_key_and_the_numbers_given(tmp_path):
    path = record("default", items=40, folder=tmp_path, interval_95={"wer_1x": [0.02, 0.04]}, **GOOD)
    entry = json.loads(path.read_text())
    assert path == tmp_path / "default.json"
    assert list(entry)[: len(KEYS)] == list(KEYS)
    assert entry["summary"] == GOOD["summary"] and entry["items"] == 40
    assert entry["interval_95"] == {"wer_1x": [0.02, 0.04]}
    assert entry["machine"]["cores"] >= 1 and entry["machine"]["ram_gib"] > 0
    assert [p.name for p in tmp_path.iterdir()] == ["default.json"]
    record("default", items=40, folder=tmp_path, **GOOD | {"summary": {"wer_1x": 0.03, "split": "test"}})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"summary": {}}, "summary"),
        ({"summary": {"wer_1x": float("nan")}}, "wer_1x"),
        ({"summary": {"wer_1x": "3 %"}}, "wer_1x"),
        ({"summary": {"passed": True}}, "passed"),
        ({"summary": {"split": "all"}}, "split"),
        ({"command": " "}, "command"),
        ({"data": ""}, "data"),
        ({"items": 0}, "items"),
        ({"commit": "v1"}, "commit"),
        ({"name": "Main job"}, "Main job"),
        ({"machine": "mine"}, "machine"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_nothing_is_written(tmp_path, change, named):
    with pytest.raises(ValueError, match=named):
        record(**{"name": "default", "items": 40, "folder": tmp_path, **GOOD, **change})
    assert not list(tmp_path.iterdir())


def test_the_commit_says_when_code_was_changed_and_ignores_docs(tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], cwd=tmp_path, check=True)

    git("init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    clean = commit_of_tree(tmp_path)
    assert len(clean) == 40
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.md").write_text("new\n")
    assert commit_of_tree(tmp_path) == clean
    (tmp_path / "code.py").write_text("2\n")
    assert commit_of_tree(tmp_path) == clean + "-dirty"


def test_outside_a_checkout_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of_tree(tmp_path) == "unknown"


@pytest.mark.parametrize(
    ("kinds", "gpu"),
    [
        ([], "none"),
        ([("NVIDIA H200", 140)], "1 x NVIDIA H200 (140 GiB)"),
        ([("A", 16)] * 2, "2 x A (16 GiB)"),
        ([("A", 16), ("A", 32)], "A (16 GiB), A (32 GiB)"),
    ],
)
def test_the_machine_names_its_gpus_and_their_memory(monkeypatch, kinds, gpu):
    found = [SimpleNamespace(name=name, total_memory=gib * 2**30) for name, gib in kinds]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(found))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(found))
    monkeypatch.setattr(torch.cuda, "get_device_properties", found.__getitem__)
    assert machine()["gpu"] == gpu


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_every_results_file_in_docs_is_a_complete_record(path):
    check(json.loads(path.read_text()), str(path))
