"""The number format where the config leaves it open: what the processor has units for."""

from pathlib import Path

import pytest

import speech_xl.run.cli as cli
import speech_xl.run.precision as precision
from speech_xl.run.cli import SpeechCLI
from speech_xl.run.command import parse_command
from speech_xl.run.precision import best_precision

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def has(monkeypatch, *flags: str) -> None:
    """Make the processor one with these instruction sets, and without a GPU beside it."""
    monkeypatch.setattr(precision, "processor_flags", lambda: frozenset(flags))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_a_processor_gets_bf16_where_it_has_units_for_it(monkeypatch, accelerator):
    for flag in ("avx512_bf16", "amx_bf16", "bf16"):
        has(monkeypatch, "avx2", flag)
        assert best_precision(accelerator) == "bf16-mixed"
    has(monkeypatch, "avx2", "avx512f")
    assert best_precision(accelerator) == "32-true"


@pytest.mark.parametrize(("units", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_gets_bf16_where_it_has_units_for_it(monkeypatch, units, expected):
    has(monkeypatch, "avx2")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: units)
    assert best_precision("auto") == best_precision("gpu") == expected
    assert best_precision("cpu") == "32-true"


def test_other_accelerators_train_in_float32():
    assert best_precision("mps") == "32-true"


@pytest.mark.parametrize(("machine", "key"), [("x86_64", "flags"), ("aarch64", "Features")])
def test_instruction_sets_are_read_from_the_system(monkeypatch, tmp_path, machine, key):
    monkeypatch.setattr("platform.machine", lambda: machine)
    path = tmp_path / f"cpuinfo-{machine}"
    path.write_text(f"processor\t: 0\n{key}\t\t: fpu avx2 bf16\n\nprocessor\t: 1\n{key}\t: other\n")
    assert precision.processor_flags(path) == {"fpu", "avx2", "bf16"}
    assert precision.processor_flags(tmp_path / "missing") == frozenset()


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
def test_a_command_obeys_a_named_precision_and_decides_one_left_open(flags, fast, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "best_precision", lambda accelerator: fast)
    flags = ["--runs", str(tmp_path), "--trainer.accelerator", "cpu", *flags]
    command = parse_command(["fit", "-c", "stage1.yaml", *flags], EXPERIMENTS)
    assert command is not None
    made = Made(command, None)
    assert made.trainer.precision == expected
