"""Which exceptions are shown as a message alone, and where in the configs a parser's message points."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from speech_xl.run.command import ConfigError, read_config
from speech_xl.run.configs import read_layer
from speech_xl.run.user_errors import message_of, with_places

ROOT = Path(__file__).parents[2]


def caught(act):
    with pytest.raises(Exception) as raised:
        act()
    return raised.value


def test_messages_for_the_user(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1")
    assert "list.yaml" in message_of(caught(lambda: read_config(tmp_path / "list.yaml")))
    assert "no.yaml" in message_of(caught(lambda: read_config(tmp_path / "no.yaml")))


def test_what_a_parser_wraps_is_found():
    """jsonargparse raises errors of its own from those of the classes it makes."""
    ours = compile("raise ValueError('ratio 0')", str(ROOT / "src/speech_xl/model/ratios.py"), "exec")

    def wrap():
        try:
            exec(ours)
        except ValueError as error:
            raise ValueError("does not validate against any of the subtypes") from error

    assert message_of(caught(wrap)) == "ratio 0"


def test_a_bug_keeps_its_traceback():
    assert message_of(caught(lambda: int("x"))) is None
    assert message_of(caught(lambda: {}["x"])) is None


@pytest.mark.parametrize("file, shown", [(ROOT / "src/speech_xl/data/audio.py", True), ("/lib/lhotse/cut.py", False)])
def test_a_worker_says_what_it_met(file, shown):
    text = (
        "Caught AudioError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        f'  File "/lib/torch/worker.py", line 1, in loop\n    fetch()\n  File "{file}", line 9, in load_audio\n'
        "    raise AudioError(what)\nspeech_xl.data.audio.AudioError: audio a.wav can't be read\n"
    )
    assert message_of(RuntimeError(text)) == ("audio a.wav can't be read" if shown else None)


def test_a_parsers_message_points_to_the_file_and_line(tmp_path):
    (tmp_path / "a.yaml").write_text("model:\n  class_path: A\ndata:\n  turns: 3\n")
    (tmp_path / "b.yaml").write_text("data:\n  turnz: 3\nmodel:\n  init_args:\n    encoder: {init_args: {namex: x}}\n")
    configs = [read_layer(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    said = with_places("Subcommand 'fit' does not accept option 'data.turnz'", configs)
    assert said.splitlines()[1:] == [f"  {tmp_path / 'b.yaml'}:2: data.turnz"]
    nested = 'Parser key "model":\n  Parser key "encoder":\n    Option \'namex\' is not accepted'
    assert f"{tmp_path / 'b.yaml'}:5: model.init_args.encoder.init_args.namex" in with_places(nested, configs)
    types = "Subtypes: [<class 'A'>, <class 'NoneType'>]"
    union = f"Does not validate against any of the Union subtypes\n  {types}\n  Errors:\n"
    given = "  Given value type: <class 'dict'>\n  Given value: {'namex': 3}"
    inner = "    - Problem with given class_path 'A':\n        Option 'namex' is not accepted\n"
    said = with_places(f"Parser key \"model\":\n  {union}{inner}    - Expected a <class 'NoneType'>\n{given}", configs)
    assert said.splitlines()[:-1] == ['Parser key "model":', *inner.splitlines()] and "b.yaml:5" in said
    plain = f"Parser key \"x\":\n  {union}    - Expected a <class 'int'>\n  Given value: many"
    assert with_places(plain, ()) == "Parser key \"x\":\n    - Expected a <class 'int'>\n  Given value: many"
    number = "  - Expected a path but 8 either not accessible or invalid\n    - Expected a dot import path string: 8"
    said = with_places(f'Parser key "turns":\n{number}', configs).splitlines()
    assert said[1] == "  - Expected keys of its own ({key: value}), got 8" and "a.yaml:4: data.turns" in said[2]
    value = 'Parser key "model":\n  Expected a dot import path string: A'
    assert f"{tmp_path / 'a.yaml'}:2: model.class_path" in with_places(value, configs)
    assert with_places("unrecognized arguments: --x", configs) == "unrecognized arguments: --x"


@pytest.mark.parametrize(
    "args, status, said",
    [
        ([], 0, "fit -c stage2.yaml"),
        (["--help"], 0, "fit -c stage2.yaml"),
        (["train", "-c", "stage1.yaml"], 2, "train: no such command"),
        (["fit"], 2, "-c stage1.yaml"),
        (["fit", "-c", "no.yaml"], 2, "no.yaml"),
        (["fit", "-c", "stage2.yaml", "--init_from", "no.ckpt"], 2, "no.ckpt"),
        (["fit", "-c", "stage1.yaml", "--ckpt_path", "no.ckpt"], 2, "no.ckpt"),
        (["test", "-c", "stage3.yaml", "--runs", "nowhere"], 2, "nowhere/default/stage3"),
    ],
)
def test_help_and_mistakes_in_the_command_take_no_time(args, status, said):
    """They come before torch is imported: as quick as Python's own start."""
    command = [sys.executable, "-X", "importtime", str(ROOT / "experiments" / "run.py"), *args]
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert " torch\n" not in done.stderr


def test_config_errors_are_exceptions_of_their_own():
    assert message_of(ConfigError("x")) == "x"
