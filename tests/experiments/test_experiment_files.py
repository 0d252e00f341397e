"""The experiment files: every stage is what the reported results were trained with, and every table finds its stages.

resolved_stages.json holds the parsed configuration of every stage, by file: keys that all stages of a file share, and
what each has of its own. It was resolved from the shell scripts that trained the reported stages, before these files
took their place.
"""

import json
from functools import cache
from pathlib import Path

import pytest

import experiments.run  # noqa: F401  (which registers the makers)
from experiments.tiny_models.makers import TinyLLM, TinyLLMContinued
from speech_xl.run.check import check_making
from speech_xl.run.command import parse_command, parse_commands
from speech_xl.run.compare import comparisons_of
from speech_xl.run.experiment import ConfigFile, Experiment
from tests.run.test_configs import EXPERIMENTS

FILES = sorted(path for path in EXPERIMENTS.glob("*.yaml") if "\nstages:" in path.read_text())
RECORDED = json.loads((Path(__file__).parent / "resolved_stages.json").read_text())
FOLDERS = {  # of what isn't downloaded in the record
    "digits": {"data.corpus.init_args.corpus_dir": "FSDD"},
    "read_speech": {"data.corpus.init_args.corpus_dir": "LIBRISPEECH"},
    "voices": {"data.corpus.init_args.emodb_dir": "EMODB", "data.corpus.init_args.speechocean_dir": "SPEECHOCEAN"},
}
FOLDERS |= {name: FOLDERS["read_speech"] for name in ("fair_read_speech", "read_speech_long")}
FAIR = ("digits", "fair_read_speech", "voices")  # whose methods are trained alike
OTHERS = ("own_folder", "benchmarks_mini", *FAIR)  # that never were shell scripts
ALIKE = ("data", "trainer", "seed_everything")  # keys that methods of one table have in common, and of the model:
ALIKE_MODEL = ("encoder", "adapter", "frame_code", "llm", "extensions", "warmup_steps", "seed", "max_tokens_per_second")
REPORTED = [path for path in FILES if path.stem not in OTHERS]


@cache
def experiment(path: Path) -> Experiment:
    return Experiment(ConfigFile.read(path))


def flags(path: Path) -> list[str]:
    return [f"--{key}={value}" for key, value in FOLDERS.get(path.stem, {}).items()]


def trained(path: Path) -> list[str]:
    return [name for name, stage in experiment(path).stages.items() if stage.make is None]


def flat(value, key: str = ""):
    """Dotted key and value of all that is set."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{key}[{number}]")
    else:
        yield key, value


def test_every_file_and_stage_is_recorded():
    assert {path.name: trained(path) for path in REPORTED} == {
        name: list(file["stages"]) for name, file in RECORDED.items()
    }


CASES = [(path, name) for path in REPORTED for name in trained(path)]


@pytest.mark.parametrize(("path", "stage"), CASES, ids=lambda one: one.stem if isinstance(one, Path) else one)
def test_a_stage_is_what_the_reported_results_were_trained_with(parser, path, stage):
    command = parse_command(["fit", "-c", path.name, "--only", stage, *flags(path)], EXPERIMENTS)
    parsed = json.loads(json.dumps(parser.parse_args(command.argv()).fit.as_dict(), default=str))
    recorded = RECORDED[path.name]
    expected = recorded["shared"] | recorded["stages"][stage]
    found = dict(flat(parsed)) | {"start": command.init_from}
    assert {key: found.get(key) for key in expected} == expected
    named = {key for part in ("model", "data", "curriculum") for key in found if key.startswith(f"{part}.")}
    assert not [key for key in named - expected.keys() if found[key] is not None], (
        "nothing that the record doesn't have"
    )


@pytest.mark.parametrize("file", ["digits"])
def test_another_seed_of_a_stage_is_the_first_with_other_seeds(file):
    stages = experiment(EXPERIMENTS / f"{file}.yaml").stages

    def said(name: str) -> list[dict]:
        return [layer.plain() for layer in stages[name].layers[1:]]

    firsts = [name for name in stages if name.endswith("_1")]
    assert len(firsts) >= 5
    for name in firsts:
        for seed in (2, 3):
            other = {"seed_everything": seed, "data": {"seed": seed}, "model": {"init_args": {"seed": seed}}}
            assert said(name.replace("_1", f"_{seed}")) == [*said(name), other]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_makers_take_their_arguments_and_tables_find_their_stages(path, tmp_path):
    for command in parse_commands(["fit", "-c", path.name, "--runs", str(tmp_path), *flags(path)], EXPERIMENTS):
        if command.of.make is not None:
            making = check_making(command)
            assert making.data is None or making.data.corpus.name
    comparisons = comparisons_of(experiment(path))
    assert comparisons or path.stem == "benchmarks_mini"  # which benchmarks' pages compare
    for one in comparisons:
        assert set(one.needed) <= set(trained(path))


MADE = {
    ("digits", "llm"): {"timestamps_seconds": 100, "timestamps_step_seconds": 0.2, "vocabulary": 512, "steps": 600},
    ("read_speech", "llm"): {"timestamps_seconds": 80, "vocabulary": 512, "words": True, "blends": 0.5, "begin": None},
    ("read_speech", "times"): {"splits": ["train", "dev"]},
    ("read_speech_long", "llm"): {"vocabulary": 300, "timestamps_seconds": 320, "frame_rate": 25.0, "frames": 1800},
    ("read_speech_long", "times"): {"splits": ["train", "dev"], "sessions": None},
}


@pytest.mark.parametrize(("file", "stage"), MADE)
def test_what_is_made_is_made_as_its_file_says(file, stage, tmp_path):
    path = EXPERIMENTS / f"{file}.yaml"
    command = parse_command(
        ["fit", "-c", path.name, "--only", stage, "--runs", str(tmp_path), *flags(path)], EXPERIMENTS
    )
    making = check_making(command)
    arguments = making.settings["init_args"]
    assert {key: arguments[key] for key in MADE[file, stage]} == MADE[file, stage]
    rehearsal = check_making(
        parse_command(["fit", "-c", path.name, "--only", stage, "--rehearse", *flags(path)], EXPERIMENTS)
    ).settings["init_args"]
    assert rehearsal.get("steps", 2) == 2 and rehearsal.get("sessions", 2) == 2
    if isinstance(making.maker, (TinyLLM, TinyLLMContinued)):
        assert making.data is not None and making.data.corpus.name


def test_a_rehearsal_is_a_few_steps_of_every_stage(parser):
    for command in parse_commands(["fit", "-c", "read_speech.yaml", "--rehearse"], EXPERIMENTS):
        assert command.folder.parts[:2] == ("runs", "rehearsal")
        if command.of.make is None and command.stage in ("spell", "sst"):
            config = parser.parse_args(command.argv()).fit
            assert config.trainer.max_steps == 2 and config.data.limit_dev == 1 and config.data.excerpt is None


@pytest.mark.parametrize("path", REPORTED, ids=lambda path: path.stem)
def test_a_file_says_at_its_top_what_it_is_and_how_it_is_run(path):
    top = path.read_text().split("\nmodel:")[0].splitlines()
    assert all(line.startswith("#") for line in top if line)
    for subcommand in ("fit", "compare"):
        assert any(f"python experiments/run.py {subcommand} -c {path.name}" in line for line in top)
