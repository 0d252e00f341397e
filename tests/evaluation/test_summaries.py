"""Summaries of a comparison: of all methods as shares, of chosen rows in percent, and the best training-free method."""

from speech_xl.evaluation.summaries import best_training_free, chosen_summary, summary_of


def test_the_best_baseline_is_no_sst_and_of_the_same_ratio():
    rows = [{"method": "full KV", "ratio": 1, "wer": 0.01, "wer_cut": 0.01}]
    for method, at4, at8 in (
        ("SSTs", 0.1, 0.2),
        ("SSTs appended", 0.05, 0.3),
        ("random", 0.4, 0.9),
        ("TOVA", 0.5, 0.6),
    ):
        rows += [
            {"method": method, "ratio": ratio, "wer": wer, "wer_cut": wer / 2} for ratio, wer in ((4, at4), (8, at8))
        ]
    assert summary_of(rows) == {
        "methods": 5,
        "wer_1x": 0.01,
        "sst_wer_4x": 0.1,
        "best_baseline_wer_4x": 0.4,
        "sst_wer_8x": 0.2,
        "best_baseline_wer_8x": 0.6,
        "sst_wer_cut_8x": 0.1,
    }


def test_of_answers_the_best_baseline_has_most_right():
    rows = [{"method": name, "ratio": 8, "qa_accuracy": right} for name, right in (("SSTs", 0.7), ("random", 0.3))]
    rows.append({"method": "TOVA", "ratio": 8, "qa_accuracy": 0.5})
    assert summary_of(rows) == {"methods": 3, "sst_qa_8x": 0.7, "best_baseline_qa_8x": 0.5}


def test_the_summary_of_rows_of_own_stages_names_each():
    rows = [{"method": "no clock", "ratio": 4, "own": True, "wer_cut": 0.1, "qa_accuracy": None}]
    assert summary_of(rows) == {"methods": 1, "no_clock_wer_cut_4x": 0.1}


def seeds(method, ratio, *wers, **more):
    row = {
        "method": method,
        "ratio": ratio,
        "seeds": len(wers),
        "wer_by_seed": list(wers),
        "wer": sum(wers) / len(wers),
    }
    return {"weights": "base", "own": False, "needs_question": False} | row | more


ROWS = [
    seeds("full KV", 1, 0.02, 0.04),
    seeds("SSTs", 4, 0.03, 0.06, weights="sst"),
    seeds("SSTs", 8, 0.05, 0.08, weights="sst"),
    seeds("mean pooling, trained", 4, 0.06, 0.1, weights="pooled"),
    seeds("uniform stride", 4, 0.3, 0.5),
    seeds("mean pooling", 4, 0.5, 0.4),
    seeds("uniform stride", 8, 0.9, 0.8),
    seeds("mean pooling", 8, 0.6, 0.65),
    seeds("SnapKV, query-aware", 8, 0.1, 0.1, needs_question=True),
    seeds("as it was", 8, 0.01, 0.01, own=True),
]


def test_a_chosen_row_is_in_percent_at_each_ratio_as_the_mean_of_its_seeds():
    chosen = {"full": "full KV", "sst": "SSTs", "pooled": "mean pooling, trained"}
    assert chosen_summary(ROWS, chosen, "asr", "test") == {
        "full_1x": 3.0,
        "sst_4x": 4.5,
        "sst_8x": 6.5,
        "pooled_4x": 8.0,
        "seeds": 2,
        "split": "test",
    }
    right = {"method": "SSTs", "ratio": 4, "seeds": 2, "qa_accuracy_by_seed": [0.7, 0.8]}
    assert chosen_summary([right], {"sst": "SSTs"}, "qa", "dev") == {"sst_4x": 75.0, "seeds": 2, "split": "dev"}


def test_a_figure_that_a_seed_has_not_got_is_left_out():
    unknown = seeds("SSTs", 8, 0.1, 0.2) | {"wer_by_seed": [0.1, None]}
    assert chosen_summary([ROWS[0], unknown], {"full": "full KV", "sst": "SSTs"}, "asr", "test") == {
        "full_1x": 3.0,
        "seeds": 2,
        "split": "test",
    }


def test_the_best_training_free_method_is_untrained_and_sees_no_question():
    assert best_training_free(ROWS, "asr") == {
        "4x": {"method": "uniform stride", "wer": 0.4},
        "8x": {"method": "mean pooling", "wer": 0.625},
    }
    asked = [
        {"method": name, "ratio": 4, "weights": "base", "qa_accuracy": right}
        for name, right in [("a", 0.4), ("b", 0.6)]
    ]
    assert best_training_free(asked, "qa") == {"4x": {"method": "b", "qa_accuracy": 0.6}}
    assert best_training_free(ROWS[:4], "asr") == {}, "full KV drops nothing"
