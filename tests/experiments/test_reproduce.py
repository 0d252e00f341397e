"""The scripts that reproduce results: every command they give parses, and starts from what an earlier one makes."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from experiments.benchmarks import ablations, compression
from speech_xl.run.command import WEIGHTS, parse_command
from speech_xl.run.trained_stage import TrainedStage
from tests.run.test_configs import EXPERIMENTS

SCRIPTS = sorted((EXPERIMENTS / "reproduce").glob("*.sh"))
# Stands in for Python: writes down what it is asked, and makes the files that the script looks for.
SHIM = """#!/usr/bin/env bash
printf '%q ' "$@" >> "$LOG"; echo >> "$LOG"
case "$2" in
    experiments.tiny_models.tokenizer) mkdir -p "$3" && touch "$3"/{config,tokenizer,tokenizer_config}.json ;;
    experiments.tiny_models.tiny_llm) touch "$3"/{model,weights}.safetensors ;;
    speech_xl.extensions.timestamps.align) mkdir -p "$4" && touch "$4/dev.jsonl" ;;
esac
"""


def commands(script: Path, work: Path, **given: str) -> list[list[str]]:
    """Arguments of every Python that the script runs."""
    (work / "bin").mkdir()
    (work / "bin" / "python").write_text(SHIM)
    (work / "bin" / "python").chmod(0o755)
    given |= {"RUNS": str(work / "runs"), "FSDD": "fsdd", "LIBRISPEECH": "librispeech", "LOG": str(work / "log")}
    path = f"{work / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", str(script)], check=True, env=os.environ | given | {"PATH": path})
    return [shlex.split(line) for line in (work / "log").read_text().splitlines()]


def begun(*_given: object) -> None:
    """In place of what comes once arguments are parsed."""
    raise InterruptedError


def test_a_rehearsal_leaves_the_docs_alone_and_takes_a_few_steps_of_everything(tmp_path):
    for number, script in enumerate(SCRIPTS):
        (tmp_path / str(number)).mkdir()
        for said in commands(script, tmp_path / str(number), REHEARSE="1"):
            steps = {"experiments/run.py": "--trainer.max_steps", "experiments.tiny_models.tiny_llm": "--steps"}
            option = next((steps[name] for name in said[:2] if name in steps), None)
            assert option is None or said[len(said) - said[::-1].index(option)] == "2", "the last one counts"
            assert "benchmarks" not in said[0] or ("--out" in said and said[said.index("--sessions") + 1])


@pytest.mark.parametrize("rehearse", ["", "1"], ids=["whole", "rehearsal"])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_command_parses_and_finds_what_it_starts_from(script, rehearse, tmp_path, parser, monkeypatch):
    made: set[str] = set()
    monkeypatch.setattr(TrainedStage, "of", begun)
    monkeypatch.setattr(ablations, "train", begun)
    measured = []
    for said in commands(script, tmp_path, REHEARSE=rehearse):
        if said[:2] == ["experiments/run.py", "fit"]:
            command = parse_command(said[1:], EXPERIMENTS)
            assert parser.parse_args(command.argv()).fit.model.class_path
            start = said[said.index("--init_from") + 1] if "--init_from" in said else "null"
            assert start == "null" or start in made, f"{start} isn't trained before"
            assert str(command.folder / WEIGHTS) not in made, f"{command.folder} is trained twice"
            made.add(str(command.folder / WEIGHTS))
        elif "--stage" in said:  # an LLM that reads on
            assert said[said.index("--stage") + 1] in made
            made.add(f"{said[2].removesuffix('.part')}/{WEIGHTS}")
        elif said[0].startswith("experiments/benchmarks/"):
            folders = {said[said.index(name) + 1] for name in ("--base", "--sst", "--pooled") if name in said}
            assert {f"{folder}/{WEIGHTS}" for folder in folders} <= made
            monkeypatch.setattr("sys.argv", said)
            with pytest.raises(InterruptedError):
                (compression if said[0].endswith("compression.py") else ablations).main()
            measured.append(Path(said[0]).name)
    assert len(made) >= 3 and measured[0] == "compression.py"
