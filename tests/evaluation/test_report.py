"""Report: results.json and results.md from a predictions file."""

import json

import pytest

from speech_xl.evaluation.normaliser import NORMALISER
from speech_xl.evaluation.prediction_file import PredictionWriter, read_predictions
from speech_xl.evaluation.report import rows_of, score, write_report
from speech_xl.evaluation.tables import method_table


@pytest.fixture
def predictions(tmp_path, make_record, make_question):
    path = tmp_path / "predictions.jsonl"
    with PredictionWriter(path) as writer:
        for session in ("s0", "s1"):
            for ratio, size in ((16, 256), (2, 2048)):
                kept = {"kept_kv_bytes": size, "kept_kv_tokens": 100 // ratio, "compressor": "SSTs"}
                writer.write(make_record(session, ratio, finished=session == "s0", **kept))
                writer.write(make_question(session, ratio, kind="count", right=ratio == 2, **kept))
                writer.write(make_question(session, ratio, kind="who", **kept))
            writer.write(make_record(session, task="caption", instruction="describe", **kept))
    return path


def test_scores(predictions):
    scores = score(read_predictions(predictions))
    assert (scores["items"], scores["sessions"], scores["normaliser"]) == (14, 2, NORMALISER)
    assert list(scores["ratios"]) == ["2", "16"]  # by number, not by letter
    two = scores["ratios"]["2"]
    assert two["rates"]["wer"] == {"value": 0.25, "low": 0.25, "high": 0.25, "errors": 2, "words": 8, "items": 2}
    assert two["rates"]["qa/count"]["value"] == 1.0
    assert scores["ratios"]["16"]["rates"]["qa"]["value"] == 0.5
    # Two sessions of 10 s; the four answers read from each memory don't count it four times.
    assert two["memory"] == {
        "sessions": 2,
        "audio_seconds": 20.0,
        "kept_kv_tokens": 100,
        "total_kv_tokens": 200,
        "kept_kv_bytes_per_session": 2048.0,
        "kept_kv_bytes_per_audio_second": 204.8,
    }
    assert scores["not_scored"] == {"caption": 2}


def test_report_files(predictions, tmp_path):
    scores = write_report(predictions, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == scores
    text = (tmp_path / "out" / "results.md").read_text()
    assert NORMALISER in text and "2 of task caption" in text
    rows = [line for line in text.splitlines() if line.startswith("| SSTs | 16x")]
    assert rows == [
        "| SSTs | 16x | word | 25.0 % [25.0, 25.0] | 2 / 8 | 25.0 % [25.0, 25.0] | 6.7 % [6.7, 6.7] | 2 "
        "| 50.0 % [50.0, 50.0] | 4 | 1 | 0.2 KiB | 0.0 KiB | 6.0 % |"
    ]
    assert "| count | 2 | 100.0 % [100.0, 100.0] | 0.0 % [0.0, 0.0] |" in text
    assert not list((tmp_path / "out").glob("*.part"))


def test_what_cannot_be_told_is_null_and_a_dash(tmp_path, make_record):
    scores = score([make_record()])
    assert scores["ratios"]["2"]["rates"]["wer"]["low"] is None
    assert "| 2x | word | 25.0 % | 1 / 4 | 25.0 % | 6.7 % | 1 | - | - |" in method_table(rows_of([make_record()]))
    json.dumps(scores, allow_nan=False)


def test_records_without_memory_figures_are_scored(make_record):
    unmeasured = make_record(kept_kv_bytes=None, kept_kv_tokens=None, total_kv_tokens=None)
    scores = score([unmeasured])
    assert scores["ratios"]["2"]["memory"]["kept_kv_bytes_per_session"] is None
    assert method_table(rows_of([unmeasured])).endswith("| - | - | - | - |")


def test_a_long_sessions_errors_stand_by_minute(tmp_path, make_record):
    path = tmp_path / "predictions.jsonl"
    said = "[0] one two [59] three [150] four"
    with PredictionWriter(path) as writer:
        for ratio, heard in ((1, said), (4, "[0] one two [59] three [150] five")):
            writer.write(make_record("s0", ratio, reference=said, hypothesis=heard))
    write_report(path, tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert "| minute of the session | words | 1x | 4x |" in text
    assert "| 1 | 3 | 0.0 % | 0.0 % |" in text and "| 3 | 1 | 0.0 % | 100.0 % |" in text


def test_short_sessions_have_no_minutes(predictions, tmp_path):
    write_report(predictions, tmp_path / "out")
    assert "minute of the session" not in (tmp_path / "out" / "results.md").read_text()


def test_sessions_without_speech_are_scored_and_said(tmp_path, make_record):
    path = tmp_path / "predictions.jsonl"
    with PredictionWriter(path) as writer:
        writer.write(make_record("s0", 2))
        writer.write(make_record("silent", 2, reference="", hypothesis="sy eyes"))
        writer.write(make_record("quiet", 2, reference="...", hypothesis="."))
        writer.write(make_record("silent", 8, reference="", hypothesis="one two three"))
    scores = write_report(path, tmp_path / "out")
    assert scores["ratios"]["2"]["without_speech"] == {"transcripts": 2, "insertions": 2}
    wer = scores["ratios"]["2"]["rates"]["wer"]
    assert (wer["value"], wer["errors"], wer["words"], wer["items"]) == (0.75, 3, 4, 3)  # insertions over all words
    alone = scores["ratios"]["8"]["rates"]["wer"]
    assert (alone["value"], alone["errors"], alone["words"]) == (None, 3, 0)
    text = (tmp_path / "out" / "results.md").read_text()
    assert "2 in 2 transcripts at 2x, 3 in 1 transcripts at 8x" in text and "| 8x | word | - | 3 / 0 |" in text


def test_a_report_of_sessions_with_speech_has_no_word_of_silence(predictions, tmp_path):
    write_report(predictions, tmp_path / "out")
    assert "without speech" not in (tmp_path / "out" / "results.md").read_text()
