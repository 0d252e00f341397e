"""docs/data.md: its manifest line is a cut that trains, its example recipe runs, its class names and keys exist."""

import importlib
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from lhotse.serialization import deserialize_item

from data_recipes.spoken_digits import SpokenDigits
from speech_xl.data.tasks import asr_turn, caption_turn, qa_turns

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def code(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)
    return block


def test_the_manifest_line_is_a_session():
    cut = deserialize_item(json.loads(code("json")))
    assert asr_turn(cut).answer == "two eight"
    assert caption_turn(cut).answer == "two speakers say two digits"
    assert [turn.answer for turn in qa_turns(cut)] == ["one", "zero", "eight", "two", "lucas", "two", "eight"]
    assert cut.recording.num_samples == cut.duration * 16000
    assert cut.supervisions[-1].end < cut.duration


def test_the_folder_is_the_one_that_default_settings_get():
    assert f"  {SpokenDigits().folder.name}/ " in TEXT


def test_the_example_recipe_runs(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / split).mkdir()
        soundfile.write(tmp_path / split / "a.wav", np.zeros(16000, dtype=np.float32), 16000)
        (tmp_path / split / "a.txt").write_text("Hello World\n")
    names: dict = {"__name__": "my_corpus"}
    exec(code("python"), names)
    corpus = names["MyCorpus"](str(tmp_path))
    corpus.prepare()
    for split in ("train", "dev", "test"):
        (cut,) = corpus.cuts(split)
        assert asr_turn(cut).answer == "hello world" and cut.load_audio().shape == (1, 16000)
    with pytest.raises(ValueError, match="unknown split"):
        corpus.cuts("valid")


def test_the_configs_name_classes_and_arguments_that_exist():
    modules = {
        "MiniLibriSpeech": "data_recipes.corpora",
        "SeveralCorpora": "data_recipes.several_corpora",
        "WordTimes": "speech_xl.extensions.timestamps.word_times",
        "AudioFolder": "speech_xl.data.audio_folder",
        "ManifestCorpus": "speech_xl.data.manifests",
        "SpeedPerturbation": "speech_xl.data.speed_perturbation",
    }
    blocks = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.M | re.S)
    configs = [yaml.safe_load(block) for block in blocks if block.startswith("data:\n")]
    configs = [config for config in configs if "corpus" in config["data"]]
    assert len(configs) == 6
    for config in configs:
        corpus = config["data"]["corpus"]
        path, _, name = corpus["class_path"].rpartition(".")
        cls = getattr(importlib.import_module(path or modules[name]), name)
        assert set(corpus["init_args"]) <= set(inspect.signature(cls).parameters)
        for one in config["data"].get("transforms", []):
            cls = getattr(importlib.import_module(modules[one["class_path"]]), one["class_path"])
            assert set(one["init_args"]) <= set(inspect.signature(cls).parameters)
