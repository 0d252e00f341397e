"""The number format where the config leaves it open: what the machine is fast at."""

import pytest

import speech_xl.precision as precision
from speech_xl.precision import best_precision


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
