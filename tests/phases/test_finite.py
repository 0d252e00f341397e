"""A loss or gradient that isn't finite: no step, its sessions named, an end after a few; nothing broken is written."""

import os
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn
from safetensors.torch import save_file

from speech_xl.phases import SemanticAlignment
from speech_xl.phases.finite import DivergedError
from speech_xl.phases.weights import WeightsError, load_strict, read_weights, save_weights
from speech_xl.run.user_errors import exit_on_user_error
from tests.phases.parts import Given, batch, fit, phase, weights

ROOT = Path(__file__).parents[2]
ONE, TWO, BAD = (("one", 0.3, [("say", "a")]), ("two", 0.5, [("who?", "ada")]), ("bad", 0.4, [("say", "b")]))


def sound(folder, *rows):
    return batch(folder, *rows)


def broken(folder):
    """A batch of NaN."""
    given = batch(folder, BAD)
    given.audio = [None if audio is None else torch.full_like(audio, float("nan")) for audio in given.audio]
    return given


def trained(folders, folder, batches, steps, **options):
    """A phase trained with momenta, weight decay and a schedule; and its trainer."""
    model = phase(
        SemanticAlignment,
        folders,
        {"adapter.*": 1e-3},
        optimizer=lambda groups: torch.optim.AdamW(groups, weight_decay=0.5),
        scheduler="constant_with_warmup",
        warmup_steps=8,
        cache_frames=False,
    )
    return model, fit(model, Given(batches, folder), steps, **options)


def state(trainer):
    """Momenta, the optimizer's own steps and the schedule, as plain values."""
    optimizer = trainer.optimizers[0].state_dict()
    inner = {f"{i}.{k}": v.tolist() for i, one in optimizer["state"].items() for k, v in one.items()}
    return (
        inner,
        [group["lr"] for group in optimizer["param_groups"]],
        trainer.lr_scheduler_configs[0].scheduler.last_epoch,
    )


def test_a_step_that_is_not_finite_leaves_everything_as_it_was(folders, tmp_path):
    one, two = sound(tmp_path, ONE), sound(tmp_path, TWO)
    model, trainer = trained(folders, tmp_path, [one, two], 2)
    with pytest.warns(UserWarning, match=r"step 2: the loss is not finite.*\(1 in a row.*its sessions: bad$"):
        other, again = trained(folders, tmp_path, [one, broken(tmp_path), two], 3)
    assert again.global_step == 3, "steps are counted on, so that a run ends"
    assert state(again) == state(trainer)
    for name, value in weights(model).items():
        assert value.equal(weights(other)[name]), name


def test_of_accumulated_batches_all_are_named_and_none_is_learned(folders, tmp_path):
    one, two = sound(tmp_path, ONE), sound(tmp_path, TWO)
    model, trainer = trained(folders, tmp_path, [one, two], 1, accumulate_grad_batches=2)
    batches = [broken(tmp_path), two, one, two]
    with pytest.warns(UserWarning, match=r"step 1: the loss .*its sessions: bad, two$"):
        other, again = trained(folders, tmp_path, batches, 2, accumulate_grad_batches=2)
    assert state(again) == state(trainer)
    for name, value in weights(model).items():
        assert value.equal(weights(other)[name]), name


class Overflow(pl.Callback):
    """Makes one gradient of one step infinite, whose loss is as it should be."""

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step == 1:
            next(p for p in pl_module.parameters() if p.grad is not None).grad.view(-1)[0] = float("inf")


def test_a_gradient_that_is_not_finite_is_no_step_either(folders, tmp_path):
    one, two = sound(tmp_path, ONE), sound(tmp_path, TWO)
    model, trainer = trained(folders, tmp_path, [one, two], 2)
    with pytest.warns(UserWarning, match=r"step 2: the gradient norm is not finite.*sessions: bad$"):
        batches = [one, sound(tmp_path, BAD), two]
        other, again = trained(folders, tmp_path, batches, 3, callbacks=[Overflow()], gradient_clip_val=1.0)
    clipped, _ = trained(folders, tmp_path, [one, two], 2, gradient_clip_val=1.0)
    assert state(again)[1:] == state(trainer)[1:]
    for name, value in weights(clipped).items():
        assert value.equal(weights(other)[name]), name


def test_a_few_in_a_row_end_the_run_with_status_1(folders, tmp_path, capsys):
    one, bad = sound(tmp_path, ONE), broken(tmp_path)
    with pytest.warns(UserWarning, match="not finite"), pytest.raises(SystemExit) as end, exit_on_user_error():
        trained(folders, tmp_path, [bad, bad, one, bad, bad, bad, one], 7)
    assert end.value.code == 1
    message = capsys.readouterr().err
    assert "error: training diverged: the loss is not finite, 3 steps in a row (steps 4 to 6" in message
    assert "Lower the learning rates" in message and "trainer.precision" in message and message.endswith("bad\n")


