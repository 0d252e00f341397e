"""Commands taken apart, configs found, and stages chained, without starting a training."""

from pathlib import Path

import pytest
import yaml

from speech_xl.run import chain
from speech_xl.run.chain import starting_weights, train_first, untrained
from speech_xl.run.command import ConfigError, parse_command

STAGE = "stage: {name}\ninit_from: {before}\nmodel: {{class_path: X}}\n"


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """An experiments folder with stages a and b and an overlay m, and an empty working directory."""
    folder = tmp_path / "experiments"
    (folder / "models").mkdir(parents=True)
    (folder / "a.yaml").write_text(STAGE.format(name="a", before="null"))
    (folder / "b.yaml").write_text(STAGE.format(name="b", before="a"))
    (folder / "models" / "m.yaml").write_text(
        "model: {init_args: {x: 1}}\nstages:\n  b: {model: {init_args: {x: 2}}}\n"
    )
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def finish(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"x")
    return folder / "weights.safetensors"


@pytest.fixture
def trained(monkeypatch):
    """Commands that would have been run to train an earlier stage."""
    commands = []

    def run(argv):
        commands.append(argv)
        return 0

    monkeypatch.setattr(chain, "run_command", run)
    return commands


def fit(experiments: Path, *args: str) -> None:
    """`fit` up to where its own stage would begin."""
    command = parse_command(["fit", *args], experiments)
    for one in untrained(command, experiments):
        train_first(one, command, experiments)


def test_bare_names_are_looked_for_here_and_then_in_experiments(experiments):
    assert parse_command(["fit", "-c", "a.yaml"], experiments).configs == [experiments / "a.yaml"]
    Path("a.yaml").write_text(STAGE.format(name="mine", before="null"))
    command = parse_command(["fit", "-c", "a.yaml"], experiments)
    assert command.configs == [Path("a.yaml")]
    assert command.stage == "mine"


def test_an_overlay_names_the_folder_and_adds_what_it_says_of_this_stage(experiments):
    assert parse_command(["fit", "-c", "b.yaml"], experiments).folder == Path("runs/default/b")
    command = parse_command(["fit", "-c", "b.yaml", "-c", "models/m.yaml"], experiments)
    assert command.folder == Path("runs/m/b")
    given = [yaml.safe_load(layer.text())["model"]["init_args"] for layer in command.layers[1:]]
    assert given == [{"x": 1}, {"x": 2}]
    on_a = parse_command(["fit", "-c", "a.yaml", "-c", "models/m.yaml"], experiments)
    assert [yaml.safe_load(layer.text())["model"] for layer in on_a.layers[1:]] == [{"init_args": {"x": 1}}]


@pytest.mark.parametrize("config", [["-c", "b.yaml"], ["--config", "b.yaml"], ["--config=b.yaml"], ["-cb.yaml"]])
def test_every_way_of_naming_a_config(experiments, config):
    subcommand, option, text, *flags = parse_command(["fit", *config, "--x", "1"], experiments).argv()
    assert (subcommand, option, flags) == ("fit", "-c", ["--x", "1"])
    assert yaml.safe_load(text) == yaml.safe_load((experiments / "b.yaml").read_text())


def test_own_flags_are_taken_and_win_over_the_config(experiments):
    flags = ["--runs", "there", "--variant=v", "--init_from", "null", "--data.turns", "3"]
    command = parse_command(["fit", "-c", "b.yaml", *flags], experiments)
    assert (command.folder, command.init_from, command.flags) == (Path("there/v/b"), None, ["--data.turns", "3"])


def test_a_missing_config_is_named_with_those_there_are(experiments):
    with pytest.raises(ConfigError, match=r"(?s)c\.yaml.*models/m\.yaml"):
        parse_command(["fit", "-c", "c.yaml"], experiments)


@pytest.mark.parametrize("args", [["-c"], ["--config="], ["-c", "a.yaml", "--runs"]])
def test_a_flag_without_its_value_is_named(experiments, args):
    with pytest.raises(ConfigError, match="must follow"):
        parse_command(["fit", *args], experiments)


