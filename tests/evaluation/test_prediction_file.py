"""Predictions: resumable JSONL, repair after a kill, settings that must not change, several ranks."""

import json
from dataclasses import replace

import pytest

from speech_xl.evaluation.prediction import answer_id
from speech_xl.evaluation.prediction_file import PredictionWriter, prediction_path, read_predictions


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_writes_raw_and_normalised_texts_with_counts(tmp_path, make_record, make_question):
    path = tmp_path / "new" / "predictions.jsonl"
    with PredictionWriter(path) as writer:
        assert writer.write(make_record(reference="One, two three four.", hypothesis="one two TREE four five five"))
        assert writer.write(make_question(right=False))
    asr, qa = lines(path)
    assert (asr["reference"], asr["reference_normalised"]) == ("One, two three four.", "one two three four")
    assert (asr["errors"], asr["errors_cut"], asr["words"]) == (3, 2, 4)
    assert (asr["cut_id"], asr["ratio"], asr["kept_kv_bytes"]) == ("s0", 2, 2048)
    assert qa["correct"] is False and "errors" not in qa
    assert asr["id"] != qa["id"]


def test_resume_skips_what_is_done(tmp_path, make_record):
    path = tmp_path / "p.jsonl"
    records = [make_record(f"s{i}", ratio) for i in range(3) for ratio in (2, 4)]
    with PredictionWriter(path) as writer:
        for record in records[:3]:
            writer.write(record)
    with PredictionWriter(path) as writer:
        assert [writer.done(record.id) for record in records] == [True] * 3 + [False] * 3
        assert [writer.write(record) for record in records] == [False] * 3 + [True] * 3
        assert not writer.write(records[5])  # nor twice in one run
    assert [record.id for record in read_predictions(path)] == [record.id for record in records]


def test_a_half_written_last_line_is_taken_out_at_every_cut(tmp_path, make_record):
    path = tmp_path / "p.jsonl"
    records = [make_record("s0"), make_record("s1", hypothesis="\u00e9t\u00e9")]
    with PredictionWriter(path) as writer:
        for record in records:
            writer.write(record)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first + 1, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.warns(UserWarning, match="half written"), PredictionWriter(path) as writer:
            assert writer.done(records[0].id) and not writer.done(records[1].id)
            writer.write(records[1])
        assert path.read_bytes() == whole


def test_a_whole_last_line_without_its_end_is_kept(tmp_path, make_record):
    path = tmp_path / "p.jsonl"
    with PredictionWriter(path) as writer:
        writer.write(make_record("s0"))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    with PredictionWriter(path) as writer:
        assert not writer.write(make_record("s0"))
        writer.write(make_record("s1"))
    assert len(read_predictions(path)) == 2


def test_every_answer_is_on_disk_once_written(tmp_path, make_record):
    writer = PredictionWriter(tmp_path / "p.jsonl")
    writer.write(make_record())
    assert len(read_predictions(tmp_path / "p.jsonl")) == 1  # not closed: a kill now would lose nothing
    writer.close()


def test_damage_in_the_middle_is_named_not_mended(tmp_path, make_record):
    path = tmp_path / "p.jsonl"
    with PredictionWriter(path) as writer:
        writer.write(make_record())
    path.write_bytes(b'{"torn\n' + path.read_bytes())
    with pytest.raises(ValueError, match=r"p.jsonl, line 1: not a prediction .*take the line out"):
        PredictionWriter(path)
    path.write_bytes(b"[1, 2]\n")  # some other file
    with pytest.raises(ValueError, match="line 1: not a prediction"):
        read_predictions(path)


def test_other_settings_are_refused(tmp_path, make_record):
    path = tmp_path / "p.jsonl"
    with PredictionWriter(path, {"checkpoint": "a.ckpt", "limit": 5}):
        pass
    with PredictionWriter(path, {"checkpoint": "b.ckpt", "limit": 5}) as writer:  # nothing written yet: fine
        writer.write(make_record())
    with PredictionWriter(path, {"checkpoint": "b.ckpt", "limit": 5}):
        pass
    with pytest.raises(ValueError, match=r"made with checkpoint = 'b.ckpt', and this run has 'c.ckpt'"):
        PredictionWriter(path, {"checkpoint": "c.ckpt", "limit": 5})


def test_ranks_write_apart_and_are_read_together(tmp_path, make_record):
    path = tmp_path / "p.jsonl"
    for rank in (0, 1):
        with PredictionWriter(path, rank=rank, world_size=2) as writer:
            writer.write(make_record(f"s{rank}"))
    assert not path.exists()
    with PredictionWriter(path) as writer:  # resumed on one device
        assert not writer.write(make_record("s1"))
        writer.write(make_record("s2"))
    assert sorted(record.cut_id for record in read_predictions(path)) == ["s0", "s1", "s2"]


def test_another_rank_may_be_writing(tmp_path, make_record):
    path = tmp_path / "p.jsonl"
    (tmp_path / "p.rank1.jsonl").write_bytes(b'{"id": "half')
    with PredictionWriter(path, rank=0, world_size=2) as writer:
        assert writer.write(make_record())
    assert (tmp_path / "p.rank1.jsonl").read_bytes() == b'{"id": "half'


def test_clear_refusals(tmp_path):
    with pytest.raises(ValueError, match="ending in .jsonl"):
        PredictionWriter(tmp_path / "p.json")
    with pytest.raises(FileNotFoundError, match="run predict"):
        read_predictions(tmp_path / "absent.jsonl")


def test_one_question_asked_twice_has_two_answers(tmp_path, make_question):
    path = tmp_path / "p.jsonl"
    first = make_question()
    second = replace(make_question(), occurrence=2, kind="who", reference="Three.")
    assert answer_id("s0", "qa", 2, "a?") == answer_id("s0", "qa", 2, "a?", 1) != answer_id("s0", "qa", 2, "a?", 2)
    with PredictionWriter(path) as writer:
        assert writer.write(first) and writer.write(second)
    with PredictionWriter(path) as writer:
        assert not writer.write(first) and not writer.write(second)
    assert [record.reference for record in read_predictions(path)] == ["Two.", "Three."]


def test_files_are_named_by_weights_and_settings(tmp_path):
    settings = {"asked": "1f", "compressor": "SnapKV"}
    names = {
        prediction_path(tmp_path, name, tag, {**settings, **more}).name
        for name in ("test_SnapKV", "test_SnapKV, query-aware")
        for tag in ("aa", "bb")
        for more in ({}, {"asked": "2f"})
    }
    assert len(names) == 8
    assert all(
        name.endswith(".jsonl") and name.replace("-", "_").removesuffix(".jsonl").isidentifier() for name in names
    )
