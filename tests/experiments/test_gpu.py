"""The GPU benchmark on small shapes and a CPU: every figure is there, failures don't end it, the lines add up."""

import json

import pytest
import torch

from experiments.measurements import gpu, gpu_training
from speech_xl.model.attention import query_chunks

CPU = torch.device("cpu")


@pytest.mark.slow
def test_the_quick_run_measures_every_cell_and_writes_result_and_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_training, "CAP", 0.0)  # one step of each
    gpu.main(["--quick", "--out", str(tmp_path)])
    entry = json.loads((tmp_path / "results" / "gpu.json").read_text())
    assert (tmp_path / "pictures" / "gpu.png").stat().st_size > 10_000
    cells = {(row["rows"], row["method"]): row for row in entry["training"]["cells"]}
    wanted = gpu_training.methods(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    assert set(cells) == {(rows, method) for rows in (2, 1) for method in wanted}
    assert not [row for row in cells.values() if "failed" in row]
    for rows in (2, 1):
        ours = [cells[rows, method]["loss"] for method in wanted if method != gpu_training.PLAIN]
        assert ours == pytest.approx([ours[0]] * len(ours), rel=2e-2), "one function, computed in several ways"
    assert entry["training"]["mask"]["percent_left_out"] >= 0
    kept = {run["ratio"]: [mark["kept_tokens"] for mark in run["marks"]] for run in entry["listening"]}
    prefix = kept[1][0] - 2 * gpu.INTERVAL
    assert kept == {ratio: [prefix + n * -(-gpu.INTERVAL // ratio) for n in (2, 4)] for ratio in (1, 8, 16)}
    assert all(mark["tokens_a_second"] > 0 for run in entry["listening"] for mark in run["marks"])
    assert "listen_0.133333min_8x_seconds" in entry["summary"]
    assert capsys.readouterr().out.splitlines()[-1].endswith("tokens/s")


def test_the_answer_is_as_long_as_a_transcript():
    suffix = gpu_training.Bench(gpu.small(), CPU).suffix(20 * gpu.MINUTE)
    assert sum(label != gpu_training.IGNORE for label in suffix.labels) == pytest.approx(
        20 * gpu_training.ANSWERED, rel=0.02
    )


def test_a_cell_that_runs_out_of_memory_is_null_and_says_so():
    def step():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried\nmore")

    row = gpu_training.steps(step, CPU)
    assert row == {"ms": None, "failed": "OutOfMemoryError: CUDA out of memory. Tried"}
    cell = {"method": gpu_training.FLEX, "rows": 1, "minutes": 60} | row
    varying = [{"frames": 800, "ms": 2.0, "graphs": 1}]
    trained = {"cells": [cell], "varying": varying, "mask": {"queries": 9, "ms": None, "failed": "x"}}
    assert set(gpu.summary_of(trained, [])) == {"compiling_ms", "last_of_varying_lengths_ms"}
    assert "1 x 60 min" in gpu.table(trained, []) and "OutOfMemoryError" in gpu.table(trained, [])


def test_pieces_are_as_large_as_the_method_says(monkeypatch):
    bench, sizes = gpu_training.Bench(gpu.small(), CPU), []
    monkeypatch.setattr(
        gpu_training, "query_chunks", lambda *args, size: sizes.append(size) or query_chunks(*args, size=size)
    )
    for method in gpu_training.QUERY_CHUNKS:
        bench.step(method, bench.speech(1, 60), bench.suffix(60))
    assert sizes == [128, 1024]
