"""The comparison's own arithmetic: rows, the summary's best baseline, which methods run on which weights, bytes."""

import argparse
from pathlib import Path

import pytest
import torch
from PIL import Image

from experiments.benchmarks.asking import changed
from experiments.benchmarks.compression import command_of, file_name, methods
from speech_xl.evaluation.compressors import Eviction, MeanPooled
from speech_xl.evaluation.pictures import picture
from speech_xl.evaluation.rows import accuracy_delta, row_of, summary_of, wer_delta
from speech_xl.run.command import ConfigError
from tests.model.tiny import listener, llm_folder, speech
from tests.predictions import make_prediction


def answer(cut, task, reference, hypothesis, kind="", **more):
    return make_prediction(cut, task=task, kind=kind, reference=reference, hypothesis=hypothesis, **more)


def test_a_row_has_rates_with_intervals_and_means_over_sessions():
    records = [
        answer("a", "asr", "one two", "one two", kept_kv_bytes=10, peak_kv_bytes=30, prefill_seconds=1.0),
        answer("b", "asr", "one two", "one six", kept_kv_bytes=30, peak_kv_bytes=50, prefill_seconds=2.0),
        answer("a", "qa", "three", "three", "count", kept_kv_bytes=99),
        answer("b", "qa", "two", "four", "times", kept_kv_bytes=99),
    ]
    row = row_of("ours", 4, records, {"weights": "sst"})
    assert (row["wer"], row["wer_cut"], row["qa_accuracy"], row["attribute_accuracy"]) == (0.25, 0.25, 0.5, 1.0)
    assert row["wer_low"] <= 0.25 <= row["wer_high"]
    assert (row["kept_kv_bytes"], row["peak_kv_bytes"], row["prefill_seconds"]) == (20.0, 40.0, 1.5)
    assert (row["items"], row["sessions"], row["weights"], row["decode_seconds"]) == (4, 2, "sst", None)
    assert (row["right_count"], row["right_times"]) == (1.0, 0.0)


def test_a_row_of_sessions_beyond_a_minute_has_the_wer_of_each_minute():
    long = answer("a", "asr", "[3] one two[61] three four[125] five", "[3] one two[61] three six[200] seven")
    row = row_of("ours", 4, [long, answer("b", "asr", "[3] one two", "[3] one six")], {})
    assert (row["wer_minute_1"], row["wer_minute_2"], row["wer_minute_3"]) == (0.25, 0.5, 1.0)
    assert "wer_minute_4" not in row, "nothing is said there"
    assert row["wer_minute_1_low"] == 0.0 and row["wer_minute_1_high"] == 0.5
    assert "wer_minute_1" not in row_of("ours", 4, [answer("b", "asr", "[3] one two", "[3] one six")], {})


def test_a_row_of_questions_alone_counts_every_session_once():
    records = [
        answer("a", "qa", "three", "three", "count", kept_kv_bytes=10),
        answer("a", "qa", "yes", "yes", "same", kept_kv_bytes=10),
        answer("b", "qa", "two", "four", "count", kept_kv_bytes=40),
    ]
    row = row_of("ours", 4, records, {})
    assert (row["kept_kv_bytes"], row["sessions"], row["items"], row["wer"]) == (25.0, 2, 3, None)
    assert row["attribute_accuracy"] == pytest.approx(2 / 3)


def test_more_errors_are_those_of_transcripts_alone():
    right, wrong = answer("a", "asr", "one two", "one two"), answer("a", "asr", "one two", "one six")
    asked = answer("a", "qa", "three", "three", "count")
    assert wer_delta([wrong, asked], [right])["more_errors"] == 0.5
    assert wer_delta([asked], [asked]) == {}


def test_more_right_are_answers_alone():
    asked = [answer(cut, "qa", "three", said, "count") for cut, said in (("a", "three"), ("b", "four"))]
    wrong, spoken = answer("a", "qa", "three", "two", "count"), answer("a", "asr", "one two", "one six")
    found = accuracy_delta([spoken, *asked], [wrong, asked[1]], "more_right")
    assert found["more_right"] == 0.5 and set(found) == {"more_right", "more_right_low", "more_right_high"}
    assert accuracy_delta([spoken], [spoken], "more_right") == {}


def test_the_best_baseline_is_no_sst_and_of_the_same_ratio():
    rows = [{"method": "full KV", "ratio": 1, "wer": 0.01, "wer_cut": 0.01}]
    for method, at4, at8 in (
        ("SSTs", 0.1, 0.2),
        ("SSTs appended", 0.05, 0.3),
        ("random", 0.4, 0.9),
        ("TOVA", 0.5, 0.6),
    ):
        rows += [
            {"method": method, "ratio": ratio, "wer": wer, "wer_cut": wer / 2} for ratio, wer in ((4, at4), (8, at8))
        ]
    assert summary_of(rows) == {
        "methods": 5,
        "wer_1x": 0.01,
        "sst_wer_4x": 0.1,
        "best_baseline_wer_4x": 0.4,
        "sst_wer_8x": 0.2,
        "best_baseline_wer_8x": 0.6,
        "sst_wer_cut_8x": 0.1,
    }


