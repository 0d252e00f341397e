"""What the Python commands of a page do here: run, be rehearsed, or be taken apart and checked."""

import argparse
import contextlib
import io
import re
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

from experiments.run import main as run_experiment
from speech_xl.commands import serve
from speech_xl.run.command import SUBCOMMANDS, parse_commands
from speech_xl.run.compare import comparisons_of
from speech_xl.run.config_files import NamedConfigs, find_config
from speech_xl.run.experiment import Experiment
from speech_xl.run.words import split_configs
from tests.snippets.blocks import ROOT

EXPERIMENTS = ROOT / "experiments"
# Two steps of every stage, on a CPU, and on sessions that espeak-ng speaks in seconds, whatever corpus a config names.
# An overlay, since stages that are trained first are given overlays and not all flags.
FEW = {
    "trainer": {"max_steps": 2, "val_check_interval": 2, "accelerator": "cpu"},
    "data": {"num_workers": 0, "limit_dev": 1},
}
SPEECH = {"train_hours": 0.02, "dev_sessions": 2, "test_sessions": 2, "max_seconds": 30.0}
SECONDS_OF_SPEECH = {"class_path": "EmbeddedSpeech", "init_args": SPEECH}
OWN_FOLDER = {"mine.yaml"}  # experiment files whose corpus lies in the sandbox: only they are rehearsed, not checked


