"""`speech-xl export`: a folder is there as a whole or not at all, and its card says what is known."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from experiments.random_stages import run_folder
from speech_xl import SpeechXL
from speech_xl.hub.card import Facts
from speech_xl.hub.export import export
from tests.hub.exporting import export_command

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from pathlib import Path
from transformers import AutoProcessor, CONFIG_MAPPING  # before speech_xl
import speech_xl.hub.export as module
assert "speech_xl" in CONFIG_MAPPING
module.card_text = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # weights are written, the folder isn't whole
module.export(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_kill_in_the_middle_leaves_no_folder_and_the_next_export_cleans_up(lora_run, tmp_path):
    out = tmp_path / "model"
    done = subprocess.run([sys.executable, "-c", KILLED, str(lora_run), str(out)], cwd=ROOT, timeout=300)
    assert done.returncode == -signal.SIGKILL and not out.exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".model.") and (left / "model.safetensors").exists()
    (tmp_path / f".model.{os.getpid()}-00000000.part").mkdir()  # of a process that runs
    told = export(lora_run, out).remarks
    assert told == [f"{left.name}, left by an export that was broken off, was taken away"]
    assert not left.exists() and (tmp_path / f".model.{os.getpid()}-00000000.part").exists()
    assert SpeechXL.from_pretrained(out).name == "model"


def test_an_error_leaves_nothing(lora_run, full_run, tmp_path, monkeypatch):
    with pytest.raises(Exception, match="no LoRA"):
        export(full_run, tmp_path / "model", merge_lora=True)
    monkeypatch.setattr("speech_xl.hub.export.card_text", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(lora_run, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(lora_run, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    export_command([str(lora_run), str(tmp_path / "model")])  # an empty one is filled
    assert f"speech-xl listen AUDIO --model {tmp_path / 'model'}" in capsys.readouterr().out
    before = {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    for out in (tmp_path / "model", tmp_path / "model" / "README.md"):
        with pytest.raises(SystemExit, match="2"):
            export_command([str(lora_run), str(out)])
        assert f"error: {out} is there already" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}


def test_what_only_this_machine_has_is_not_named(lora_run, tmp_path, capsys):
    for more, said in (
        ([], "encoder.name="),
        (["--encoder-name", "tiny/encoder"], "llm.name="),
        (["--encoder-name", "tiny/encoder", "--llm-name", "/a/path"], "llm.name=/a/path"),
    ):
        with pytest.raises(SystemExit, match="2"):
            export_command([str(lora_run), str(tmp_path / "model"), "--apart", *more])
        shown = capsys.readouterr().err
        assert f"error: {said}" in shown and "is a folder of this machine" in shown and "leave --apart out" in shown
    assert not list(tmp_path.iterdir())


def test_a_config_holds_nothing_of_training(lora_run, tmp_path):
    given = json.loads((export(lora_run, tmp_path / "model").folder / "config.json").read_text())
    assert not given.keys() & {"optimizer", "trainable", "scheduler", "data", "trainer", "auto_map"}
    assert "secret" not in json.dumps(given)


SCORES = {
    "items": 6,
    "sessions": 3,
    "normaliser": "plain",
    "interval": "95 %",
    "made_with": {"split": "test", "compressor": "SSTs"},
    "ratios": {
        str(ratio): {
            "rates": {"wer": {"value": wer, "low": wer - 0.1, "high": wer + 0.1, "errors": 1, "words": 9, "items": 3}},
            "memory": {"kept_kv_bytes_per_audio_second": 2048.0},
        }
        for ratio, wer in ((2, 0.25), (4, 0.5))
    },
}


def test_the_card_says_what_is_known_and_that_the_rest_is_unknown(tmp_path):
    run = run_folder(tmp_path / "place", lora=True)
    card = ModelCard.load(export(run, tmp_path / "bare").folder / "README.md")
    assert card.data.license == "unknown" and card.data.language is card.data.datasets is card.data.base_model is None
    assert card.data.pipeline_tag == "audio-text-to-text" and card.data.eval_results is None
    assert "the run's folder has no test results" in card.text and "| languages | unknown |" in card.text
    (run / "results.json").write_text(json.dumps(SCORES))
    (run / "results-test-full_kv.json").write_text(json.dumps(SCORES | {"made_with": {"compressor": "full KV"}}))
    (run / "results-own.json").write_text(json.dumps({"profile": "of a benchmark"}))
    facts = Facts("apache-2.0", ("en", "de"), ("openslr/librispeech_asr",))
    names = {"encoder": "openai/whisper-base", "llm": "Qwen/Qwen2.5-0.5B"}
    card = ModelCard.load(export(run, tmp_path / "told", facts=facts, names=names).folder / "README.md")
    assert card.data.base_model == list(names.values()) and card.data.language == ["en", "de"]
    assert card.data.datasets == ["openslr/librispeech_asr"] and card.data.license == "apache-2.0"
    found = [(one.metric_name, one.metric_value, one.dataset_name) for one in card.data.eval_results]
    assert found == [("WER at 2x, %", 25.0, "SpokenDigits"), ("WER at 4x, %", 50.0, "SpokenDigits")]
    assert "| 4x | 50.0 % [40.0, 60.0] | 2.0 KiB |" in card.text and "SpokenDigits, split test: 3 sessions" in card.text
    assert "Evaluated in training at: 2x, 4x" in card.text and str(tmp_path) not in card.content
    assert card.data.to_dict()["model-index"][0]["name"] == "told"
