"""experiments/tables/fair.py: sections that wait for their record, and what they say once it is there."""

import json
from typing import Any

import pytest

from experiments.tables import fair, records
from experiments.tables.pages import filled
from experiments.tables.registry import TABLES


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A function that writes records into a folder that stands for docs/results."""
    monkeypatch.setattr(records, "RESULTS", tmp_path)

    def write(name, **entry):
        (tmp_path / f"{name}.json").write_text(json.dumps({"data": "60 test sessions of digits", **entry}))
        records.record.cache_clear()
        records.rows.cache_clear()

    records.record.cache_clear()
    records.rows.cache_clear()
    yield write
    records.record.cache_clear()
    records.rows.cache_clear()


def row(method, ratio, *rates, figure="wer", **more):
    return {
        "method": method,
        "ratio": ratio,
        f"{figure}_by_seed": list(rates),
        "wer": None,
        "seeds": len(rates),
        **more,
    }


DIGITS = [
    row("SSTs as in Speech-XL", 4, 0.08, 0.08, wer=0.08),
    row("full KV", 1, 0.02, 0.04, wer=0.03),
    row("uniform stride", 4, 0.3, 0.5),
    row("truncation", 4, 0.5, 0.4),
    row("truncation", 8, 0.5, 0.4),
    row("uniform stride", 8, 0.6, 0.5),
    row("mean pooling, trained", 4, 0.05, 0.07, more_errors=0.02, more_errors_low=0.01, more_errors_high=0.03)
    | {"more_errors_by_seed": [0.01, 0.03]},
    row("SSTs", 4, 0.04, 0.04),
    row("SSTs", 8, 0.06, 0.07),
]


def test_a_section_without_its_record_is_empty_and_leaves_its_markers_alone(results):
    page = "before\n\n<!-- table: fair_digits -->\n<!-- end -->\n\nafter\n"
    assert filled(page, TABLES) == page
    assert filled(page.replace("-->\n<!-- end", "-->\n\nold\n\n<!-- end"), TABLES) == page
    waiting = ("gains", "default", "windows", "windows_blocks", "mechanism_digits", "fair_voices", "fair_digits_seeds")
    assert not any(TABLES[name]() for name in waiting)


def test_the_comparison_has_means_differences_and_the_best_without_training(results):
    results("fair_digits", rows=DIGITS)
    lines = TABLES["fair_digits"]().splitlines()
    assert lines[0] == "## Spoken digits, trained alike" and lines[2] == "| WER, % | 1x | 4x | 8x | 16x |"
    assert lines[4:11] == [
        "| full KV | 3.0 ± 1.4 |  |  |  |",
        "| SSTs |  | **4.0 ± 0.0** | **6.5 ± 0.7** |  |",
        "| SSTs as in Speech-XL |  | 8.0 ± 0.0 |  |  |",
        "| mean pooling, trained alike |  | 6.0 ± 1.4 |  |  |",
        "| best of 2 training-free (uniform stride; truncation) |  | 40.0 ± 14.1 | 45.0 ± 7.1 |  |",
        "| paired: mean pooling minus SSTs, points |  | +2.0 [1.0, 3.0] |  |  |",
        "| fewer errors of SSTs than of mean pooling, % |  | 33 |  |  |",
    ]
    assert lines[-1].startswith(
        "60 test sessions of digits. 2 trainings of each row: mean ± sample standard deviation."
    )
    assert "differences of WER are of hypotheses cut at 1.2 times the words of the reference." in lines[-1]
    assert lines[-1].endswith("The best training-free method is chosen by these sessions, at each ratio.")
    results("fair_digits", rows=[row for row in DIGITS if row["method"] not in ("uniform stride", "truncation")])
    assert TABLES["fair_digits"]().endswith("the words of the reference."), "no method without training, none chosen"


def test_every_seed_stands_in_a_table_of_its_own(results):
    results("fair_digits", rows=DIGITS)
    lines = TABLES["fair_digits_seeds"]().splitlines()
    assert "| full KV, seed 2 | 4.0 |  |  |  |" in lines and "| SSTs, seed 1 |  | 4.0 | 6.0 |  |" in lines
    assert lines[-1] == "| paired: mean pooling minus SSTs, seed 2, points |  | +3.0 |  |  |"


def test_of_questions_the_highest_is_best_and_wrong_answers_are_the_errors(results):
    asked = [
        row("SSTs", 4, 0.8, 0.8, figure="qa_accuracy"),
        row("mean pooling, trained", 4, 0.6, 0.6, figure="qa_accuracy", more_right=-0.2),
        row("random", 4, 0.3, 0.5, figure="qa_accuracy"),
    ]
    results("fair_voices", rows=asked)
    lines = TABLES["fair_voices"]().splitlines()
    assert (
        "| SSTs |  | **80.0 ± 0.0** |  |  |" in lines
        and "| best of 1 training-free (random) |  | 40.0 ± 14.1 |  |  |" in lines
    )
    assert "| paired: mean pooling minus SSTs, points |  | -20.0 |  |  |" in lines
    assert "| fewer wrong answers of SSTs than of mean pooling, % |  | 50 |  |  |" in lines
    assert "cut" not in lines[-1]
    assert "more_errors" not in TABLES["fair_voices_seeds"]()


def test_choices_of_the_mechanism_are_set_beside_the_first_row(results):
    beside: dict[str, Any] = {"more_errors": -0.02, "more_errors_low": -0.03, "more_errors_high": 0.01}
    changed = [row("as it is", 4, 0.06, 0.04, wer=0.05), row("shared positions", 4, 0.03, 0.03, wer=0.03, **beside)]
    results("mechanism_digits", rows=changed)
    lines = TABLES["mechanism_digits"]().splitlines()
    assert lines[4:6] == [
        "| as it is | 5.0 ± 1.4 |  |  |  |  |  |",
        "| shared positions | **3.0 ± 0.0** |  |  | -2.0 [-3.0, 1.0] |  |  |",
    ]


def test_default_stages_and_gains_read_shares_or_percent_as_the_record_says(results):
    summary = {"wer_1x": 0.2, "wer_4x": 0.25, "qa_1x": 0.8, "all_stages_minutes": 31.4, "split": "test"}
    results("default", summary=summary)
    lines = TABLES["default"]().splitlines()
    assert "| 1x | 20.0 | 80.0 |" in lines and "| 4x | 25.0 |  |" in lines and lines[-1].endswith("took 31 minutes.")
    only = TABLES["gains"]().splitlines()
    assert only[2:] == ["| default stages, synthetic speech | 20.0 | 25.0 |  |  |"]
    results("fair_digits", rows=DIGITS, unit="WER, %, mean over seeds", summary={"full_1x": 3.0, "sst_4x": 4.0})
    assert TABLES["gains"]().splitlines()[2:] == [
        "| default stages, synthetic speech | 20.0 | 25.0 |  |  |",
        "| spoken digits, full KV | 3.0 |  |  |  |",
        "| spoken digits, SSTs |  | 4.0 |  |  |",
        "| spoken digits, mean pooling, trained alike |  |  |  |  |",
    ]
    results("fair_read_speech", rows=DIGITS, unit="WER, %, mean over seeds", summary={"sst_8x": 6.0})
    assert "| read speech, SSTs |  |  | 6.0 |  |" in TABLES["gains"]().splitlines()


def test_windows_are_set_beside_one_answer_in_all_and_by_block(results):
    seconds = {"heard_seconds": 100.0, "decode_seconds_one": 90.0, "decode_seconds_windows": 30.0}
    long = {"audio": "an hour", "sessions": 1, "wer_one": 50.0, "wer_windows": 10.04} | seconds
    results("windows", rows=[long], blocks=[{"minutes": "0 to 10", "wer_one": 9.0, "wer_windows": 8.0}])
    assert "| an hour (1) | 50.0 | 10.0 | 100 | 90 | 30 | 3.0 |" in TABLES["windows"]().splitlines()
    assert TABLES["windows_blocks"]().splitlines()[2:] == ["| 0 to 10 | 9.0 | 8.0 |"]


def test_the_best_of_a_column_is_the_lowest_error_as_it_is_shown():
    assert fair.center([0.0404, 0.0396]) == 4.0 and fair.center([]) is None
