"""Experiment files: which keys a stage is given and in which order, what it needs, and what is wrong with a file."""

from pathlib import Path

import pytest
import yaml

from speech_xl.run import chain
from speech_xl.run.chain import pending, starting_weights, train_first
from speech_xl.run.command import parse_command, parse_commands
from speech_xl.run.compare import compare
from speech_xl.run.configs import ConfigError
from speech_xl.run.experiment import ConfigFile, Experiment

TEXT = """\
model: {init_args: {llm: "${stage:llm}", adapter: A}}
data: {corpus: C, turns: 1}
stages:
  llm: {make: WordTimes, init_args: {splits: [dev]}}
  align:
    from: null
    model: {class_path: SemanticAlignment}
    data: {turns: 2}
  more: {like: align, from: align, seed: 3}
  sst:
    from: more
    model: {class_path: SSTCompression}
  pooled:
    like: sst
    model: {class_path: MeanPooling}
    data: {turns: 4}
compare:
  all: {base: more, sst: [sst], pooled: pooled, ratios: [4, 8]}
"""


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """An experiments folder with e.yaml, and an empty working directory."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "e.yaml").write_text(TEXT)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


@pytest.fixture
def ran(monkeypatch):
    """Commands that would have been run in processes of their own."""
    commands = []
    monkeypatch.setattr(chain, "run_command", lambda argv: commands.append(argv) or 0)
    return commands


def command(experiments: Path, *args: str):
    found = parse_command(["fit", "-c", "e.yaml", *args], experiments)
    assert found is not None
    return found


def layers(experiments: Path, *args: str) -> list[dict]:
    """What the parser is given for a stage, the later over the earlier."""
    return [yaml.safe_load(layer.text()) for layer in command(experiments, *args).layers]


def finish(stage: str, name: str = "weights.safetensors") -> Path:
    folder = Path("runs/e") / stage
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"x")
    return folder / name


def test_a_stage_is_shared_keys_then_what_it_is_like_then_its_own(experiments):
    shared = {"model": {"class_path": "SSTCompression", "init_args": {"llm": "runs/e/llm", "adapter": "A"}}}
    assert layers(experiments, "--only", "pooled") == [
        {"stage": "pooled", "init_from": "more"},
        shared | {"data": {"corpus": "C", "turns": 1}},
        {"model": {"class_path": "SSTCompression"}},
        {"model": {"class_path": "MeanPooling"}, "data": {"turns": 4}},
    ]  # the shared keys name no class, and a parser wants one before what it is given


def test_an_overlay_lies_over_all_of_it_with_a_section_for_one_stage(experiments):
    Path("o.yaml").write_text("data: {turns: 9}\nstages: {sst: {data: {turns: 10}}}\n")
    assert layers(experiments, "-c", "o.yaml", "--only", "sst")[-2:] == [
        {"data": {"turns": 9}},
        {"data": {"turns": 10}},
    ]
    assert layers(experiments, "-c", "o.yaml", "--only", "pooled")[-1] == {"data": {"turns": 9}}, "for sst alone"
    assert command(experiments, "-c", "o.yaml", "--only", "sst").folder == Path("runs/e+o/sst")


def test_a_seed_is_all_three(experiments):
    seeds = {"seed_everything": 3, "data": {"seed": 3}, "model": {"init_args": {"seed": 3}}}
    assert layers(experiments, "--only", "more")[-1] == seeds
    (experiments / "e.yaml").write_text(TEXT.replace("seed: 3", "seed: 3, data: {seed: 5, turns: 1}"))
    assert layers(experiments, "--only", "more")[-1]["data"] == {"seed": 5, "turns": 1}, "what a file says itself stays"


def test_numbers_reach_the_parser_as_they_are_written(experiments):
    (experiments / "e.yaml").write_text(TEXT + "trainer: {gradient_clip_val: 1e-3, precision: '16'}\n")
    text = command(experiments, "--only", "align").layers[1].text()
    assert "gradient_clip_val: 1e-3" in text and "precision: '16'" in text


def test_a_maker_gets_data_and_its_arguments_alone(experiments):
    one = command(experiments, "--only", "llm")
    assert one.of is not None and one.of.make == "WordTimes"
    assert [yaml.safe_load(layer.text()) for layer in one.layers if layer.node.value] == [
        {"data": {"corpus": "C", "turns": 1}}, {"init_args": {"splits": ["dev"]}},
    ]  # fmt: skip


def test_what_a_stage_needs(experiments):
    stages = Experiment(ConfigFile.read(experiments / "e.yaml")).stages
    assert {name: stage.needs for name, stage in stages.items()} == {
        "llm": [], "align": ["llm"], "more": ["align", "llm"], "sst": ["more", "llm"], "pooled": ["more", "llm"],
    }  # fmt: skip


def test_all_that_is_missing_is_trained_in_order(experiments, ran):
    args = ["fit", "-c", "e.yaml", "--trainer.max_steps", "2", "--variant", "v"]
    needed = pending(parse_commands(args, experiments), experiments)
    assert [one.stage for one in needed] == ["llm", "align", "more", "sst", "pooled"]
    for one in needed[:-1]:
        train_first(one, needed[-1], experiments)
    assert [argv[2:] for argv in ran] == [[*args, "--only", one] for one in ("llm", "align", "more", "sst")]
    assert needed[-1].folder == Path("runs/v/pooled")


def test_one_stage_is_trained_with_what_it_needs(experiments):
    needed = pending(parse_commands(["fit", "-c", "e.yaml", "--only", "sst"], experiments), experiments)
    assert [one.stage for one in needed] == ["llm", "align", "more", "sst"]
    finish("llm", "made.json")
    weights = [finish(name) for name in ("align", "more")]
    needed = pending(parse_commands(["fit", "-c", "e.yaml", "--only", "sst"], experiments), experiments)
    assert [one.stage for one in needed] == ["sst"]
    assert starting_weights(needed[0], experiments) == weights[1]


def test_what_is_finished_is_left_and_what_was_broken_off_is_gone_on_with(experiments):
    finish("llm", "made.json")
    for name in ("align", "more", "pooled"):
        finish(name)
    last = Path("runs/e/sst/checkpoints/last.ckpt")
    last.parent.mkdir(parents=True)
    last.touch()
    (one,) = pending(parse_commands(["fit", "-c", "e.yaml"], experiments), experiments)
    assert one.stage == "sst" and one.flags == ["--ckpt_path", str(last)] and one.resumes_last
    finish_all = Path("runs/e/sst/weights.safetensors")
    finish_all.touch()
    assert pending(parse_commands(["fit", "-c", "e.yaml"], experiments), experiments) == []
    anew = ["fit", "-c", "e.yaml", "--only", "sst", "--overwrite"]
    assert [one.stage for one in pending(parse_commands(anew, experiments), experiments)] == ["sst"]


def test_a_stage_begun_from_weights_that_are_gone_is_not_gone_on_with(experiments):
    last = Path("runs/e/sst/checkpoints/last.ckpt")
    last.parent.mkdir(parents=True)
    last.touch()
    with pytest.raises(
        ConfigError, match=r"sst: the run began with runs/e/more/weights\.safetensors, which is missing"
    ):
        pending(parse_commands(["fit", "-c", "e.yaml"], experiments), experiments)


def test_overwrite_is_for_the_stage_and_not_for_what_it_needs(experiments, ran):
    args = ["fit", "-c", "e.yaml", "--only", "sst", "--overwrite"]
    needed = pending(parse_commands(args, experiments), experiments)
    train_first(needed[0], needed[-1], experiments)
    assert ran[0][2:] == ["fit", "-c", "e.yaml", "--only", "llm"]


def test_a_rehearsal_is_two_steps_of_everything_in_a_place_of_its_own(experiments, ran):
    one = command(experiments, "--rehearse", "--only", "sst", "--runs", "there")
    assert one.folder == Path("there/rehearsal/e/sst")
    assert one.flag("--trainer.max_steps") == "2" and one.flag("--data.limit_dev") == "1"
    needed = pending(parse_commands(["fit", "-c", "e.yaml", "--rehearse"], experiments), experiments)
    train_first(needed[0], needed[-1], experiments)
    assert "--rehearse" in ran[0]


@pytest.mark.parametrize(
    "flag", [["--ckpt_path", "last"], ["--init_from", "null"], ["--overwrite"], ["--print_config"]]
)
def test_what_is_about_one_stage_asks_for_its_name(experiments, flag):
    with pytest.raises(
        ConfigError, match=rf"{flag[0]}: of which stage of .*e\.yaml\? Add --only NAME; there are llm, al"
    ):
        parse_commands(["fit", "-c", "e.yaml", *flag], experiments)


@pytest.mark.parametrize("subcommand", ["test", "validate", "predict"])
def test_an_evaluation_asks_for_its_stage_and_finds_its_weights(experiments, subcommand):
    with pytest.raises(ConfigError, match=rf"{subcommand}: which stage of .*Add --only NAME"):
        parse_command([subcommand, "-c", "e.yaml"], experiments)
    weights = finish("sst")
    one = parse_command([subcommand, "-c", "e.yaml", "--only", "sst"], experiments)
    assert starting_weights(one, experiments) == weights


WRONG = {
    "like: sst": ("like: sstt", r"e\.yaml:13: stages\.pooled\.like: there is no stage 'sstt' \(meant: sst\?\)"),
    "from: more": ("from: moer", r"e\.yaml:11: from: there is no stage 'moer' \(meant: more\?\)"),
    "from: align": ("from: sst", r"e\.yaml:9: from: there is no stage 'sst'; there are llm, align above it"),
    "${stage:llm}": ("${stage:lmm}", r"e\.yaml:1: \$\{stage:lmm\}: there is no stage 'lmm' \(meant: llm\?\)"),
    "make: WordTimes": ("make: os.system", r"e\.yaml:4: stages\.llm\.make: there is no maker 'os\.system'"),
    "init_args: {splits": ("initargs: {splits", r"e\.yaml:4: initargs: stages\.llm, which is made by WordTimes, takes"),
    "base: more": ("base: moer", r"e\.yaml:18: compare\.all: there is no stage 'moer' \(meant: more\?\)"),
    "sst: [sst]": ("rows: {SSTs: [sst, ss]}", r"e\.yaml:18: compare\.all: there is no stage 'ss' \(meant: sst\?\)"),
    "all: {base": ("all: 3\n  b: {base", r"e\.yaml:18: compare\.all: give a mapping"),
    "from: null": ("turns: 3", r"e\.yaml:5: stages\.align: where does it start\? Add from: STAGE, or from: null"),
    "seed: 3": ("seed: three", r"e\.yaml:9: seed: give a whole number"),
    "  sst:\n": ("  sst:\n    init_from: more\n", r"e\.yaml:11: stages\.sst\.init_from: write from"),
    "data: {corpus": ("stage: x\ndata: {corpus", r"e\.yaml:2: stage: is for a file of one stage"),
    "  sst:": ("  ../sst:", r"e\.yaml:10: stages: got '\.\./sst'; give a name of folders below"),
}


@pytest.mark.parametrize("right", WRONG)
def test_a_slip_anywhere_is_shown_with_file_and_line(experiments, right):
    wrong, said = WRONG[right]
    assert right in TEXT
    (experiments / "e.yaml").write_text(TEXT.replace(right, wrong, 1))
    with pytest.raises(ConfigError, match=said):
        parse_commands(["fit", "-c", "e.yaml"], experiments)


def test_a_stage_that_is_not_there_is_named_in_a_command_and_in_an_overlay(experiments):
    with pytest.raises(ConfigError, match=r"--only: there is no stage 'ss' \(meant: sst\?\)"):
        parse_command(["fit", "-c", "e.yaml", "--only", "ss"], experiments)
    Path("o.yaml").write_text("data: {turns: 9}\nstages:\n  sts: {data: {turns: 10}}\n")
    with pytest.raises(ConfigError, match=r"o\.yaml:3: there is no stage 'sts' \(meant: sst\?\).* in .*e\.yaml"):
        parse_command(["fit", "-c", "e.yaml", "-c", "o.yaml", "--only", "sst"], experiments)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: {sst: {like: align}}\n", r"o\.yaml:1: stages\.sst: an overlay makes no stages"),
        ("stages: {sst: {make: WordTimes}}\n", r"o\.yaml:1: stages\.sst: an overlay makes no stages"),
        ("stages: {llm: {trainer: {max_steps: 1}}}\n", r"o\.yaml:1: trainer: stages\.llm, which is made by WordTimes"),
    ],
)
def test_what_an_overlay_over_an_experiment_may_not_say(experiments, text, said):
    Path("o.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        parse_commands(["fit", "-c", "e.yaml", "-c", "o.yaml"], experiments)
    with pytest.raises(ConfigError, match=said):
        compare(["-c", "e.yaml", "-c", "o.yaml"], experiments)


def test_overlays_change_what_is_compared(experiments):
    Path("o.yaml").write_text("compare: {all: {ratios: [2], sessions: 3}}\n")
    found = Experiment(ConfigFile.read(experiments / "e.yaml"), [ConfigFile.read(Path("o.yaml"))]).comparisons
    assert found == {"all": {"base": "more", "sst": ["sst"], "pooled": "pooled", "ratios": [2], "sessions": 3}}


def test_aliases_and_merged_keys_are_the_keys_they_stand_for(experiments):
    text = TEXT.replace("  sst:\n    from: more", "  sst: &sst\n    like: more\n    from: more\n    data: {turns: 5}")
    text = text.replace("compare:", "  again: {<<: *sst, from: sst, data: {turns: 6}}\ncompare:")
    (experiments / "e.yaml").write_text(text)
    again = command(experiments, "--only", "again")
    assert again.init_from == "runs/e/sst/weights.safetensors" and again.of.needs == ["sst", "llm"]
    assert yaml.safe_load(again.layers[-1].text()) == {"data": {"turns": 6}, "model": {"class_path": "SSTCompression"}}
    assert [layer.plain().get("data") for layer in again.layers[2:]] == [{"turns": 2}, {"seed": 3}, {"turns": 6}]


def test_of_several_merged_mappings_the_earlier_wins(experiments):
    text = "data:\n  tasks: &one {asr: 1.0, caption: 2.0}\n  other: &two {asr: 3.0, questions: 4.0}\n"
    text += "  all: {<<: [*one, *two], caption: 5.0}\n"
    Path("m.yaml").write_text(text)
    (experiments / "e.yaml").write_text(TEXT)
    merged = layers(experiments, "-c", "m.yaml", "--only", "align")[-1]["data"]["all"]
    assert merged == {"caption": 5.0, "asr": 1.0, "questions": 4.0}
    assert "*" not in command(experiments, "-c", "m.yaml", "--only", "align").layers[-1].text()
