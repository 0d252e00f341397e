"""Rows of comparisons: rates, means over sessions, paired differences, seeds, the summary, tables and pictures."""

import csv
from dataclasses import replace

import pytest
from PIL import Image

from speech_xl.evaluation.pictures import picture
from speech_xl.evaluation.rows import (
    accuracy_delta,
    differences,
    rounded,
    row_of,
    seeds_of,
    wer_delta,
)
from speech_xl.evaluation.tables import method_table, write_csv
from tests.predictions import make_prediction

RATIOS = (2, 4, 8)
BASE = "as it is"


def answer(cut, task, reference, hypothesis, kind="", **more):
    return make_prediction(cut, task=task, kind=kind, reference=reference, hypothesis=hypothesis, **more)


def test_a_row_has_rates_with_intervals_and_means_over_sessions():
    records = [
        answer("a", "asr", "one two", "one two", kept_kv_bytes=10, peak_kv_bytes=30, prefill_seconds=1.0),
        answer("b", "asr", "one two", "one six", kept_kv_bytes=30, peak_kv_bytes=50, prefill_seconds=2.0),
        answer("a", "qa", "three", "three", "count", kept_kv_bytes=99),
        answer("b", "qa", "two", "four", "times", kept_kv_bytes=99),
    ]
    row = row_of("ours", 4, records, {"weights": "sst"})
    assert (row["wer"], row["wer_cut"], row["qa_accuracy"], row["attribute_accuracy"]) == (0.25, 0.25, 0.5, 1.0)
    assert row["wer_low"] <= 0.25 <= row["wer_high"]
    assert (row["kept_kv_bytes"], row["peak_kv_bytes"], row["prefill_seconds"]) == (20.0, 40.0, 1.5)
    assert (row["items"], row["sessions"], row["weights"], row["decode_seconds"]) == (4, 2, "sst", None)
    assert (row["right_count"], row["right_times"]) == (1.0, 0.0)
    assert (row["errors"], row["words"], row["kept_kv_share"], row["unfinished"]) == (1, 4, 0.5, None)


def test_a_row_of_sessions_beyond_a_minute_has_the_wer_of_each_minute():
    long = answer("a", "asr", "[3] one two[61] three four[125] five", "[3] one two[61] three six[200] seven")
    row = row_of("ours", 4, [long, answer("b", "asr", "[3] one two", "[3] one six")], {})
    assert (row["wer_minute_1"], row["wer_minute_2"], row["wer_minute_3"]) == (0.25, 0.5, 1.0)
    assert "wer_minute_4" not in row, "nothing is said there"
    assert row["wer_minute_1_low"] == 0.0 and row["wer_minute_1_high"] == 0.5
    assert "wer_minute_1" not in row_of("ours", 4, [answer("b", "asr", "[3] one two", "[3] one six")], {})


def test_a_row_of_questions_alone_counts_every_session_once():
    records = [
        answer("a", "qa", "three", "three", "count", kept_kv_bytes=10),
        answer("a", "qa", "yes", "yes", "same", kept_kv_bytes=10),
        answer("b", "qa", "two", "four", "count", kept_kv_bytes=40),
    ]
    row = row_of("ours", 4, records, {})
    assert (row["kept_kv_bytes"], row["sessions"], row["items"], row["wer"]) == (25.0, 2, 3, None)
    assert row["attribute_accuracy"] == pytest.approx(2 / 3)


def test_more_errors_are_those_of_transcripts_alone():
    right, wrong = answer("a", "asr", "one two", "one two"), answer("a", "asr", "one two", "one six")
    asked = answer("a", "qa", "three", "three", "count")
    assert wer_delta([wrong, asked], [right])["more_errors"] == 0.5
    assert wer_delta([asked], [asked]) == {}


def test_more_right_are_answers_alone():
    asked = [answer(cut, "qa", "three", said, "count") for cut, said in (("a", "three"), ("b", "four"))]
    wrong, spoken = answer("a", "qa", "three", "two", "count"), answer("a", "asr", "one two", "one six")
    found = accuracy_delta([spoken, *asked], [wrong, asked[1]], "more_right")
    assert found["more_right"] == 0.5 and set(found) == {"more_right", "more_right_low", "more_right_high"}
    assert accuracy_delta([spoken], [spoken], "more_right") == {}


