"""A user's folder to a scored table, by the three commands of experiments/benchmarks/own_items.yaml; other sets alike.

Only the model is replaced: an untrained, tiny one in place of the trained stage that comes along.
"""

import json
import re
import shlex
import shutil
from glob import glob
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from data_recipes import corpora
from experiments.run import main
from speech_xl.evaluation.benchmarks.registry import MODULES
from speech_xl.run.command import parse_command
from tests.data_recipes import long_form_sets
from tests.test_end_to_end import EXPERIMENTS, stages, working_in

OVERLAY = EXPERIMENTS / "benchmarks" / "own_items.yaml"
TEXT = OVERLAY.read_text(encoding="utf-8")
COPY, ASK, SCORE = (shlex.split(line) for line in re.findall(r"^#   (cp .*|python .*)$", TEXT, re.M))
ROWS = [*re.findall(r"^#   (\{.*\})$", TEXT, re.M), '{"audio": "lost.flac", "transcript": "nobody hears this"}']
TRAINED = "experiments/trained/read_speech"
SETS = sorted(name for name, module in MODULES.items() if module == "transcription")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where a user stands after the first two commands: a folder of items, and a model that was asked them."""
    work = tmp_path_factory.mktemp("own")
    stages(work)
    (work / "my_items").mkdir()
    soundfile.write(work / "my_items" / "talk.flac", 0.1 * np.sin(np.arange(24_000) * 0.05), 16_000)
    (work / "my_items" / "metadata.jsonl").write_text("\n".join(ROWS) + "\n", encoding="utf-8")
    shutil.copy(EXPERIMENTS.parent / COPY[1], work / COPY[2])
    asked = [word for word in ASK[2:] if word not in ("-c", TRAINED, COPY[2])]
    with working_in(work):
        main([*asked, "-c", COPY[2], "-c", "second.yaml", "--init_from", "null"], EXPERIMENTS)
        yield work / "runs" / "default" / "two"


def test_every_row_is_asked_in_the_users_words(place):
    (path,) = (place / "predictions").glob("test_SSTs-*.jsonl")
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(found) == 3 * 2  # rows of the recording that is there, ratios
    rows = [json.loads(row) for row in ROWS[:3]]
    at_2x = {one["kind"]: one for one in found if one["ratio"] == 2}
    assert at_2x["choice"]["instruction"] == f"{rows[0]['question']}\nA. a man\nB. a woman"
    assert at_2x["answer"]["instruction"] == rows[1]["question"] and at_2x["answer"]["reference"] == rows[1]["answer"]
    assert at_2x["transcript"]["task"] == "asr" and at_2x["transcript"]["reference"] == rows[2]["transcript"]
    assert {one["audio_seconds_heard"] for one in found} == {1.5}


def test_the_third_command_prints_the_table(place, capsys):
    capsys.readouterr()
    (pattern,) = [word.replace(f"runs/trained/{Path(TRAINED).name}", "runs/default/two") for word in SCORE[3:]]
    main([SCORE[2], *glob(pattern)], EXPERIMENTS)
    page = capsys.readouterr().out
    for task, figure in (("choice", "accuracy, %"), ("answer", "exact match, %"), ("transcript", "WER, %")):
        assert re.search(rf"\| {task} \| SSTs \| 2x \|.*\| {figure} \|", page)
    assert "1 audio file missing" in page and "Scores by profile `plain`" in page
    scores = json.loads((place / "results-own.json").read_text(encoding="utf-8"))
    assert scores["items"] == 3 and scores["coverage"]["missing"] == {"transcript": {"audio file missing": 1}}
    (row,) = [one for one in scores["profiles"]["plain"]["rows"] if one["task"] == "choice" and one["ratio"] == 2]
    assert row["majority"]["reply"] == "B" and row["majority"]["value"] == 100.0


def test_the_commands_as_they_stand_are_understood(evaluation_parser):
    assert (EXPERIMENTS.parent / COPY[1]).resolve() == OVERLAY
    words = [str(OVERLAY) if word == COPY[2] else word.replace("experiments/", f"{EXPERIMENTS}/") for word in ASK[2:]]
    command = parse_command(words, EXPERIMENTS)
    assert command is not None and str(command.folder / "predictions") in SCORE[3]
    parsed = evaluation_parser.parse_args(command.argv()).test
    assert parsed.benchmark == "own" and parsed.data.corpus.init_args.path == "my_items"


@pytest.mark.parametrize("name", SETS)
def test_every_transcription_set_has_an_overlay(name):
    overlay = yaml.safe_load((EXPERIMENTS / "benchmarks" / f"{name}.yaml").read_text())
    corpus = overlay["data"]["corpus"]
    assert overlay["benchmark"] == name
    assert getattr(corpora, corpus["class_path"])(**corpus["init_args"]).name == name


def test_a_transcription_set_is_asked_and_scored(place):
    work = place.parents[2]
    folder = long_form_sets.librispeech_long(work)
    stack = ("-c", "benchmarks/librispeech_long.yaml", "-c", "second.yaml", "--init_from", "null")
    options = ("--data.corpus.init_args.corpus_dir", str(folder), "--data.corpus.init_args.limit", "1")
    main(["test", *stack, *options, "--eval_ratios", "[2]", "--data.num_workers", "0"], EXPERIMENTS)
    page = (place / "results-librispeech_long.md").read_text(encoding="utf-8")
    assert re.search(r"\| test-clean \| SSTs \| 2x \|.*\| WER, % \| [\d.]+", page) and "8.86" in page
    assert "270" in page and "at most 1 items a task" in page and "truncated WER, %" in page