@pytest.mark.parametrize(
    "text, said", [("a: [1", "not valid YAML"), ("- 1", "a list"), ("x: 1", "neither a model nor stages")]
)
def test_a_config_that_is_none_is_named(experiments, text, said):
    Path("bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"(?s)bad\.yaml.*{said}"):
        parse_command(["fit", "-c", "bad.yaml"], experiments)


def test_the_stage_before_is_trained_where_it_is_missing(experiments, trained):
    args = ["-c", "b.yaml", "-c", "models/m.yaml", "--data.seed", "3", "--trainer.precision=32-true"]
    fit(experiments, *args, "--trainer.max_steps", "7", "--model.encoder", "e")
    (argv,) = trained
    assert argv[1:] == [
        str(experiments / "run.py"), "fit", "-c", str(experiments / "a.yaml"), "-c", "models/m.yaml",
        "--data.seed", "3", "--trainer.precision=32-true", "--model.encoder", "e", "--runs", "runs", "--variant", "m",
    ]  # fmt: skip


def test_a_finished_stage_is_not_trained_again(experiments, trained):
    weights = finish(Path("runs/default/a"))
    fit(experiments, "-c", "b.yaml")
    assert starting_weights(parse_command(["fit", "-c", "b.yaml"], experiments), experiments) == weights
    assert not trained


def test_a_stage_that_was_broken_off_is_resumed(experiments, trained):
    last = Path("runs/default/a/checkpoints/last.ckpt")
    last.parent.mkdir(parents=True)
    last.touch()
    fit(experiments, "-c", "b.yaml")
    assert trained[0][-2:] == ["--ckpt_path", "last"]


def test_a_stage_that_fails_stops_the_chain(experiments, trained, monkeypatch):
    monkeypatch.setattr(chain, "run_command", lambda argv: 2)
    with pytest.raises(ConfigError, match="a failed"):
        fit(experiments, "-c", "b.yaml")


def test_init_from_takes_a_path_or_null(experiments, trained):
    Path("w.safetensors").touch()
    given = parse_command(["fit", "-c", "b.yaml", "--init_from", "w.safetensors"], experiments)
    assert starting_weights(given, experiments) == Path("w.safetensors")
    none = parse_command(["fit", "-c", "b.yaml", "--init_from", "null"], experiments)
    assert starting_weights(none, experiments) is None
    wrong = parse_command(["fit", "-c", "b.yaml", "--init_from", "no.ckpt"], experiments)
    with pytest.raises(ConfigError, match=r"no\.ckpt: no such file"):
        starting_weights(wrong, experiments)
    assert not trained


def test_a_stage_beside_the_users_own_config_is_found(experiments, trained, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "first.yaml").write_text(STAGE.format(name="one", before="null"))
    (mine / "second.yaml").write_text(STAGE.format(name="two", before="first"))
    fit(experiments, "-c", str(mine / "second.yaml"))
    assert trained[0][4] == str(mine / "first.yaml")


def test_evaluation_wants_the_stages_own_weights(experiments, trained):
    command = parse_command(["test", "-c", "b.yaml"], experiments)
    with pytest.raises(ConfigError, match=r"runs/default/b/weights\.safetensors is missing"):
        starting_weights(command, experiments)
    weights = finish(Path("runs/default/b"))
    assert starting_weights(command, experiments) == weights
    assert not trained


def test_ckpt_path_must_be_there_and_last_is_the_stages_own(experiments):
    with pytest.raises(ConfigError, match=r"no\.ckpt: no such checkpoint"):
        parse_command(["fit", "-c", "a.yaml", "--ckpt_path", "no.ckpt"], experiments)
    with pytest.raises(ConfigError, match="no such checkpoint"):
        parse_command(["fit", "-c", "a.yaml", "--ckpt_path", "last"], experiments)
    last = Path("runs/default/a/checkpoints/last.ckpt")
    last.parent.mkdir(parents=True)
    last.touch()
    command = parse_command(["fit", "-c", "a.yaml", "--ckpt_path", "last"], experiments)
    assert command.flags == ["--ckpt_path", str(last)]


def test_resuming_never_trains_the_stage_before_anew(experiments, trained):
    Path("x.ckpt").touch()
    command = parse_command(["fit", "-c", "b.yaml", "--ckpt_path", "x.ckpt"], experiments)
    with pytest.raises(ConfigError, match=r"runs/default/a/weights\.safetensors"):
        untrained(command, experiments)
    assert not trained


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict"])
def test_a_path_in_a_config_is_where_training_starts_not_what_is_evaluated(experiments, subcommand):
    own = finish(Path("runs/o/b"))
    Path("start.safetensors").write_bytes(b"x")
    Path("o.yaml").write_text("init_from: start.safetensors\n")
    args = ["-c", "b.yaml", "-c", "o.yaml"]
    assert starting_weights(parse_command([subcommand, *args], experiments), experiments) == own
    assert starting_weights(parse_command(["fit", *args], experiments), experiments) == Path("start.safetensors")
    told = [subcommand, *args, "--init_from", "start.safetensors"]
    assert starting_weights(parse_command(told, experiments), experiments) == Path("start.safetensors")


def test_a_stages_own_data_flags_stay_with_it(experiments, trained, capsys):
    args = [
        "-c",
        "b.yaml",
        "--data.tasks",
        "{qa: 1.0}",
        "--data.corpus=C",
        "--data.excerpt",
        "null",
        "--data.seed",
        "4",
    ]
    fit(experiments, *args)
    (argv,) = trained
    assert argv[5:] == ["--data.corpus=C", "--data.seed", "4", "--runs", "runs", "--variant", "default"]
    assert "--data.tasks {qa: 1.0} --data.excerpt null is for b alone" in capsys.readouterr().out


def test_an_overlay_of_one_stage_is_kept_from_the_stages_trained_first(experiments, trained, capsys):
    (experiments / "only.yaml").write_text("stages: {b: {model: {init_args: {y: 1}}}}\n")
    fit(experiments, "-c", "b.yaml", "-c", "only.yaml", "-c", "models/m.yaml")
    (argv,) = trained
    assert argv[3:] == [
        "-c", str(experiments / "a.yaml"), "-c", "models/m.yaml", "--runs", "runs", "--variant", "only+m",
    ]  # fmt: skip
    assert "-c only.yaml is for b alone" in capsys.readouterr().out


def test_an_overlay_of_another_stage_is_refused(experiments):
    (experiments / "only.yaml").write_text("stages: {b: {model: {init_args: {y: 1}}}}\n")
    with pytest.raises(ConfigError, match="only.yaml: an overlay for b alone, and this is a. Leave it out"):
        parse_command(["fit", "-c", "a.yaml", "-c", "only.yaml"], experiments)


def test_the_commands_of_the_whole_chain_are_known_before_any_is_run(experiments, trained):
    (experiments / "c.yaml").write_text(STAGE.format(name="c", before="b"))
    command = parse_command(["fit", "-c", "c.yaml", "-c", "models/m.yaml"], experiments)
    assert [(one.stage, one.folder) for one in untrained(command, experiments)] == [
        ("a", Path("runs/m/a")), ("b", Path("runs/m/b")),
    ]  # fmt: skip
    finish(Path("runs/m/b"))
    assert untrained(command, experiments) == [] and not trained


@pytest.mark.parametrize(("starts", "circle"), [({"a": "a"}, "a -> a"), ({"a": "b"}, "b -> a -> b")])
def test_a_circle_of_stages_is_named(experiments, trained, starts, circle):
    for name, before in starts.items():
        (experiments / f"{name}.yaml").write_text(STAGE.format(name=name, before=before))
    first = circle[0]
    with pytest.raises(ConfigError, match=rf"init_from goes in a circle: {circle}"):
        untrained(parse_command(["fit", "-c", f"{first}.yaml"], experiments), experiments)


def test_a_missing_file_at_the_chains_beginning_is_named(experiments, trained):
    (experiments / "a.yaml").write_text(STAGE.format(name="a", before="gone.safetensors"))
    with pytest.raises(ConfigError, match=r"a\.yaml: init_from: gone\.safetensors: no such file"):
        untrained(parse_command(["fit", "-c", "b.yaml"], experiments), experiments)


def test_flags_are_passed_on_by_whole_names(experiments, trained):
    args = ["fit", "-c", "b.yaml", "--model.llm_other", "7", "--model.llm.dtype", "float32"]
    fit(experiments, *args[1:])
    assert "--model.llm.dtype" in trained[0] and "--model.llm_other" not in trained[0]


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict"])
def test_evaluation_takes_the_weights_it_is_told(experiments, trained, subcommand):
    first, _ = finish(Path("runs/default/a")), finish(Path("runs/default/b"))
    args = [subcommand, "-c", "b.yaml", "--init_from"]
    assert starting_weights(parse_command([*args, "a"], experiments), experiments) == first
    assert starting_weights(parse_command([*args, "null"], experiments), experiments) is None
    first.unlink()
    with pytest.raises(ConfigError, match=r"runs/default/a/weights\.safetensors is missing"):
        starting_weights(parse_command([*args, "a"], experiments), experiments)


def test_a_start_that_is_none_is_named_where_it_stands(experiments, trained):
    with pytest.raises(ConfigError, match="--init_from stage7: no such file, and no stage of that name"):
        untrained(parse_command(["fit", "-c", "b.yaml", "--init_from", "stage7"], experiments), experiments)


def test_where_the_last_checkpoint_is_missing_the_newest_is_gone_on_from(experiments, capsys):
    folder = Path("runs/default/a/checkpoints")
    folder.mkdir(parents=True)
    (folder / "last-1.ckpt").touch()
    command = parse_command(["fit", "-c", "a.yaml", "--ckpt_path", "last"], experiments)
    assert command.flag("--ckpt_path") == str(folder / "last-1.ckpt")
    assert "last.ckpt is missing: going on from" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["overwrite", "force"])
