"""`score` with a judge, and `convert`: commands about predictions that need no model of the suite."""

import json

import pytest

from experiments.run import main
from speech_xl.evaluation.prediction_file import read_predictions
from speech_xl.run.reports import holds_items
from tests.evaluation.benchmarks.test_judges import Endpoint
from tests.evaluation.benchmarks.test_judges import endpoint as endpoint  # a fixture
from tests.evaluation.benchmarks.test_report import answer, written
from tests.predictions import make_prediction
from tests.test_end_to_end import EXPERIMENTS


def run(*words) -> None:
    main([str(word) for word in words], EXPERIMENTS)


def refused(capsys, *words) -> str:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    shown = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in shown
    return shown


@pytest.fixture
def temporal(tmp_path):
    asked = {"task": "Temporal_Relative_QA", "language": "en"}
    replies = ("the cost of the bridge", "the market", "the bridge")
    return written(tmp_path / "a.jsonl", [answer(n, one, "The cost.", **asked) for n, one in enumerate(replies)])


def main_of(path, profile="paper-words"):
    rows = json.loads(path.read_text())["profiles"][profile]["rows"]
    scores = next(row["scores"] for row in rows if row["scores"])
    return next((one for one in scores if one["main"]), scores[0])


def test_a_judge_is_asked_only_where_it_is_named_and_once_an_answer(temporal, endpoint: Endpoint, capsys):
    results = temporal.with_name("a.results.json")
    run("score", temporal)
    before = main_of(results)
    assert "exact match" in before["metric"].lower() and not endpoint.requests
    endpoint.replies = ["YES", "PARTIALLY", "NO"]
    judge = ("--judge", "some-judge", "--judge_url", endpoint.url)
    run("score", temporal, *judge)
    strict = main_of(results)
    assert strict["value"] == pytest.approx(100 / 3) and "strict" in strict["metric"].lower()
    run("score", temporal, *judge)
    run("score", temporal, temporal.with_name("a.judgements.jsonl"))
    assert len(endpoint.requests) == 3 and main_of(results) == strict
    assert "a.judgements.results" not in capsys.readouterr().out


def test_what_a_judge_cannot_be_is_named(temporal, tmp_path, capsys):
    assert "--judge_url http://127.0.0.1:1/v1: which model there?" in refused(
        capsys, "score", temporal, "--judge_url", "http://127.0.0.1:1/v1"
    )
    assert "there is none of this name" in refused(capsys, "score", temporal, "--judge_prompt", "mine")
    counts = written(tmp_path / "b.jsonl", [answer(0, "2", "2")])
    assert "no answers that a judge is asked about" in refused(capsys, "score", counts, "--judge", "some-judge")
    assert "longspeech has no profile 'mine'" in refused(capsys, "score", counts, "--profile", "mine")


@pytest.mark.parametrize("harness", ["open-asr", "lmms-eval"])
def test_predictions_go_to_another_harness_and_come_back_with_the_same_scores(tmp_path, harness, capsys):
    spoken = [answer(n, text, "one two three", task="ASR") for n, text in enumerate(("one two three", "one too"))]
    path = written(tmp_path / "a.jsonl", spoken)
    run("convert", path, "--to", harness, "--model", "me/mine", "--out", tmp_path / "out")
    (made,) = [one for one in (tmp_path / "out").rglob("*.jsonl")]
    assert f"written: {made}" in capsys.readouterr().out
    back = tmp_path / "back.jsonl"
    like = ("--like", path) if harness == "lmms-eval" else ()
    run("convert", made, "--from", harness, "--out", back, *like)
    assert [one.hypothesis for one in read_predictions(back)] == [one.hypothesis for one in spoken]
    for one in (path, back):
        run("score", one)
    assert main_of(path.with_name("a.results.json"))["value"] == main_of(path.with_name("back.results.json"))["value"]
    assert "is there already" in refused(capsys, "convert", made, "--from", harness, "--out", back, *like)


def test_what_cannot_be_converted_is_named(tmp_path, capsys):
    path = written(tmp_path / "a.jsonl", [answer(0, "2", "2")])
    out = ("--out", tmp_path / "out")
    assert "no answer that open-asr has a place for" in refused(capsys, "convert", path, "--to", "open-asr", *out)
    assert "no predictions here" in refused(capsys, "convert", tmp_path / "none.jsonl", "--to", "open-asr", *out)
    assert "of which benchmark? Add --benchmark" in refused(capsys, "convert", path, "--from", "lmms-eval", *out)


def test_what_is_for_benchmarks_is_refused_for_other_answers(tmp_path, capsys):
    plain = written(tmp_path / "a.jsonl", [make_prediction()])
    assert "--judge some-judge: holds no benchmark's items" in refused(capsys, "score", plain, "--judge", "some-judge")
    assert "--profile h1: holds no benchmark's items" in refused(capsys, "score", plain, "--profile", "h1")


def test_items_are_found_however_the_json_is_spaced(tmp_path):
    line = json.dumps(answer(0, "2", "2").to_json(), separators=(",", ":"))
    (tmp_path / "a.jsonl").write_text(line + "\n")
    assert holds_items(tmp_path / "a.jsonl")
