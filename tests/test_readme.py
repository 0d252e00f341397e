"""The README keeps its word: its commands parse, its files exist. Its tables are tested with all others."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

import experiments.run  # noqa: F401  (which registers makers)
from speech_xl.run.command import parse_command
from speech_xl.run.compare import comparisons_of
from speech_xl.run.config_files import find_config
from speech_xl.run.experiment import ConfigFile, Experiment
from speech_xl.run.score import score

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


COMMANDS = re.findall(r"python (experiments/run\.py [^`\n]*)", "\n".join(blocks("bash")))


def test_there_are_commands():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("text", COMMANDS)
def test_every_command_parses(parser, evaluation_parser, text, tmp_path, monkeypatch):
    script, *argv = shlex.split(text, comments=True)
    assert (ROOT / script).is_file()
    (tmp_path / "runs/default/stage3/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/default/stage3/checkpoints/last.ckpt").touch()
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")  # a clone's, with the trained stage in it
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "experiments" / "own_folder.yaml", tmp_path / "mine.yaml")  # as the README does
    shutil.copy(ROOT / "experiments" / "benchmarks" / "own_items.yaml", tmp_path / "questions.yaml")
    if argv[0] == "compare":
        assert comparisons_of(
            Experiment(ConfigFile.read(find_config(argv[argv.index("-c") + 1], ROOT / "experiments")))
        )
        return
    if argv[0] == "score":
        with pytest.raises(FileNotFoundError, match="no predictions here"):  # it is understood, and there are none yet
            score(argv[1:])
        return
    command = parse_command(argv, ROOT / "experiments")
    chosen = parser if command.subcommand == "fit" else evaluation_parser
    config = chosen.parse_args([arg for arg in command.argv() if arg != "--print_config"])
    model = config[command.subcommand].model
    assert model.class_path
    tuned = [pattern for pattern in model.init_args.trainable if "lora_" in pattern]
    assert not tuned or model.init_args.llm.init_args.lora, "a whole new llm would have no LoRA to train"


def test_it_is_short_and_its_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert len(links) >= 10 and len(README.splitlines()) <= 150
    assert not [name for name in links if not (ROOT / name).exists()]
