"""Two processes train as one that accumulates their batches: the same weights after the same number of steps."""

import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from experiments.run import main
from tests.test_end_to_end import EXPERIMENTS, ROOT, stages


def fit(name, *flags):
    """A command for stage two, with SSTs at drawn ratios: three plain steps, whose size is that of the gradient."""
    command = ["fit", "-c", "second.yaml", "--init_from", "null", "--variant", name, "--model.optimizer", "SGD"]
    return [*command, "--trainer.max_steps", "3", "--trainer.limit_val_batches", "0", *flags]


def test_two_processes_train_as_one_that_accumulates(tmp_path, monkeypatch):
    stages(tmp_path)
    monkeypatch.chdir(tmp_path)
    main(fit("one", "--trainer.accumulate_grad_batches", "2"), EXPERIMENTS)
    main(fit("half"), EXPERIMENTS)
    flags = ["--trainer.devices", "2", "--trainer.strategy", "ddp_find_unused_parameters_true"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXPERIMENTS / "run.py"), *fit("two", *flags)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, half, two = (load_file(f"runs/{name}/two/weights.safetensors") for name in ("one", "half", "two"))
    assert any(name.startswith("sst.") for name in two)
    assert_close(two, one, atol=1e-8, rtol=1e-6)
    with pytest.raises(AssertionError):  # other batches are noticed
        assert_close(half, one, atol=1e-8, rtol=1e-6)
