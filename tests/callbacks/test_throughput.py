"""Throughput: rates and waiting share by a clock the test winds, MFU, hours over a resume."""

from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch

from speech_xl.callbacks import Throughput
from speech_xl.callbacks.peak_flops import peak_flops_of
from speech_xl.phases.observations import Observations


class Clock:
    """Stands still but for what a test adds."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Pace(pl.Callback):
    """Winds the clock: so many seconds of waiting before a batch, of work in it, and of validation."""

    def __init__(self, clock, wait, work, validation=0.0):
        self.clock, self.wait, self.work, self.validation = clock, wait, work, validation

    def on_train_batch_start(self, *_):
        self.clock.now += self.wait

    def on_validation_start(self, *_):
        self.clock.now += self.validation

    def on_before_zero_grad(self, *_):  # within the batch
        self.clock.now += self.work


def paced(wait, work, validation=0.0, **options):
    throughput = Throughput(**options)
    throughput._clock = clock = Clock()
    return Pace(clock, wait, work, validation), throughput  # the pace first: it winds before Throughput reads


def test_rates_and_waiting_share(train):
    events = train(*paced(wait=1.0, work=3.0, every_n_steps=2, peak_flops=1e10), batches=6).events
    assert [step for step, _ in events.scalars("throughput/steps_per_second")] == [1, 2, 4, 6]
    last = {tag.removeprefix("throughput/"): events.scalars(tag)[-1][1] for tag in events.tags["scalars"]}
    # A batch is 4 s: 8 s of audio, 100 tokens, 1e9 FLOPs; a quarter of the time is waiting.
    assert last["steps_per_second"] == pytest.approx(0.25)
    assert last["data_wait_share"] == pytest.approx(0.25)
    assert last["audio_seconds_per_second"] == pytest.approx(2.0)
    assert last["tokens_per_second"] == pytest.approx(25.0)
    assert last["tflops_per_second"] == pytest.approx(0.25e9 / 1e12)
    assert last["mfu"] == pytest.approx(0.025)
    assert last["audio_hours_total"] == pytest.approx(6 * 8 / 3600)


def test_validation_is_not_waiting_for_data(train):
    callbacks = paced(wait=1.0, work=3.0, validation=1000.0, every_n_steps=1)
    events = train(*callbacks, batches=4, limit_val_batches=1, val_check_interval=2).events
    shares = dict(events.scalars("throughput/data_wait_share"))
    assert shares[2] == pytest.approx(0.25)
    # The gap with the validation in it is left out, its own second of waiting too: 2 of 11 s, not 3 of 12.
    assert shares[3] == pytest.approx(2 / 11)
    assert dict(events.scalars("throughput/steps_per_second"))[4] == pytest.approx(4 / 15)


def test_the_window_forgets(train):
    pace, throughput = paced(wait=0.0, work=10.0, window=2, every_n_steps=1)

    class Faster(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            pace.work = 10.0 if trainer.global_step < 4 else 1.0

    events = train(Faster(), pace, throughput, batches=6).events
    rates = dict(events.scalars("throughput/steps_per_second"))
    assert rates[4] == pytest.approx(0.1)
    assert rates[6] == pytest.approx(1.0)


def test_steps_are_optimizer_steps_under_accumulation(train):
    callbacks = paced(wait=1.0, work=0.0, every_n_steps=1)
    events = train(*callbacks, batches=8, accumulate_grad_batches=2).events
    assert events.scalars("throughput/steps_per_second")[-1] == (4, pytest.approx(0.5))


def test_no_mfu_without_a_known_peak(train):
    events = train(*paced(wait=1.0, work=1.0, every_n_steps=1)).events
    assert "throughput/mfu" not in events.tags["scalars"]
    assert "throughput/tflops_per_second" in events.tags["scalars"]


def test_audio_hours_go_on_over_a_resume(train, tmp_path):
    first = train(*paced(wait=1.0, work=1.0, every_n_steps=3), batches=4, version="first")
    first.trainer.save_checkpoint(tmp_path / "end.ckpt")  # one batch after the last point written: still counted
    run = train(
        *paced(wait=1.0, work=1.0, every_n_steps=2),
        batches=4,
        epochs=2,
        ckpt_path=tmp_path / "end.ckpt",
        version="second",
    )
    assert run.events.scalars("throughput/audio_hours_total")[-1] == (8, pytest.approx(8 * 8 / 3600))


def test_ranks_are_summed():
    throughput = Throughput(every_n_steps=1)
    logged = {}
    reduced = []
    strategy = SimpleNamespace(
        root_device=torch.device("cpu"), reduce=lambda tensor, reduce_op: reduced.append(reduce_op) or 2 * tensor
    )
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.update(values))
    trainer = SimpleNamespace(strategy=strategy, world_size=2, global_step=0, loggers=[logger])
    phase = SimpleNamespace(log=lambda *_, **__: None, observations=Observations())
    phase.observations.step = SimpleNamespace(audio_seconds=8.0, llm_tokens=100, model_flops=1e12)
    throughput._clock = clock = Clock()
    throughput.on_train_start(trainer, phase)
    throughput.on_train_batch_start(trainer, phase, None, 0)
    clock.now += 4.0
    trainer.global_step = 1
    throughput.on_train_batch_end(trainer, phase, None, None, 0)
    assert reduced == ["sum"]
    assert logged["throughput/audio_seconds_per_second"] == pytest.approx(4.0)  # both ranks
    assert logged["throughput/steps_per_second"] == pytest.approx(0.25)  # a step is everyone's
    assert logged["throughput/tflops_per_second"] == pytest.approx(0.25)  # a device
    assert throughput.state_dict() == {"audio_seconds": pytest.approx(16.0)}


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA A10G", 70),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", None),
        ("Tesla T4", None),
    ],
)
def test_peaks_by_device_name(name, tflops):
    assert peak_flops_of(name) == (None if tflops is None else tflops * 1e12)


@pytest.mark.parametrize(("option", "value"), [("window", 0), ("every_n_steps", 0), ("peak_flops", -1.0)])
def test_bad_options_are_refused(option, value):
    with pytest.raises(ValueError, match=f"Throughput.{option}: got"):
        Throughput(**{option: value})
