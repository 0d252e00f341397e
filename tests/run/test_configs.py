"""Every config parses with every overlay, makes its objects, and explains its keys."""

from itertools import chain
from pathlib import Path

import pytest
import yaml

from speech_xl.run.chain import before
from speech_xl.run.command import Command, parse_command
from speech_xl.run.experiment import ConfigFile
from speech_xl.run.user_errors import with_places

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
STAGES = sorted(path.name for path in EXPERIMENTS.glob("stage*.yaml"))
OVERLAYS = sorted(
    str(path.relative_to(EXPERIMENTS))
    for path in chain.from_iterable((EXPERIMENTS / kind).glob("*.yaml") for kind in ("models", "data", "hardware"))
)


def command(stage: str, *overlays: str, flags: tuple[str, ...] = ()):
    return parse_command(
        ["fit", "-c", stage, *chain.from_iterable(("-c", overlay) for overlay in overlays), *flags], EXPERIMENTS
    )


def test_there_are_configs():
    assert STAGES == ["stage0.yaml", "stage1.yaml", "stage2.yaml", "stage3.yaml"]
    assert len(OVERLAYS) >= 6
    every = [path for path in EXPERIMENTS.rglob("*.yaml")]
    assert len(every) <= 36 and not [path for path in every if path.stem.count(".")], "no file comes by another's name"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_speaks_of_stages_that_there_are(overlay):
    assert {f"{name}.yaml" for name in ConfigFile.read(EXPERIMENTS / overlay).sections} <= set(STAGES)


def chain_of(*overlays: str) -> list[Command]:
    """Stage 3, and every stage that is trained before it, with these overlays."""
    found = [command("stage3.yaml", *overlays)]
    while (earlier := before(found[-1], EXPERIMENTS)) is not None:
        found.append(earlier)
    return found


@pytest.mark.parametrize("overlay", [None, *OVERLAYS])
def test_every_stage_of_the_chain_takes_every_overlay(parser, overlay):
    found = chain_of(*([overlay] if overlay else []))
    begins = 1 if overlay and overlay.startswith("models/") and "tiny" not in overlay else 0
    assert [one.stage for one in found] == [f"stage{number}" for number in range(3, begins - 1, -1)]
    for one in found:
        made = parser.instantiate(parser.parse_args(one.argv())).fit
        assert made.model.trainable and made.data.corpus.name


@pytest.mark.parametrize("data", [one for one in OVERLAYS if one.startswith("data/")])
@pytest.mark.parametrize("model", [one for one in OVERLAYS if one.startswith("models/")])
def test_an_overlay_of_models_goes_with_one_of_a_corpus_before_it(parser, model, data):
    for one in chain_of(data, model):
        made = parser.instantiate(parser.parse_args(one.argv())).fit
        assert getattr(made.data.transcript, "max_gap_seconds", None) is None, "another corpus has longer pauses"


@pytest.mark.parametrize("flags", [("--model", "MeanPooling"), ("--model.sst.placement", "appended")])
def test_stage_3_takes_every_ablation_and_keeps_the_rest_of_its_model(parser, flags):
    plain, ablated = (parser.parse_args(command("stage3.yaml", flags=some).argv()).fit for some in ((), flags))
    made = parser.instantiate(parser.parse_args(command("stage3.yaml", flags=flags).argv())).fit
    assert made.model.trainable
    for key in ("encoder", "adapter", "llm", "trainable", "task_weights", "eval_ratios"):
        assert ablated.model.init_args[key] == plain.model.init_args[key]


def test_a_corpus_is_changed_by_a_list_of_transforms(parser):
    times = "{class_path: WordTimes, init_args: {folder: times}}"
    flags = ("--data.transforms", f"[{times}, {{class_path: SpeedPerturbation, init_args: {{speeds: [0.9]}}}}]")
    made = parser.instantiate(parser.parse_args(command("stage1.yaml", flags=flags).argv())).fit
    assert [type(one).__name__ for one in made.data.transforms] == ["WordTimes", "SpeedPerturbation"]
    assert made.data.transforms[1].speeds == (0.9,)


