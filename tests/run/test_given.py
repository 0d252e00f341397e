"""A finished stage is held against what its experiment file says now: another value is refused, or noted in a table."""

import json
from pathlib import Path

import pytest
import yaml

from speech_xl.run.chain import pending
from speech_xl.run.command import parse_commands
from speech_xl.run.configs import ConfigError
from speech_xl.run.given import GIVEN, differences, keys_of, remarks_about, write_given
from speech_xl.run.run_folder import WEIGHTS

FILE = """
model:
  init_args: {encoder: some/encoder, llm: some/llm, adapter: SemanticAdapter}
data: {corpus: EmbeddedSpeech, num_workers: 1}
stages:
  one: {from: null, model: {class_path: SemanticAlignment, init_args: {trainable: {"adapter.*": 1.0e-3}}}}
  two: {like: one, from: one, model: {class_path: SSTCompression, init_args: {sst: {projections: full}}}}
"""


STEPS = ["--trainer.max_steps", "7"]


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Makes the commands of `fit` from the file's text; the stages of the first are finished by it."""
    monkeypatch.chdir(tmp_path)

    def made(text=FILE, *flags):
        Path("tones.yaml").write_text(text)
        return parse_commands(["fit", "-c", "tones.yaml", *flags], tmp_path)

    for command in made(FILE, "--trainer.max_steps", "7"):
        command.folder.mkdir(parents=True)
        (command.folder / WEIGHTS).touch()
        write_given(command)
    return made


def test_a_file_that_says_the_same_asks_for_nothing(commands, tmp_path):
    steps = ("--trainer.max_steps", "7")
    assert pending(commands(FILE, *steps), tmp_path) == []
    elsewhere = ("--trainer.accelerator", "cpu", "--data.num_workers=0")
    assert pending(commands(FILE.replace("num_workers: 1", "num_workers: 4"), *steps, *elsewhere), tmp_path) == []


def test_what_trains_is_recorded_as_the_parser_takes_it(parser, monkeypatch, tmp_path):
    """A stage's own `trainable` replaces the one of the stage that it is like: all else of that stage stays."""
    monkeypatch.chdir(tmp_path)
    Path("tones.yaml").write_text(FILE.replace("init_args: {sst:", 'init_args: {trainable: {"sst.*": 2.0e-3}, sst:'))
    *_, two = parse_commands(["fit", "-c", "tones.yaml"], tmp_path)
    start = "model.init_args.trainable."
    said = {key.removeprefix(start): value for key, value in keys_of(two.of) if key.startswith(start)}
    trained = parser.parse_args(two.argv()).fit.as_dict()["model"]["init_args"]["trainable"]
    assert said == trained == {"sst.*": 2.0e-3}


@pytest.mark.parametrize(
    ("text", "flags", "line"),
    [
        (
            FILE.replace("1.0e-3", "0.5"),
            STEPS,
            "model.init_args.trainable.adapter.*: trained with",
        ),
        (
            FILE.replace("full", "lora"),
            STEPS,
            "sst.projections: trained with 'full', here 'lora'",
        ),
    ],
)
def test_another_value_is_refused_with_both_and_the_mend(commands, tmp_path, text, flags, line):
    with pytest.raises(ConfigError) as refused:
        pending(commands(text, *flags), tmp_path)
    assert line in str(refused.value) and "--overwrite" in str(refused.value) and "tones.yaml:" in str(refused.value)
    again = commands(text, *flags, "--only", "two", "--overwrite", "--force")
    assert [command.stage for command in pending(again, tmp_path)] == ["two"]


POOLED = FILE + "  pooled: {like: two, model: {class_path: MeanPooling}}\n"


