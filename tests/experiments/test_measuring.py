"""The measuring commands' own arithmetic: minutes, summaries without holes, FLOPs; and each whole, by its quick run."""

import json
import subprocess
import sys

import pytest

from experiments.measurements import default_stages, efficiency
from experiments.measurements.counting import INTERVAL, RATE, TEXT, Counted, counts_agree, full_cache, with_ssts
from experiments.measurements.record import ROOT
from experiments.measurements.sizes import smollm2_135m


def test_the_summary_of_the_default_stages_holds_minutes_rates_and_their_intervals():
    times = {"venv": 0.5, "install": 1.5, "stage2": 15.0, "stage3": 20.0, "test": 4.0}
    rate = {"value": 0.1, "low": 0.05, "high": 0.2}
    summary = default_stages.summarise(times, {1: {"wer": rate, "qa": rate}, 16: {"wer": rate, "qa": rate}}, "test")
    assert summary["stage2_fresh_minutes"] == 17.0 and summary["all_stages_minutes"] == 35.0
    assert (summary["wer_16x"], summary["wer_1x_low"], summary["qa_1x_high"]) == (0.1, 0.05, 0.2)
    assert summary.pop("split") == "test" and all(isinstance(value, float) for value in summary.values())


def test_what_is_counted_on_meta_tensors_is_what_a_model_that_listens_does():
    assert counts_agree() == pytest.approx(1, abs=1e-6)


def test_ssts_keep_a_sixteenth_and_read_for_fewer_flops_than_a_full_cache():
    llm = Counted(smollm2_135m(2, 2048))
    minute = {ratio: with_ssts(llm, 60, ratio, 0.0) for ratio in (1, 16)}
    frames = round(60 * RATE)
    assert minute[1].kept_bytes == (frames + TEXT) * llm.kv_bytes()
    kept = sum(-(-min(INTERVAL, frames - start) // 16) for start in range(0, frames, INTERVAL))
    assert minute[16].kept_bytes == (kept + TEXT) * llm.kv_bytes()
    assert minute[16].decode < minute[1].decode < full_cache(llm, 60, 0.0).decode


def test_flatness_is_of_the_last_tenth_over_the_second():
    assert efficiency.flatness([9.0] + [1.0] * 8 + [1.5]) == pytest.approx(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exactness", "training_speed", "efficiency"])
def test_each_quick_run_writes_its_record_and_picture(name, tmp_path):
    command = [sys.executable, f"experiments/measurements/{name}.py", "--quick", "--out", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT)
    assert json.loads((tmp_path / "results" / f"{name}.json").read_text())["summary"]
    assert (tmp_path / "pictures" / f"{name}.png").stat().st_size > 10_000