def test_plain_names_do(parser):
    flags = ("--model.encoder", "openai/whisper-base", "--model.llm", "some/llm", "--data.corpus", "SpokenDigits")
    made = command("stage1.yaml", flags=(*flags, "--model.optimizer", "SGD", "--data.partition", "PauseWindows",
                                         "--data.partition.max_seconds", "6"))  # fmt: skip
    config = parser.parse_args(made.argv()).fit
    assert config.model.init_args.encoder == "openai/whisper-base"
    assert config.model.init_args.llm == "some/llm"
    assert config.model.init_args.optimizer.class_path == "torch.optim.SGD"
    assert config.data.corpus.class_path.endswith(".SpokenDigits")
    assert config.data.partition.init_args.max_seconds == 6.0


def test_another_class_drops_the_first_ones_arguments(parser, tmp_path):
    overlay = tmp_path / "pauses.yaml"
    overlay.write_text("data:\n  partition:\n    class_path: PauseWindows\n    init_args: {max_seconds: 5.0}\n")
    config = parser.parse_args(command("stage1.yaml", str(overlay)).argv()).fit
    assert vars(config.data.partition.init_args) == {"max_seconds": 5.0}


@pytest.mark.parametrize(
    "text, place",
    [
        ("stagee: x", "1: stagee"),
        ("data:\n  turnz: 3", "2: data.turnz"),
        ("model:\n  init_args:\n    warmup_stepps: 3", "3: model.init_args.warmup_stepps"),
        ("trainer:\n  max_step: 3", "2: trainer.max_step"),
        ("data:\n  turns: many", "2: data.turns"),
        ("data:\n  corpus: NoSuchCorpus", "2: data.corpus"),
    ],
)
def test_an_unknown_key_is_shown_with_its_file_and_line(parser, tmp_path, text, place):
    overlay = tmp_path / "wrong.yaml"
    overlay.write_text(text)
    wrong = command("stage1.yaml", str(overlay))
    with pytest.raises(Exception) as raised:
        parser.parse_args(wrong.argv())
    assert type(raised.value).__name__ == "ArgumentError"
    assert f"{overlay}:{place}" in with_places(str(raised.value), wrong.layers)


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--data.transcript.init_args.windows", "8", "Expected keys of its own ({key: value}), got 8"),
        ("--data.partition", "true", "Expected keys of its own ({key: value}), got true"),
        ("--data.partition", "3d.Partition", "3d.Partition either not accessible"),
    ],
)
def test_a_plain_value_where_keys_belong_is_said_in_plain_words(parser, flag, value, said):
    wrong = command("stage1.yaml", flags=(flag, value))
    with pytest.raises(Exception) as raised:
        parser.parse_args(wrong.argv())
    assert said in with_places(str(raised.value), wrong.layers)


@pytest.mark.parametrize("stage", STAGES)
def test_every_key_of_a_stage_has_a_comment(stage):
    """On its line, on the line above, or at the key it belongs to where that one explains them all."""
    text = (EXPERIMENTS / stage).read_text()
    lines = text.splitlines()
    bare = [name for line, name in keys(yaml.compose(text)) if not commented(lines, line)]
    assert not bare, f"{stage}: say beside {', '.join(bare)} what it is"


def keys(node: yaml.Node, prefix: str = ""):
    """Line number from 0 and dotted name of every key that is to have a comment."""
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        structural = key.value in ("class_path", "init_args")
        if not structural:
            yield key.start_mark.line, name
        # Patterns and weights of a table are explained where the table begins.
        if isinstance(value, yaml.MappingNode) and key.value not in ("trainable", "tasks"):
            yield from keys(value, f"{name}.")


def commented(lines: list[str], line: int) -> bool:
    return " #" in lines[line] or (line > 0 and lines[line - 1].lstrip().startswith("#"))
