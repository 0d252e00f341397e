"""YAML files as dicts: what isn't plain, or stands twice, is refused with file and line; and names of run folders."""

import pytest

from speech_xl.run.command import parse_command
from speech_xl.run.configs import ConfigError, check_flags, folder_name, read_config


def written(tmp_path, text: str | bytes):
    path = tmp_path / "one.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data:\n  a: 1\n  b: 2\n  a: 3\n", r"one\.yaml:4: the key data\.a is in line 2 already"),
        ("a: [{b: 1}, {b: 1, c: 2, b: 1}]", r"one\.yaml:1: the key a\.b is in line 1 already"),
        ("a: 1\n\tb: 2\n", r"one\.yaml:2: not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", r"one\.yaml:1: not valid YAML.*python/object"),
        ("a: 1\nb: !Thing {}\n", r"one\.yaml:2: not valid YAML"),
        (b"a: 1\nb: \xff\xfe\n", r"one\.yaml:2: not UTF-8 \(byte 0xff\)"),
        ("- 1\n", r"one\.yaml: a config is a mapping of keys, this one is a list"),
        ("a: &a\n  b: *a\n", r"one\.yaml:1: an alias holds itself"),
        ("a: 1\n---\nb: 2\n", r"one\.yaml:2: not valid YAML"),
        ("[" * 5000 + "]" * 5000, r"one\.yaml: nested too deeply"),
        (
            "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)),
            r"one\.yaml:\d: its aliases stand for more than 100000 entries",
        ),
    ],
)
def test_what_is_no_plain_config_is_refused_with_its_line(tmp_path, text, said):
    with pytest.raises(ConfigError, match=rf"(?s){said}"):
        read_config(written(tmp_path, text))


def test_what_a_config_may_hold(tmp_path):
    assert read_config(written(tmp_path, "")) == {}
    assert read_config(written(tmp_path, b"\xef\xbb\xbfa: 1\n")) == {"a": 1}
    text = "base: &base {x: 1, y: 2}\none: {<<: *base, y: 3}\nlist: [{a: 1}, {a: 2}]\n"
    assert read_config(written(tmp_path, text))["one"] == {"x": 1, "y": 3}


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(ConfigError, match="can't be read"):
        read_config(tmp_path)


@pytest.mark.parametrize("flags", [["--data.tasks", "{asr: 1, qa: 1, asr: 2}"], ["--data.tasks={asr: 1, asr: 2}"]])
def test_a_key_twice_in_a_flags_value(flags):
    with pytest.raises(ConfigError, match="--data.tasks:1: the key asr is in line 1 already"):
        check_flags(flags)
    check_flags(["--data.tasks", "{asr: 1, qa: 2}", "--model.eval_ratios", "[1, 2", "--print_config"])


def test_a_key_twice_in_any_config_of_a_command(tmp_path):
    for name, text in (("s.yaml", "model: {}\n"), ("t.yaml", "data:\n  turns: 1\n  turns: 2\n")):
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=r"t\.yaml:3: the key data\.turns is in line 2 already"):
        parse_command(["fit", "-c", str(tmp_path / "s.yaml"), "-c", str(tmp_path / "t.yaml")], tmp_path)


@pytest.mark.parametrize("name", ["../up", "a/../../b", "/absolute", "a//b", "a/", ".", "..", "", "a\0b", None, ["a"]])
def test_a_variant_stays_below_the_folder_of_runs(name):
    with pytest.raises(ConfigError, match="--variant: got .*; give a name of folders below"):
        folder_name("--variant", name)


def test_names_that_variants_may_have():
    assert folder_name("--variant", "mein Lauf ü/1") == "mein Lauf ü/1"
    assert folder_name("--variant", 7) == "7"
    assert folder_name("--variant", "a..b") == "a..b"