def test_of_answers_the_best_baseline_has_most_right():
    rows = [{"method": name, "ratio": 8, "qa_accuracy": right} for name, right in (("SSTs", 0.7), ("random", 0.3))]
    rows.append({"method": "TOVA", "ratio": 8, "qa_accuracy": 0.5})
    assert summary_of(rows) == {"methods": 3, "sst_qa_8x": 0.7, "best_baseline_qa_8x": 0.5}


def test_every_file_of_answers_has_a_name_of_its_own():
    names = {
        file_name(method, ratio) for method in ("SSTs", "SSTs appended", "SnapKV, query-aware") for ratio in (2, 4)
    }
    assert len(names) == 6 and "SnapKV__query_aware_4x.jsonl" in names


@torch.no_grad()
def test_bytes_are_those_of_the_formula(tmp_path):
    model = listener(llm_folder(tmp_path)).eval()
    memory = MeanPooled().prefill(model, speech([10, 7]), 4)
    # 2 (keys, values) x 2 layers x 2 heads x 8 numbers x 8 bytes a token
    assert memory.bytes == (len(model.llm.prompt.prefix) + 3 + 2) * 2 * 2 * 2 * 8 * 8
    assert memory.audio_bytes(len(model.llm.prompt.prefix)) == [(3 + 2) * 2 * 2 * 2 * 8 * 8]


def test_only_methods_whose_weights_are_given_run(monkeypatch, tmp_path):
    class Press:
        name_of = staticmethod(Eviction.name_of)

        def __init__(self, press, query_aware=False):
            self.name = self.name_of(press, query_aware)

    monkeypatch.setattr("experiments.benchmarks.compression.Eviction", Press)
    given = methods({"base": tmp_path, "sst": tmp_path, "appended": None, "pooled": None})
    assert {method.weights for method in given} == {"base", "sst"}
    assert [method.name for method in given if method.weights == "sst"] == ["SSTs"]
    assert {"full KV", "truncation", "TOVA", "SnapKV, query-aware"} <= {method.name for method in given}


def test_methods_without_eviction_need_no_kvpress(monkeypatch, tmp_path):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("speech_xl.evaluation.compressors.eviction.import_module", missing)
    folders = {"base": tmp_path, "sst": tmp_path, "appended": None, "pooled": None}
    assert [method.name for method in methods(folders, ["full KV", "SSTs"])] == ["full KV", "SSTs"]
    with pytest.raises(ImportError, match="TOVA comes from kvpress"):
        methods(folders, ["TOVA"])


def test_a_method_that_is_none_or_lacks_its_stage_is_named(tmp_path):
    folders = {"base": tmp_path, "sst": tmp_path, "appended": None, "pooled": None}
    with pytest.raises(ConfigError, match="no 'Snap'; there are full KV, .*SnapKV"):
        methods(folders, ["Snap"])
    with pytest.raises(ConfigError, match="'mean pooling, trained' needs a stage of its own, --pooled"):
        methods(folders, ["mean pooling, trained"])


def test_the_picture_shows_questions_where_some_were_asked(tmp_path):
    spoken = answer("a", "asr", "one two", "one two")
    asked = answer("a", "qa", "three", "three", "count")
    widths = []
    for records in ([spoken], [spoken, asked], [asked]):
        rows = [row_of("ours", ratio, records, {}) for ratio in (4, 8)]
        picture(rows, tmp_path / "picture.png")
        widths.append(Image.open(tmp_path / "picture.png").width)
    assert widths[0] < widths[1] > widths[2]


def test_the_record_says_the_command_without_anybodys_folders():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    for option in ("--base", "--work"):
        parser.add_argument(option, type=Path, default=Path("runs"))
    parser.add_argument("--ratios", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--sessions", type=int)
    words = ["digits", "--base", "mine/stage2", "--work", "kept", "--ratios", "4", "8", "--methods", "full KV", "TOVA"]
    said = 'compression.py digits --base BASE --ratios 4 8 --methods "full KV" TOVA'
    assert command_of(parser.parse_args(words), parser) == f"python experiments/benchmarks/{said}"


def test_data_settings_are_changed_by_key_and_others_refused():
    trained = {"corpus": {"class_path": "MiniLibriSpeech", "init_args": {"max_seconds": 60.0}}, "limit_dev": None}
    told = changed(trained, ["corpus.init_args.max_seconds=300.0", "limit_dev=4"])
    assert told["corpus"] == {"class_path": "MiniLibriSpeech", "init_args": {"max_seconds": 300.0}}
    assert told["limit_dev"] == 4 and trained["limit_dev"] is None
    for key in ("corpus.init_args.seconds", "corpus.init_arg.max_seconds", "partition.init_args.seconds"):
        with pytest.raises(ConfigError, match=f"the stage's data has no key {key}"):
            changed(trained, [f"{key}=300"])
