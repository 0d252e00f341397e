"""Options out of range are refused by their name with status 2, before a stage is looked for."""

import sys

import pytest

from experiments.measurements import training_speed
from speech_xl.extensions.timestamps import align
from tests.listening_models import listen


def refused(capsys, command, *args: str) -> str:
    with pytest.raises(SystemExit) as ended:
        command([*args])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "values", "mend"),
    [
        ("--limit", ["0", "-1", "1.5", "nan", "many"], "give a whole number from 1 upwards"),
        ("--ratio", ["0", "-4", "1.5", "inf"], "give a whole number from 1 upwards"),
        ("--interval", ["nan", "inf", "0", "-1", "1e-9", "0.01", "long"], "give a number of seconds from 0.1 upwards"),
        ("--device", ["nonsense", "cuda:77", "meta", ""], "give cpu"),
        ("--ask", ["", "  "], "give a text"),
    ],
)
def test_listening(capsys, option, values, mend):
    for value in values:
        said = refused(capsys, listen, "nowhere", "a.wav", option, value)
        assert f"error: argument {option}: got {value!r}" in said and mend in said, said


def test_there_is_nothing_to_hear(capsys):
    assert "error: nothing to hear: name audio files, or a memory with --load" in refused(capsys, listen, "nowhere")


@pytest.mark.parametrize(("option", "value"), [("--sessions", "-1"), ("--sessions", "0"), ("--device", "nonsense")])
def test_aligning(capsys, option, value):
    assert f"argument {option}: got {value!r}; give" in refused(capsys, align.main, "nowhere", "out", option, value)


@pytest.mark.parametrize(
    ("module", "args", "option", "value"),
    [
        (training_speed, [], "--layers", "0"),
        (training_speed, [], "--frames", "-1"),
        (training_speed, [], "--repeats", "0"),
    ],
)
def test_benchmarks(capsys, monkeypatch, module, args, option, value):
    monkeypatch.setattr(sys, "argv", ["benchmark", *args, option, value])
    said = refused(capsys, lambda _: module.main())
    assert f"argument {option}: got {value!r}; give" in said