def test_what_only_a_command_may_say_is_refused_in_a_config(experiments, key):
    Path("o.yaml").write_text(f"{key}: true\n")
    with pytest.raises(ConfigError, match=rf"o\.yaml: {key}: only on the command line"):
        parse_command(["fit", "-c", "b.yaml", "-c", "o.yaml"], experiments)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stage: a\n", r"o\.yaml:1: stage: begin the command with a stage"),
        ("stages: {c: {data: {turns: 1}}}\n", r"o\.yaml:1: stages\.c: there is no such stage; there are b, a"),
        ("stages: {b: {like: a}}\n", r"o\.yaml:1: stages\.b: an overlay makes no stages"),
        ("stages: {b: 3}\n", r"o\.yaml:1: stages\.b: give a mapping"),
        ("from: a\n", r"o\.yaml:1: from: stands in a stage's section"),
    ],
)
def test_what_an_overlay_may_not_say(experiments, text, said):
    Path("o.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        parse_command(["fit", "-c", "b.yaml", "-c", "o.yaml"], experiments)


def test_an_overlay_says_where_one_stage_starts(experiments):
    Path("o.yaml").write_text("stages: {b: {from: start.safetensors}}\n")
    assert parse_command(["fit", "-c", "b.yaml", "-c", "o.yaml"], experiments).init_from == "start.safetensors"


@pytest.mark.parametrize("flag", [["--only", "b"], ["--rehearse"]])
def test_what_is_for_experiment_files_is_refused_for_one_stage(experiments, flag):
    with pytest.raises(ConfigError, match=rf"{flag[0]}: is for an experiment file"):
        parse_command(["fit", "-c", "b.yaml", *flag], experiments)
