"""`python -m data_recipes`: lists, prepares and downloads by name; what a user gets wrong is one sentence."""

import inspect
import subprocess
import sys

import pytest
from lhotse import CutSet

from data_recipes.__main__ import EXAMPLES, RECIPES, find_recipe, main
from speech_xl.evaluation.benchmarks.registry import MODULES
from tests.data_recipes import long_form_sets as made


def test_every_recipe_has_both_functions_and_scores(capsys):
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(RECIPES) + 1
    for recipe, line in zip(RECIPES, lines[1:], strict=True):
        assert line.split()[0] == recipe.name and recipe.licence in line and recipe.about in line
        assert recipe.name in MODULES, "a data set without profiles"
        for verb in ("download", "prepare"):
            parameters = list(inspect.signature(recipe.function(verb)).parameters)
            assert parameters[0] == ("target_dir" if verb == "download" else "corpus_dir")
        assert "limit" in inspect.signature(recipe.function("prepare")).parameters


def test_prepare_writes_manifests_with_a_limit(tmp_path, capsys):
    made.librispeech_long(tmp_path)
    main(
        [
            "prepare",
            "librispeech_long",
            str(tmp_path / "librispeech-long"),
            "--limit",
            "2",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    out = capsys.readouterr().out
    assert "test: 3 sessions, 0.00 h, 2 items of test-clean, 1 items of test-other; written: " in out
    assert len(CutSet.from_file(tmp_path / "out" / "cuts_test.jsonl.gz").to_eager()) == 3
    made.voxpopuli(tmp_path / "voxpopuli")
    with pytest.raises(SystemExit):
        main(["prepare", "voxpopuli", str(tmp_path / "voxpopuli"), "--language", "xx"])
    assert "error: VoxPopuli.language: got 'xx'; use one of en, de" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("prepare nothing .", "nothing: there is no recipe of this name; there are longspeech, audiomarathon, "),
        ("download earnings22 data", "run `git lfs clone https://github.com/revdotcom/speech-datasets data/speech-"),
        ("prepare ami . --language de", "--language: prepare ami has no such option; it has --limit"),
        ("download ami . --parts p1", "--parts: download ami has no such option; it has none"),
        ("prepare librispeech_long nowhere", "corpus_dir nowhere has no folder such as test-clean"),
        ("prepare librispeech_long . --limit 0", "LibriSpeechLong.limit: got 0"),
    ],
)
def test_what_a_user_gets_wrong_is_one_sentence(command, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


def test_options_of_a_benchmark_reach_its_recipe(monkeypatch):
    said = {}
    recipe = find_recipe("longspeech")
    module = sys.modules[recipe.function("download").__module__]
    monkeypatch.setattr(
        module, "download_dataset", lambda repo, folder, patterns, force: said.update(patterns=patterns)
    )
    main(["download", "longspeech", "x", "--splits", "test", "--parts", "p1", "--tasks", "ASR"])
    assert said["patterns"] == ["LongSpeechQA/ASR/test.jsonl", "LongSpeech_p1/*"]


def test_the_help_teaches_by_example():
    shown = subprocess.run([sys.executable, "-m", "data_recipes", "--help"], capture_output=True, text=True, check=True)
    assert EXAMPLES.strip() in shown.stdout
    for line in (line.strip() for line in EXAMPLES.splitlines() if line.startswith("  python")):
        words = line.split("    ")[0].split()
        assert words[3] == "list" or find_recipe(words[4])