@dataclass(frozen=True)
class Commands:
    """Called in a fork with the words of a command and a mode; returns its exit status.

    parsers    of `fit`, and of the commands that evaluate
    checked    commands that were taken apart already: pages repeat each other's
    """

    fit_parser: Any
    evaluation_parser: Any
    checked: set[tuple] = field(default_factory=set)

    def __call__(self, words: list[str], mode: str) -> int:
        name, *rest = words
        known: dict[str, Callable[[list[str], str], int]] = {
            "python": self.python,
            "speech-xl": self.speech_xl,
            "pip": self.pip,
            "docker": self.docker,
        }
        return known[name](rest, mode)

    def only_looks(self, words: list[str], mode: str) -> bool:
        name, *rest = words
        about_experiments = rest[:1] == ["experiments/run.py"] or name == "speech-xl"
        evaluates = any(word in SUBCOMMANDS or word == "compare" for word in rest[:2])
        return name in ("pip", "docker") or (mode == "check" and about_experiments and evaluates)

    def python(self, words: list[str], mode: str) -> int:
        script, *argv = words
        if script == "experiments/run.py":
            return self.experiment(argv, mode)
        sys.path.insert(0, "")
        if script == "-c":
            exec(compile(argv[0], "-c", "exec"), {"__name__": "__main__"})
            return 0
        if script == "-m":
            module, *argv = argv
            if mode == "check" and module.startswith(("experiments.", "speech_xl.extensions.")):  # minutes, or hours
                return self.help_names(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True), argv)
            sys.argv = [module, *argv]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            return 0
        if script.startswith("experiments/"):  # a measurement of minutes or hours
            return self.help_names(lambda: runpy.run_path(str(ROOT / script), run_name="__main__"), argv)
        sys.argv = [script, *argv]
        runpy.run_path(script, run_name="__main__")
        return 0

    def speech_xl(self, words: list[str], mode: str) -> int:
        if words[0] in (*SUBCOMMANDS, "compare", "score", "convert"):
            return self.experiment(words, mode)
        from speech_xl.commands.main import main

        main(words)
        return 0

    def experiment(self, argv: list[str], mode: str) -> int:
        """`experiments/run.py ARGV`."""
        command, *words = argv
        names, flags = split_configs(words)
        if command in ("score", "convert") or not names:
            run_experiment(argv, EXPERIMENTS)
            return 0
        found = NamedConfigs.find(names, EXPERIMENTS)
        assert found.first is not None
        sections = bool(found.first.sections)
        if mode == "check" or (sections and names[0] not in OWN_FOLDER):
            return self.check(argv, Experiment(found.first, found.overlays) if sections else None)
        if command != "compare" and not found.benchmarks:
            variant = parse_commands(argv, EXPERIMENTS)[-1].variant
            data = FEW["data"] if sections else FEW["data"] | {"corpus": SECONDS_OF_SPEECH}
            Path("few.yaml").write_text(yaml.safe_dump(FEW | {"data": data}))
            argv = [*argv, "-c", "few.yaml", *([] if "--variant" in argv else ["--variant", variant])]
        run_experiment(argv, EXPERIMENTS)
        return 0

    def check(self, argv: list[str], experiment: Experiment | None) -> int:
        """Every stage's command is parsed with all its keys and classes, and every table of an experiment checked."""
        if argv[0] == "compare":
            assert experiment is not None and comparisons_of(experiment)
            return 0
        commands = parse_commands(argv, EXPERIMENTS)
        assert commands
        names, flags = split_configs(argv[1:])
        configs = tuple(find_config(name, EXPERIMENTS).read_text() for name in names if not Path(name).is_dir())
        others = tuple(flag for flag in flags if flag not in ("--rehearse", "--overwrite"))
        if (argv[0], configs, others) in self.checked:
            return 0
        self.checked.add((argv[0], configs, others))
        if experiment is not None and commands[0].configs[0].resolve().is_relative_to(EXPERIMENTS):
            return 0  # tests/run/test_configs.py parses the stages of every experiment file that comes along
        for command in commands:
            if command.of is not None and command.of.make is not None:
                continue
            chosen = self.fit_parser if command.subcommand == "fit" else self.evaluation_parser
            config = chosen.parse_args([word for word in command.argv() if word != "--print_config"])
            model = config[command.subcommand].model
            tuned = [pattern for pattern in model.init_args.trainable if "lora_" in pattern]
            assert not tuned or model.init_args.llm.init_args.lora, "a whole new llm would have no LoRA to train"
        return 0

    def help_names(self, run: Callable[[], Any], argv: list[str]) -> int:
        """The command's `--help` names every option that it is given."""
        sys.argv = ["-", "--help"]
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
            run()
        unknown = [word for word in argv if word.startswith("--") and word not in told.getvalue()]
        assert told.getvalue() and not unknown, f"--help doesn't name {unknown}"
        return 0

    def docker(self, words: list[str], mode: str) -> int:
        """`docker build` needs a Dockerfile; `docker run` the image's port, and arguments of its server."""
        text = Path("Dockerfile").read_text(encoding="utf-8")
        if words[0] == "build":
            return 0
        image = words.index("speech-xl")
        parser = argparse.ArgumentParser()
        serve.add_arguments(parser)
        parser.parse_args(words[image + 1 :])
        assert words[0] == "run" and f"EXPOSE {words[words.index('-p') + 1].rpartition(':')[2]}\n" in text
        return 0

    def pip(self, words: list[str], mode: str) -> int:
        """`pip install`: of this project only extras that there are, of others only what pyproject.toml names."""
        assert words[0] == "install", words
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        extras = re.findall(r"^(\w+) = \[", text.partition("[project.optional-dependencies]")[2], re.M)
        for word in words[1:]:
            if word.startswith("-"):
                continue
            own = re.fullmatch(r"(?:\.|speech-xl-suite)(?:\[([\w,]+)\])?", word)
            wheel = re.fullmatch(r"\S*speech_xl_suite\S*\.whl(?:\[([\w,]+)\])?", word)
            asked = own or wheel
            if asked:
                missing = set(filter(None, (asked[1] or "").split(","))) - set(extras)
            else:
                missing = set() if f'"{Requirement(word).name}' in text else {word}
            assert not missing, f"pip install {word}: pyproject.toml has no {missing}"
        return 0


def inline_commands(page: Path) -> list[str]:
    """Commands within a page's sentences and tables, without those that have a PLACEHOLDER."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = re.findall(r"`((?:python experiments/run\.py|speech-xl) (?:\w+) [^`]+)`", text)
    return [command for command in found if not re.search(r"\b[A-Z]{3,}\b|\.\.\.", command)]


def check_usage(words: list[str]) -> None:
    """`speech-xl NAME ARGV`: its arguments are those that the command knows. Raises SystemExit where they aren't."""
    module = import_module(f"speech_xl.commands.{words[0]}")
    parser = argparse.ArgumentParser(prog=words[0])
    module.add_arguments(parser)
    parser.parse_args(words[1:])
