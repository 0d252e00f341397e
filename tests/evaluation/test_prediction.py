"""Prediction: what a line holds, what is refused by name, and which older lines are read."""

import json

import pytest

from speech_xl.evaluation.prediction import UNKNOWN_STEP, Prediction
from speech_xl.evaluation.prediction_file import PredictionWriter, read_predictions
from tests.predictions import make_prediction


def test_a_line_is_read_as_it_was_written():
    one = make_prediction(language=None, timestamps=None, kept_kv_bytes=10, peak_kv_bytes=30, prefill_seconds=0.5)
    line = json.loads(json.dumps(one.to_json()))
    assert Prediction.from_json(line, "here") == one
    assert line["timestamps"] is None and "decode_seconds" not in line, "not measured is left out, no timestamps said"
    assert line["id"] == one.id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kept_bytes": 3}, r"p\.jsonl, line 1: unknown key 'kept_bytes'; a prediction has cut_id, .*, kept_kv_bytes"),
        ({"ratio": "4"}, r"p\.jsonl, line 1: ratio is '4', and must be int"),
        ({"ratio": True}, "ratio is True, and must be int"),
        ({"hypothesis": None}, "hypothesis is None, and must be str"),
        ({"hypothesis": ...}, r"p\.jsonl, line 1: the key 'hypothesis' is missing"),
    ],
)
def test_what_is_no_prediction_is_refused_by_key(tmp_path, change, message):
    line = make_prediction().to_json() | change
    line = {key: value for key, value in line.items() if value is not ...}
    (tmp_path / "p.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=message):
        read_predictions(tmp_path / "p.jsonl")


def test_lines_of_older_versions_are_read():
    """The oldest name the session by `id` alone and say nothing of timestamps: what looks like one is taken out."""
    old = {"id": "s0", "task": "asr", "ratio": 4, "instruction": "transcribe", "reference": "[0] one", "hypothesis": ""}
    found = Prediction.from_json(old | {"errors": 1, "words": 1, "reference_normalised": "one"}, "here")
    assert (found.cut_id, found.timestamps, found.split, found.compressor) == ("s0", UNKNOWN_STEP, "", "")
    assert found.reading == {"language": None, "timestamps": True}
    later = old | {"id": found.id, "cut_id": "s0", "timestamps": None}
    assert Prediction.from_json(later, "here").reading["timestamps"] is False


def test_all_that_is_written_beside_the_fields_is_read_over(tmp_path, make_record, make_question):
    path, both = tmp_path / "p.jsonl", [make_record(), make_question()]
    with PredictionWriter(path) as writer:
        for one in both:
            writer.write(one)
    assert read_predictions(path) == both
