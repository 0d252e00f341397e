"""--compressor, --eval_ratios, --split and `score`, on stages that were really trained."""

import json
import shutil
import subprocess
import sys

import pytest

from experiments.run import main
from speech_xl.evaluation.compressors import registry
from speech_xl.evaluation.prediction_file import PredictionWriter, read_predictions
from speech_xl.run.score import score
from tests.predictions import make_prediction
from tests.test_end_to_end import EXPERIMENTS, stages, working_in


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    stages(folder)
    with working_in(folder):
        run("fit", "-c", "second.yaml")
        yield folder / "runs" / "default"


def run(*args):
    main(list(args), EXPERIMENTS)


def refused(capsys, *command):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(*command)
    shown = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in shown
    return shown[shown.index("error: ") :]


def test_test_runs_another_compressor_at_other_ratios_on_the_split_that_is_named(trained, capsys):
    run("test", "-c", "second.yaml", "--compressor", "uniform_stride", "--eval_ratios", "[2, 4]", "--split", "dev")
    shown = capsys.readouterr()
    assert "| uniform stride | 2x |" in shown.out and "| uniform stride | 4x |" in shown.out
    (path,) = (trained / "two" / "predictions").glob("dev_uniform_stride-*.jsonl")
    found = read_predictions(path)
    assert {(one.compressor, one.split, one.ratio) for one in found} == {("uniform stride", "dev", n) for n in (2, 4)}
    assert {one.cut_id for one in found} == {"dev0", "dev1"} and len(found) == 2 * 2 * 2
    results = json.loads((trained / "two" / "results-dev-uniform_stride.json").read_text())
    assert results["predictions"] == path.name and list(results["ratios"]) == ["2", "4"]
    assert not (trained / "two" / "results.json").exists(), "which the stage's own test writes"
    run("test", "-c", "second.yaml")
    (own,) = (trained / "two" / "predictions").glob("test_SSTs-*.jsonl")
    assert {one.compressor for one in read_predictions(own)} == {"SSTs"}
    assert (trained / "two" / "results.json").is_file()


def test_a_stage_without_compression_answers_through_a_compressor_and_full_kv_needs_no_ratio(trained):
    run("predict", "-c", "first.yaml", "--compressor", "Truncation", "--eval_ratios", "[4]")
    (path,) = (trained / "one" / "predictions").glob("test_truncation-*.jsonl")
    assert {one.kept_kv_tokens < one.total_kv_tokens for one in read_predictions(path)} == {True}
    run("predict", "-c", "second.yaml", "--compressor", "full KV")
    (path,) = (trained / "two" / "predictions").glob("test_full_KV-*.jsonl")
    assert {(one.ratio, one.kept_kv_tokens == one.total_kv_tokens) for one in read_predictions(path)} == {(1, True)}


def test_validate_reads_what_it_is_told(trained, capfd, caplog):
    caplog.set_level("INFO")
    run("validate", "-c", "second.yaml", "--compressor", "mean_pooling", "--eval_ratios", "[8]", "--split", "test")
    shown = "".join(capfd.readouterr())
    assert "val/wer_8x" in shown and "val/wer_2x" not in shown
    assert "mean pooling answers through the weights of two, which were trained for SSTs" in caplog.text


def test_what_a_stage_or_a_compressor_cannot_do_is_said(trained, capsys, monkeypatch):
    known = "there is no compressor 'Snap'; there are full_KV, truncation"
    assert known in refused(capsys, "test", "-c", "second.yaml", "--compressor", "Snap")
    assert "give [1]" in refused(capsys, "test", "-c", "first.yaml", "--eval_ratios", "[4]")
    assert "eval_ratios" in refused(capsys, "test", "-c", "second.yaml", "--eval_ratios", "[0]")
    other = refused(capsys, "test", "-c", "second.yaml", "--compressor", "mean_pooling_trained")
    assert "mean pooling, trained: needs weights that were trained for it, and two was trained for SSTs" in other
    assert "one was trained for full KV" in refused(capsys, "validate", "-c", "first.yaml", "--compressor", "ssts")
    assert 'key "split"' in refused(capsys, "test", "-c", "second.yaml", "--split", "train")
    assert "--compressor" in refused(capsys, "fit", "-c", "second.yaml", "--overwrite", "--compressor", "SSTs")
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    missing = refused(capsys, "test", "-c", "second.yaml", "--compressor", "SnapKV", "--eval_ratios", "[4]")
    assert "SnapKV comes from kvpress" in missing and "pip install -e '.[baselines]'" in missing


