"""The command: which subcommands there are, and mistakes that show at once, without torch."""

import re
import subprocess
import sys

import pytest

from speech_xl.commands import main as command
from speech_xl.commands.main import USING, main
from speech_xl.run.experiment_command import COMMANDS


def refused(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_help_teaches_by_example(capsys):
    main([])
    shown = capsys.readouterr().out
    assert all(re.search(rf"^  speech-xl {name} ", shown, re.M) for name in (*USING, *COMMANDS))
    assert "experiments/run.py" not in shown and max(map(len, shown.splitlines())) <= 120
    for name in USING:
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
        shown = capsys.readouterr().out
        assert f"examples:\n  speech-xl {name} " in shown and max(map(len, shown.splitlines())) <= 120
    main(["--version"])
    assert re.fullmatch(r"speech-xl \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_mistyped_command_is_told_what_is_near(capsys):
    assert (
        refused(capsys, "transcibe", "a.wav")
        == "error: transcibe: no such command; do you mean transcribe? See --help.\n"
    )
    assert "there are transcribe, listen, " in refused(capsys, "xyz")


MISTAKES = ["fit -c nowhere.yaml", "fti", "transcribe --format docx a.wav", "listen", "serve --port x"]


@pytest.mark.parametrize("words", [words.split() for words in MISTAKES], ids=" ".join)
def test_mistakes_need_no_torch(words):
    code = (
        "import sys\nfrom speech_xl.commands.main import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    code = end.code\n"
        "print(code, *(name for name in ('torch', 'transformers', 'lhotse') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "2\n" and "error" in done.stderr, done.stderr


def test_experiments_are_run_as_experiments_run_py_does(capsys, monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(command, "run_experiment", lambda *words: given.append(words))
    monkeypatch.chdir(tmp_path)
    main(["fit", "-c", "stage2.yaml"])
    assert given == [(["fit", "-c", "stage2.yaml"], command.CLONE, "speech-xl")]
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "stage1.yaml").touch()
    main(["fit", "-c", "stage2.yaml"])
    assert given[1][1] == tmp_path / "experiments", "the clone that one stands in"


def test_a_wheel_says_where_experiments_are(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "CLONE", tmp_path / "gone")
    assert "config stage2.yaml: not in" in (said := refused(capsys, "fit", "-c", "stage2.yaml")) and "clone it" in said


def test_serving_says_which_extra_it_needs(capsys, monkeypatch):
    monkeypatch.setattr("speech_xl.commands.serve.find_spec", lambda name: None if name == "uvicorn" else name)
    assert "error: serve: uvicorn isn't installed: pip install 'speech-xl-suite[serve]'" in refused(capsys, "serve")