def variants():
    """Two rows of two seeds each, at every ratio: name and ratio -> predictions of each seed."""
    said = {BASE: ["one two", "one two"], "compact": ["one two", "six six"]}
    found = {
        (name, ratio): [
            [
                make_prediction(f"s{n}", ratio, reference="one two", hypothesis=text)
                for n, text in enumerate(texts[::order] * 2)
            ]
            for order in (1, -1)
        ]
        for name, texts in said.items()
        for ratio in RATIOS
    }
    first = found["compact", 2][0]
    first[0] = replace(first[0], hypothesis="six six")
    return found


def rows_of_variants(found):
    rows = []
    for (name, ratio), seeds in found.items():
        row = row_of(name, ratio, [one for seed in seeds for one in seed], {"own": True}) | seeds_of(seeds)
        rows.append(row if name == BASE else row | differences(seeds, found[BASE, ratio]))
    return rows


def test_variants_are_set_beside_the_base_on_the_same_sessions(tmp_path):
    found = variants()
    rows = rows_of_variants(found)
    assert all("more_errors" not in row for row in rows if row["method"] == BASE)
    compact = [row for row in rows if row["method"] == "compact"]
    assert [row["wer_cut_by_seed"] for row in compact] == [[0.75, 0.5], [0.5, 0.5], [0.5, 0.5]]
    assert [row["more_errors_by_seed"] for row in compact] == [row["wer_cut_by_seed"] for row in compact]
    assert [row["more_errors"] for row in compact] == [0.625, 0.5, 0.5] == [row["wer_cut"] for row in compact]
    assert [round(row["wer_cut_sd"], 4) for row in compact] == [0.1768, 0.0, 0.0]
    one = differences(found["compact", 8][1:], found[BASE, 8][1:])
    assert one["more_errors_by_seed"] == [0.5], "a seed alone is set beside the base's own"
    unlike = differences(found["compact", 8], found[BASE, 8][1:])
    assert unlike["more_errors"] == 0.5 and "more_errors_by_seed" not in unlike, "other seeds are no pairs"
    picture(rows, tmp_path / "ablations.png")
    assert Image.open(tmp_path / "ablations.png").width == 3 * 4 * 150, "a panel a ratio"


def test_what_cannot_be_known_is_null_and_lists_are_rounded():
    row = rounded({"wer": float("nan"), "wer_by_seed": [0.123456, float("nan")], "ratio": 4, "weights": "sst"})
    assert row == {"wer": None, "wer_by_seed": [0.1235, None], "ratio": 4, "weights": "sst"}


def test_a_table_says_seeds_and_differences_and_leaves_out_what_nobody_measured():
    rows = rows_of_variants(variants())
    text = method_table(rows, BASE)
    titles, _, *lines = text.splitlines()
    assert titles.endswith(f"| tokens kept | points of WER cut more than {BASE} |") and "prefill" not in titles
    assert "| compact | 2x | word | 62.5 %" in lines[3] and ", sd 17.7 of 2 seeds |" in lines[3]
    assert lines[0].endswith("| - |") and "| 62.5 [" in lines[3] and len(lines) == 6
    measured = method_table([row_of("ours", 4, [make_prediction(prefill_seconds=0.5, peak_kv_bytes=2**21)], {})])
    assert "| peak KV | prefill |" in measured and "| 2.00 MiB | 0.50 s |" in measured


def test_a_csv_holds_every_figure(tmp_path):
    write_csv(rows_of_variants(variants()), tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(value) for value in rows[3]["wer_cut_by_seed"].split()] == [0.75, 0.5] and rows[0][
        "more_errors"
    ] == ""


def test_the_picture_shows_questions_where_some_were_asked(tmp_path):
    spoken = answer("a", "asr", "one two", "one two")
    asked = answer("a", "qa", "three", "three", "count")
    widths = []
    for records in ([spoken], [spoken, asked], [asked]):
        rows = [row_of("ours", ratio, records, {}) for ratio in (4, 8)]
        picture(rows, tmp_path / "picture.png")
        widths.append(Image.open(tmp_path / "picture.png").width)
    assert widths[0] < widths[1] > widths[2]
