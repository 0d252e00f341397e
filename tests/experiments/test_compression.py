"""The comparison's own arithmetic: rows, the summary's best baseline, which methods run on which weights, bytes."""

import argparse
from pathlib import Path

import pytest
import torch

from experiments.benchmarks.asking import changed
from experiments.benchmarks.compression import command_of, file_name, methods
from experiments.random_models import listener, llm_folder, speech
from speech_xl.evaluation.compressors import Eviction, MeanPooled
from speech_xl.run.command import ConfigError


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