def test_what_is_not_finite_is_neither_validated_nor_written(folders, tmp_path):
    model, trainer = trained(folders, tmp_path, [sound(tmp_path, ONE)], 1)
    checkpoint = {"state_dict": model.state_dict(), "optimizer_states": [trainer.optimizers[0].state_dict()]}
    model.on_save_checkpoint(dict(checkpoint))
    momenta = next(iter(trainer.optimizers[0].state.values()))["exp_avg"]
    momenta.view(-1)[0] = float("nan")
    with pytest.raises(DivergedError, match=r"optimizer_states\.0\.state\.0\.exp_avg .*no checkpoint of step 1"):
        model.on_save_checkpoint(dict(checkpoint))
    momenta.view(-1)[0] = 0.0
    next(p for p in model.parameters() if p.requires_grad).data.view(-1)[0] = float("inf")
    with pytest.raises(DivergedError, match=r"backbone\.adapter\..* hold NaN or infinity; no checkpoint of step 1"):
        model.on_save_checkpoint(dict(checkpoint))
    with pytest.raises(DivergedError, match=r"w\.safetensors is not written"):
        save_weights(model.backbone.state_dict(), tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()
    trainer.state.fn = TrainerFn.FITTING
    with pytest.raises(DivergedError, match="before their validation"):
        model.on_validation_start()


def test_weights_that_are_not_finite_are_not_loaded(tmp_path):
    made, path = torch.nn.Linear(2, 2), tmp_path / "w.safetensors"
    save_file({name: value * float("nan") for name, value in made.state_dict().items()}, path)
    with pytest.raises(RuntimeError, match=r"w\.safetensors .* aren't finite.*weight"):
        load_strict(made, read_weights(path)[0], set(), str(path))
    with pytest.raises(WeightsError, match=r"x: bias hold NaN or infinity \(1 of 2 tensors\)"):
        load_strict(made, made.state_dict() | {"bias": torch.full((2,), float("inf"))}, set(), "x")
    assert all(value.isfinite().all() for value in made.state_dict().values())


def test_a_checkpoint_that_is_not_finite_is_named_by_its_file(folders, tmp_path):
    model, trainer = trained(folders, tmp_path, [sound(tmp_path, ONE)], 1)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    checkpoint = torch.load(tmp_path / "x.ckpt", weights_only=True)
    next(v for n, v in checkpoint["state_dict"].items() if "adapter" in n).view(-1)[0] = float("nan")
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(WeightsError, match=r"x\.ckpt: backbone\.adapter.* hold NaN"):
        trained(folders, tmp_path, [sound(tmp_path, ONE)], 2, ckpt_path=str(tmp_path / "x.ckpt"))


TWO_RANKS = """
import os, sys
from pathlib import Path
import torch
from safetensors.torch import save_file

from speech_xl.run.user_errors import exit_on_user_error
from tests.phases.test_finite import BAD, ONE, broken, sound, trained, weights
folder, rank = Path(sys.argv[1]), int(os.environ.get("LOCAL_RANK", "0"))
folders = {"encoder": sys.argv[2], "llm": sys.argv[3]}
bad = broken(folder / str(rank)) if rank else sound(folder / str(rank), ONE)
good = sound(folder / str(rank), ONE)
with exit_on_user_error():
    batches = [good, bad, good] + [bad] * 3
    model, trainer = trained(folders, folder, batches, int(sys.argv[4]), devices=2, strategy="ddp")
    assert trainer.global_step == 3 and int(trainer.optimizers[0].state_dict()["state"][0]["step"]) == 2
    torch.save(weights(model, "backbone.adapter"), folder / f"weights{rank}.pt")
"""


@pytest.mark.slow  # half a minute of two processes each
@pytest.mark.parametrize("steps", [3, 6])
def test_two_ranks_decide_together_and_name_the_sessions_of_both(folders, tmp_path, steps):
    script = tmp_path / "two_ranks.py"
    script.write_text(TWO_RANKS)
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path), folders["encoder"], folders["llm"], str(steps)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "step 2: the loss is not finite" in done.stderr and "its sessions: one, bad" in done.stderr
    if steps == 3:
        assert done.returncode == 0, done.stderr
        first, second = (torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in (0, 1))
        assert all(value.isfinite().all() and value.equal(second[name]) for name, value in first.items())
    else:
        assert done.returncode == 1, done.stderr
        assert "error: training diverged: the loss is not finite, 3 steps in a row (steps 4 to 6" in done.stderr
        assert "Traceback" not in done.stderr
