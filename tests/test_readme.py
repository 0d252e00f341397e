"""The README keeps its word: its commands parse, its files exist, its example trains."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from lhotse import CutSet

import experiments.run  # noqa: F401  (which registers makers)
from speech_xl.data.tasks import asr_turn, caption_turn, qa_turns
from speech_xl.run.command import parse_command
from speech_xl.run.compare import comparisons_of
from speech_xl.run.experiment import ConfigFile, Experiment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


COMMANDS = re.findall(r"python (experiments/run\.py [^`\n]*)", "\n".join(blocks("bash")))


def test_there_are_commands():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("text", COMMANDS)
def test_every_command_parses(parser, text, tmp_path, monkeypatch):
    script, *argv = shlex.split(text, comments=True)
    assert (ROOT / script).is_file()
    (tmp_path / "runs/default/stage3/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/default/stage3/checkpoints/last.ckpt").touch()
    monkeypatch.chdir(tmp_path)
    if argv[0] == "compare":
        experiment = Experiment(ConfigFile.read(ROOT / "experiments" / argv[argv.index("-c") + 1]))
        assert comparisons_of(experiment)
        return
    command = parse_command(argv, ROOT / "experiments")
    config = parser.parse_args([arg for arg in command.argv() if arg != "--print_config"])
    model = config[command.subcommand].model
    assert model.class_path
    tuned = [pattern for pattern in model.init_args.trainable if "lora_" in pattern]
    assert not tuned or model.init_args.llm.init_args.lora, "a whole new llm would have no LoRA to train"


def test_every_link_and_file_exists():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    tree = next(block for block in blocks("") if "experiments/run.py  " in block)
    files = [line.split()[0] for line in tree.splitlines() if line.strip()]
    assert len(links) >= 4
    assert len(files) >= 15
    missing = [name for name in (*links, *files) if not (ROOT / name).exists()]
    assert not missing


def test_the_tree_has_every_folder_of_the_source():
    tree = next(block for block in blocks("") if "experiments/run.py  " in block)
    folders = [path.parent for path in (ROOT / "src" / "speech_xl").glob("*/__init__.py")]
    assert not [name for name in (f"{folder.relative_to(ROOT)}/" for folder in folders) if name not in tree]


def test_the_example_line_is_a_session_with_truth_for_every_task(tmp_path):
    path = tmp_path / "cuts.jsonl"
    path.write_text(json.dumps(json.loads(blocks("json")[0])) + "\n")
    (cut,) = CutSet.from_file(path)
    assert asr_turn(cut).answer == "good morning everyone"
    assert caption_turn(cut).answer == "ann greets"
    assert [turn.answer for turn in qa_turns(cut)] == ["one"]


def test_the_example_overlay_parses(parser, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(blocks("yaml")[0])
    assert yaml.safe_load(overlay.read_text())
    command = parse_command(["fit", "-c", "stage2.yaml", "-c", str(overlay)], ROOT / "experiments")
    assert parser.parse_args(command.argv()).fit.data.corpus.init_args.audio_dir == "mine"
