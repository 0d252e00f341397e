"""The measuring commands' own arithmetic: minutes, summaries without holes."""

from experiments.benchmarks import main_job


def test_the_main_jobs_summary_holds_minutes_rates_and_their_intervals():
    times = {"venv": 0.5, "install": 1.5, "stage2": 15.0, "stage3": 20.0, "test": 4.0}
    rate = {"value": 0.1, "low": 0.05, "high": 0.2}
    summary = main_job.summarise(times, {1: {"wer": rate, "qa": rate}, 16: {"wer": rate, "qa": rate}})
    assert summary["stage2_fresh_minutes"] == 17.0 and summary["all_stages_minutes"] == 35.0
    assert (summary["wer_16x"], summary["wer_1x_low"], summary["qa_1x_high"]) == (0.1, 0.05, 0.2)
    assert all(isinstance(value, float) for value in summary.values())