@pytest.fixture
def pooled(parser, monkeypatch, tmp_path):
    """MeanPooling `like` a stage with SSTs, finished: how it differs from a file's text, as keys, and its folder."""
    monkeypatch.chdir(tmp_path)

    def command(text):
        Path("tones.yaml").write_text(text)
        return parse_commands(["fit", "-c", "tones.yaml"], tmp_path)[-1]

    trained = command(POOLED)
    folder = trained.run_folder
    folder.config.parent.mkdir(parents=True)
    folder.weights.touch()
    write_given(trained)
    plain = parser.parse_args(trained.argv()).fit.as_dict()
    folder.config.write_text(yaml.safe_dump(plain, sort_keys=False))
    assert list(plain)[-1] == "ckpt_path", "what tells a configuration that is whole"
    return lambda text: [line.split(":")[0] for line in differences(command(text).of, folder)], folder


SST = "model.init_args.sst.projections"


def test_arguments_that_a_stages_class_does_not_have_are_no_differences(pooled):
    """MeanPooling has no `sst`: another form of SSTs trains it no differently."""
    keys, _ = pooled
    assert keys(POOLED.replace("projections: full", "projections: lora, rank: 8")) == []
    assert "model.init_args.trainable.adapter.*" in keys(POOLED.replace("1.0e-3", "0.5"))
    assert keys(POOLED.replace("MeanPooling", "SSTCompression")) == ["model.class_path"]


@pytest.mark.parametrize("key", ["ratios", "ratio_per", "ratoi"])
def test_an_argument_that_a_stage_was_not_given_is_a_difference(pooled, key):
    """Whether its class has it, has got it since, or never had it, which the parser then says."""
    keys, folder = pooled
    text = POOLED.replace("class_path: MeanPooling", f"class_path: MeanPooling, init_args: {{{key}: [8]}}")
    assert keys(text) == [f"model.init_args.{key}"]
    plain = yaml.safe_load(folder.config.read_text())
    plain["model"]["init_args"].pop(key, None)
    folder.config.write_text(yaml.safe_dump(plain, sort_keys=False))
    assert keys(text) == [f"model.init_args.{key}"]


@pytest.mark.parametrize("content", ["", "[]", "\x00", "model: {init_args: {}}", "a: !!python/name:os.system"])
def test_by_a_damaged_configuration_nothing_is_left_out(pooled, content):
    keys, folder = pooled
    folder.config.write_text(content)
    assert keys(POOLED.replace("full", "lora")) == [SST]


def test_by_a_cut_configuration_nothing_is_left_out(pooled):
    keys, folder = pooled
    lines = folder.config.read_text().splitlines(keepends=True)
    for length in range(0, len(lines) - 1, 5):
        folder.config.write_text("".join(lines[:length]))
        assert keys(POOLED.replace("full", "lora")) == [SST], f"{length} lines"


def test_other_flags_are_warned_of_since_they_may_be_meant_for_other_stages(commands, tmp_path, capsys):
    assert pending(commands(FILE), tmp_path) == []
    assert (
        "left as it is, though flags differ: --trainer.max_steps: trained with '7', here nothing"
        in capsys.readouterr().err
    )


def test_a_table_notes_what_the_file_says_otherwise_and_leaves_flags_out(commands):
    *_, two = commands(FILE.replace("full", "lora"))
    (remark,) = remarks_about(two.of, two.folder)
    assert remark.startswith("two was trained otherwise than the file says now: model.init_args.sst.projections")
    *_, two = commands()
    assert remarks_about(two.of, two.folder) == []


def test_shared_keys_are_compared_and_no_record_is_no_difference(commands):
    *_, two = commands()
    given = json.loads((two.folder / GIVEN).read_text())["keys"]
    assert given["model.class_path"] == "SSTCompression" and given["model.init_args.encoder"] == "some/encoder"
    (two.folder / GIVEN).unlink()
    assert differences(two.of, two.run_folder) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"keys": 3, "flags": {}}', "\x00"])
def test_a_damaged_record_is_named(commands, tmp_path, content):
    *_, two = commands()
    (two.folder / GIVEN).write_text(content)
    with pytest.raises(ConfigError, match=r"two/given\.json: .*--overwrite"):
        pending(commands(FILE, *STEPS), tmp_path)
