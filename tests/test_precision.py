"""The number format where the config leaves it open: what the machine is fast at."""

from pathlib import Path

import pytest

import speech_xl.cli as cli
import speech_xl.precision as precision
from speech_xl.cli import SpeechCLI
from speech_xl.precision import best_precision
from speech_xl.stages import parse_command

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def timed(monkeypatch, bf16: float, float32: float):
    monkeypatch.setattr(precision, "matmul_seconds", lambda dtype: bf16 if "bfloat16" in str(dtype) else float32)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_a_processor_gets_the_format_it_multiplies_faster_in(monkeypatch, accelerator):
    timed(monkeypatch, bf16=1.0, float32=2.0)
    assert best_precision(accelerator) == "bf16-mixed"
    timed(monkeypatch, bf16=2.0, float32=1.0)
    assert best_precision(accelerator) == "32-true"


@pytest.mark.parametrize(("units", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_gets_bf16_where_it_has_units_for_it(monkeypatch, units, expected):
    timed(monkeypatch, bf16=1.0, float32=1.0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: units)
    assert best_precision("auto") == best_precision("gpu") == expected
    assert best_precision("cpu") == "32-true"


def test_other_accelerators_train_in_float32():
    assert best_precision("mps") == "32-true"


def test_this_machine_is_measured():
    import torch

    assert 0 < precision.matmul_seconds(torch.float32, size=64) < 1.0


class Made(SpeechCLI):
    """Makes everything a command needs and runs nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


@pytest.mark.parametrize(
    ("flags", "fast", "expected"),
    [
        ([], "bf16-mixed", "bf16-mixed"),
        ([], "32-true", "32-true"),
        (["--trainer.precision", "32-true"], "bf16-mixed", "32-true"),
        (["--trainer.precision", "bf16-mixed"], "32-true", "bf16-mixed"),
    ],
)
def test_a_command_obeys_a_named_precision_and_measures_one_left_open(flags, fast, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "best_precision", lambda accelerator: fast)
    flags = ["--runs", str(tmp_path), "--trainer.accelerator", "cpu", *flags]
    command = parse_command(["fit", "-c", "stage1.yaml", *flags], EXPERIMENTS)
    assert command is not None
    made = Made(command, None)
    assert made.trainer.precision == expected
