"""Two runs' losses are compared step by step, and unlike runs are named."""

import json
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from experiments.measurements.compare_losses import main


def run(folder: Path, losses: list[float], stage: str = "stage1") -> Path:
    with SummaryWriter(folder / stage / "tensorboard") as writer:
        for step, loss in enumerate(losses):
            writer.add_scalar("train/loss", loss, step)
        writer.add_scalar("val/errors", 0.5, len(losses))
    return folder


def test_equal_and_unlike_losses(tmp_path, capsys):
    before = run(tmp_path / "before", [3.0, 2.0])
    assert main([str(before), str(run(tmp_path / "same", [3.0, 2.0])), "--out", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "unchanged_losses.json").read_text())["summary"]
    assert summary["stage1_train_loss_values"] == 2 and summary["stage1_train_loss_largest_difference"] == 0
    assert main([str(before), str(run(tmp_path / "other", [3.0, 2.5])), "--out", str(tmp_path)]) == 1
    assert "stage1: train/loss: 2 values, largest difference 0.5" in capsys.readouterr().out


def test_runs_that_cannot_be_compared_are_named(tmp_path):
    before = run(tmp_path / "before", [3.0, 2.0])
    with pytest.raises(ValueError, match="stage1: train/loss stands at 2 and 3 other steps"):
        main([str(before), str(run(tmp_path / "longer", [3.0, 2.0, 1.0]))])
    with pytest.raises(ValueError, match="give like folders"):
        main([str(before), str(run(tmp_path / "unlike", [3.0], stage="stage2"))])
