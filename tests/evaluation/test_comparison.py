"""Comparison: what a `compare:` entry may say, which rows it makes of it, and what is refused by key."""

import pytest

from speech_xl.evaluation.comparison import Comparison

STAGES = ["stage2", "stage3", "stage3_1", "pooled", "compact", "compact_1"]
BOTH = {"base": "stage2", "sst": "stage3"}


def rows(entry):
    return [(one.row, one.stage) for one in Comparison.of("digits", entry, STAGES).answering]


def test_every_compressor_whose_stage_is_given_runs_on_it():
    found = rows(BOTH)
    assert found[0] == ("full KV", "stage2") and found[-1] == ("SSTs", "stage3")
    assert {"truncation", "TOVA", "SnapKV, query-aware"} <= {row for row, _ in found}
    assert not {"SSTs appended", "mean pooling, trained"} & {row for row, _ in found}
    assert {stage for row, stage in found if row != "SSTs"} == {"stage2"}


def test_methods_are_named_as_in_tables_or_as_on_a_command_line():
    entry = BOTH | {"pooled": "pooled", "methods": ["SSTs", "mean_pooling_trained", "full KV"]}
    assert rows(entry) == [("full KV", "stage2"), ("mean pooling, trained", "pooled"), ("SSTs", "stage3")]


def test_several_stages_are_seeds_of_a_row():
    entry = {"sst": ["stage3", "stage3_1"], "methods": "SSTs"}
    assert rows(entry) == [("SSTs", "stage3"), ("SSTs", "stage3_1")]


def test_rows_of_own_stages_are_compared_with_the_first_or_the_one_named():
    entry = {"rows": {"as it is": ["stage3", "stage3_1"], "compact": ["compact", "compact_1"]}}
    assert rows(entry) == [("as it is", "stage3"), ("as it is", "stage3_1"), *[("compact", n) for n in STAGES[4:]]]
    made = Comparison.of("ablations", entry, STAGES)
    assert made.differs_from == "as it is" and made.needed == ["stage3", "stage3_1", "compact", "compact_1"]
    assert Comparison.of("ablations", entry | {"baseline": "compact"}, STAGES).differs_from == "compact"
    assert Comparison.of("digits", BOTH, STAGES).differs_from == "SSTs"


def test_seeds_of_all_kinds_stand_in_one_table():
    entry = {
        "base": ["stage2", "stage2_1"],
        "sst": ["stage3", "stage3_1"],
        "rows": {"as the paper": ["compact", "compact_1"]},
        "methods": ["full KV", "uniform stride", "SSTs"],
        "baseline": "SSTs",
        "summary": {"full": "full KV", "sst": "SSTs", "paper": "as the paper"},
    }
    made = Comparison.of("fair", entry, [*STAGES, "stage2_1"])
    names = ["as the paper", "full KV", "uniform stride", "SSTs"]
    assert [one.row for one in made.answering] == [name for name in names for _ in range(2)]
    assert (made.differs_from, made.task) == ("SSTs", "asr")
    asked = Comparison.of("fair", entry | {"tasks": ["caption", "qa"]}, [*STAGES, "stage2_1"])
    assert asked.task == "qa"


def test_compressors_that_are_not_installed_are_left_out_and_told_unless_named(monkeypatch):
    monkeypatch.setattr("speech_xl.evaluation.compressors.registry.find_spec", lambda name: None)
    made, told = Comparison.of("digits", BOTH | {"pooled": "pooled"}, STAGES).installed()
    assert [line.name for line in made.chosen][-2:] == ["mean pooling, trained", "SSTs"]
    assert {"truncation", "similarity merging"} <= {line.name for line in made.chosen}
    assert not {"TOVA", "SnapKV, query-aware"} & {line.name for line in made.chosen}
    (line,) = told
    assert "TOVA" in line and "pip install -e '.[baselines]'" in line
    with pytest.raises(ImportError, match="TOVA comes from kvpress, which isn't installed"):
        Comparison.of("digits", BOTH | {"methods": ["TOVA"]}, STAGES).installed()
    monkeypatch.setattr("speech_xl.evaluation.compressors.registry.find_spec", lambda name: name)
    whole = Comparison.of("digits", BOTH, STAGES)
    assert whole.installed() == (whole, [])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"ratioz": [4]}, r"compare\.digits\.ratioz: there is no such key; there are base, .*ratios"),
        ({"base": "stage9"}, r"compare\.digits\.base: there is no stage 'stage9'; there are stage2, stage3"),
        ({"rows": {"a": ["stage9"]}}, r"compare\.digits\.rows\.a: there is no stage 'stage9'"),
        ({"rows": ["stage3"]}, r"compare\.digits\.rows: got \['stage3'\]; give a mapping"),
        ({"rows": {"a": ["stage3", "stage3_1"], "b": "compact"}}, r"compare\.digits\.rows: .*'a': 2, 'b': 1"),
        ({"rows": {"SSTs": "stage3"}}, r"compare\.digits\.rows\.SSTs: a compressor has this name"),
        (
            {"methods": ["Snap"]},
            r"compare\.digits\.methods: there is no compressor 'Snap'; there are full_KV, .*SnapKV",
        ),
        ({"methods": ["mean_pooling_trained"]}, r"'mean pooling, trained' needs a stage of its own; give .*\.pooled"),
        ({"ratios": [0]}, r"compare\.digits\.ratios\[0\]"),
        ({"ratios": 4}, r"compare\.digits\.ratios: got 4; give a list"),
        ({"tasks": ["asr", "qaa"]}, r"compare\.digits\.tasks: there is no task 'qaa'"),
        ({"split": "train"}, r"compare\.digits\.split: got 'train'; give one of dev, test"),
        ({"sessions": 0}, r"compare\.digits\.sessions"),
        ({"together": 0}, r"compare\.digits\.together"),
        ({"data": ["limit_dev"]}, r"compare\.digits\.data: got \['limit_dev'\]; give a mapping"),
        ({"baseline": "TOVAA"}, r"compare\.digits\.baseline: there is no row 'TOVAA'; there are full KV"),
        ({"summary": ["SSTs"]}, r"compare\.digits\.summary: got \['SSTs'\]; give a mapping from keys to names of rows"),
        ({"summary": {"sst": "SST"}}, r"compare\.digits\.summary\.sst: there is no row 'SST'; there are full KV"),
        ({"summary": {"At 4x": "SSTs"}}, r"compare\.digits\.summary: got the key 'At 4x'; use lower case"),
        (
            {"sst": ["stage3", "stage3_1"], "summary": {"full": "full KV", "sst": "SSTs"}},
            r"compare\.digits\.summary: its rows have \{'full KV': 1, 'SSTs': 2\} stages; give all as many seeds",
        ),
        ({"tasks": ["caption"], "summary": {"sst": "SSTs"}}, r"compare\.digits\.summary: none of the tasks caption"),
        ({"base": None, "sst": None}, r"compare\.digits: nothing to compare"),
    ],
)
def test_what_an_entry_may_not_say_is_refused_by_key(entry, message):
    with pytest.raises(ValueError, match=message):
        Comparison.of("digits", BOTH | entry, STAGES)
    with pytest.raises(ValueError, match=r"compare\.digits: got 'stage3'"):
        Comparison.of("digits", "stage3", STAGES)
    with pytest.raises(ValueError, match="becomes a file name"):
        Comparison.of("Digits!", BOTH, STAGES)
