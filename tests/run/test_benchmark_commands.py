"""A benchmark's config lies over a stage's, wherever it stands, names no run, and is for evaluation alone."""

from pathlib import Path

import pytest

from speech_xl.run.command import ConfigError, parse_command, parse_commands

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SHIPPED = EXPERIMENTS / "trained" / "read_speech"


@pytest.fixture
def items(tmp_path):
    path = tmp_path / "items.yaml"
    path.write_text("benchmark: own\ndata:\n  eval_tasks: [qa]\n")
    return str(path)


@pytest.mark.parametrize("first", [True, False])
def test_it_lies_over_the_stage_and_names_no_run(items, tmp_path, first):
    overlay = tmp_path / "quick.yaml"
    overlay.write_text("data:\n  eval_tasks: [asr]\n  num_workers: 0\n")
    others = ["-c", "stage3.yaml", "-c", str(overlay)]
    command = parse_command(["test", *(["-c", items, *others] if first else [*others, "-c", items])], EXPERIMENTS)
    assert command is not None
    assert command.folder == Path("runs") / "quick" / "stage3"
    said = [layer.plain() for layer in command.layers]
    assert [one["data"]["eval_tasks"] for one in said if "eval_tasks" in one.get("data", {})][-2:] == [["asr"], ["qa"]]
    assert said[-1]["benchmark"] == "own"


def test_it_lies_over_a_stage_of_an_experiment(items):
    command = parse_commands(["test", "-c", items, "-c", "own_folder.yaml", "--only", "sst"], EXPERIMENTS)[-1]
    assert command.folder == Path("runs") / "own_folder" / "sst" and command.layers[-1].plain()["benchmark"] == "own"


@pytest.mark.parametrize(
    "words, message",
    [
        (["fit", "-c", "stage1.yaml", "-c", "ITEMS"], "items.yaml: a benchmark is asked by test"),
        (["test", "-c", "ITEMS"], "which stage is asked items"),
        (["test", "-c", "ITEMS", "-c", "ITEMS", "-c", "stage1.yaml"], "two benchmarks"),
        (["test", "-c", "stage1.yaml", "-c", str(SHIPPED)], "stands first"),
        (["fit", "-c", str(SHIPPED)], "is a trained stage"),
        (["test", "-c", str(EXPERIMENTS)], "weights|configuration"),
    ],
)
def test_what_does_not_fit_is_named(items, words, message):
    with pytest.raises(ConfigError, match=message):
        parse_command([items if word == "ITEMS" else word for word in words], EXPERIMENTS)


def test_a_trained_stage_is_named_by_its_folder(evaluation_parser, items):
    command = parse_command(["test", "-c", items, "-c", str(SHIPPED)], EXPERIMENTS)
    assert command is not None
    assert command.folder == Path("runs") / "trained" / "read_speech"
    assert command.init_from == str(SHIPPED / "model.safetensors") and command.init_from_cli
    corpus = ["--data.corpus", "EmbeddedSpeech"]
    parsed = evaluation_parser.parse_args([*command.argv(), *corpus]).test
    assert parsed.benchmark == "own"
    assert parsed.data.transcript.init_args.step_seconds == 0.4
    assert parsed.model.init_args.llm.init_args.name == str(SHIPPED)


def test_a_folder_among_the_runs_keeps_its_place(items, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "mine" / "read_speech"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(SHIPPED)
    command = parse_command(["test", "-c", items, "-c", "runs/mine/read_speech", "--variant", "other"], EXPERIMENTS)
    assert command is not None and command.variant == "other"