def test_a_killed_predict_through_a_compressor_goes_on(trained):
    command = ["predict", "-c", "second.yaml", "--compressor", "random", "--eval_ratios", "[2, 4]"]
    run(*command)
    (path,) = (trained / "two" / "predictions").glob("test_random-*.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5]) + lines[5][:20])
    run(*command)
    again = path.read_text().splitlines(keepends=True)
    assert again[:5] == lines[:5] and sorted(json.loads(line)["id"] for line in again) == sorted(
        json.loads(line)["id"] for line in lines
    )


@pytest.mark.slow  # tests/test_benchmarks.py scores again in every run
def test_scores_are_made_again_from_predictions_alone(trained, tmp_path):
    run("test", "-c", "second.yaml", "--compressor", "similarity_merging")
    (path,) = (trained / "two" / "predictions").glob("test_similarity_merging-*.jsonl")
    before = json.loads((trained / "two" / "results-test-similarity_merging.json").read_text())
    copy = tmp_path / path.name
    for one in (path, path.with_name(f"{path.stem}.settings.json")):
        shutil.copy(one, tmp_path / one.name)
    done = subprocess.run(
        [sys.executable, str(EXPERIMENTS / "run.py"), "score", str(copy)], capture_output=True, text=True, check=True
    )
    assert json.loads((tmp_path / f"{copy.stem}.results.json").read_text()) == before
    assert (
        "| similarity merging | 2x |" in done.stdout and f"written: {tmp_path / copy.stem}.results.json" in done.stdout
    )
    assert "| similarity merging | 2x |" in (tmp_path / f"{copy.stem}.results.md").read_text()


def test_files_of_ranks_are_scored_as_one_run_and_a_table_holds_them_all(tmp_path, capsys):
    for name, rank, cut, said in (
        ("a", 0, "s0", "one two three four"),
        ("a", 1, "s1", "one two three"),
        ("b", None, "s0", ""),
    ):
        where = {} if rank is None else {"rank": rank, "world_size": 2}
        with PredictionWriter(tmp_path / f"{name}.jsonl", **where) as writer:
            writer.write(make_prediction(cut, 4, hypothesis=said, compressor=name))
    files = [str(tmp_path / name) for name in ("a.rank0.jsonl", "a.rank1.jsonl", "b.jsonl")]
    score([*files, "--out", str(tmp_path / "out")])
    shown = capsys.readouterr().out
    assert "| a | 4x | word | 12.5 %" in shown and "| b | 4x | word | 100.0 % | 4 / 4 |" in shown
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"{name}.results.{end}" for name in ("a", "b") for end in ("json", "md")
    ]
    (tmp_path / "b.jsonl").rename(tmp_path / "c.jsonl")
    with PredictionWriter(tmp_path / "b.jsonl") as writer:
        writer.write(make_prediction("s0", 4, compressor="b"))
    with PredictionWriter(tmp_path / "old.jsonl") as writer:
        writer.write(make_prediction("s0", 4))
    score([str(tmp_path / f"{name}.jsonl") for name in ("b", "c", "old")])
    shown = capsys.readouterr().out
    assert all(f"| {name} | 4x |" in shown for name in ("b", "b, c", "old")), "a row says which file it is of"
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "b.jsonl", tmp_path / "other")
    with pytest.raises(ValueError, match="another file of this name was given"):
        score([str(tmp_path / "b.jsonl"), str(tmp_path / "other" / "b.jsonl"), "--out", str(tmp_path / "out")])
    with pytest.raises(FileNotFoundError, match="no predictions here"):
        score([str(tmp_path / "nowhere.jsonl")])
