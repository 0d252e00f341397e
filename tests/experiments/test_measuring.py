"""The measuring commands' own arithmetic: minutes, the chosen checkpoint's figures, summaries without holes."""

import pytest

from experiments.benchmarks import main_job, real_speech_first_run

POINTS = {
    "val/errors": [(100, 0.4, 60.0), (200, 0.2, 360.0), (300, 0.3, 660.0)],
    "val/wer_1x": [(100, 0.5, 60.0), (200, 0.1, 360.0), (300, 0.05, 660.0)],
    "train/loss": [(10, 3.0, 0.0), (290, 1.0, 660.0)],
}


def test_figures_are_those_of_the_chosen_checkpoint_not_the_best_of_each():
    assert real_speech_first_run.best(POINTS, "val/wer_1x") == 0.1
    assert real_speech_first_run.best(POINTS, "val/wer_2x") is None
    assert real_speech_first_run.best({}, "val/wer_1x") is None


def test_minutes_run_from_the_first_to_the_last_point():
    assert real_speech_first_run.minutes(POINTS) == pytest.approx(11.0)


def test_the_main_jobs_summary_holds_minutes_rates_and_their_intervals():
    times = {"venv": 0.5, "install": 1.5, "stage2": 15.0, "stage3": 20.0, "test": 4.0}
    rate = {"value": 0.1, "low": 0.05, "high": 0.2}
    summary = main_job.summarise(times, {1: {"wer": rate, "qa": rate}, 16: {"wer": rate, "qa": rate}})
    assert summary["stage2_fresh_minutes"] == 17.0 and summary["all_stages_minutes"] == 35.0
    assert (summary["wer_16x"], summary["wer_1x_low"], summary["qa_1x_high"]) == (0.1, 0.05, 0.2)
    assert all(isinstance(value, float) for value in summary.values())
