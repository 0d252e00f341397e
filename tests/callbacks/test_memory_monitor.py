"""MemoryMonitor: host and KV figures on a CPU, GPU peaks only where training runs on CUDA."""

import os
import subprocess
import sys

import pytest
import torch

from speech_xl.callbacks import MemoryMonitor
from speech_xl.callbacks.memory_monitor import kept_kv_by_ratio


def test_scalars_on_a_cpu(train, toy_phase):
    phase = toy_phase()
    phase.kept = iter([50, 20, 30, 10, 10, 10])
    events = train(MemoryMonitor(every_n_steps=3), phase=phase, batches=6).events
    # Steps 1 (the first), 3 and 6; each point covers the batches since the one before.
    assert events.scalars("memory/kept_kv_tokens") == [(1, 50.0), (3, 25.0), (6, 10.0)]
    assert events.scalars("memory/kept_kv_bytes") == [(1, 1600.0), (3, 800.0), (6, 320.0)]
    assert events.scalars("memory/compression") == [(1, 2.0), (3, 4.0), (6, 10.0)]
    rss, peak = (events.scalars(f"memory/{name}") for name in ("host_rss_gib", "host_rss_peak_gib"))
    assert 0.05 < rss[-1][1] <= peak[-1][1] < 64
    assert not [tag for tag in events.tags["scalars"] if "gpu" in tag]


def test_kept_kv_per_second_of_audio_by_ratio(train, toy_phase, make_record):
    records = [make_record(ratio=2), make_record(ratio=4, kept_kv_bytes=400)]
    events = train(MemoryMonitor(), phase=toy_phase(records), limit_val_batches=1, num_sanity_val_steps=1).events
    assert events.scalars("memory/kept_kv_bytes_per_audio_second/2x") == [(4, 800.0)]
    assert events.scalars("memory/kept_kv_bytes_per_audio_second/4x") == [(4, 200.0)]


def test_a_memory_that_gave_several_answers_counts_once(make_record):
    records = [make_record("a"), make_record("a", task="qa"), make_record("b", kept_kv_bytes=0)]
    assert kept_kv_by_ratio(records) == {"memory/kept_kv_bytes_per_audio_second/2x": 1600 / 4}


def test_gpu_peaks_are_of_the_time_since_the_last_point(monkeypatch):
    resets = []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 4 * 2**30)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    device = torch.device("cuda", 1)
    peaks = MemoryMonitor()._gpu_peaks(device)
    assert peaks == {"memory/gpu_allocated_peak_gib": 3.0, "memory/gpu_reserved_peak_gib": 4.0}
    assert resets == [device]


@pytest.mark.slow  # a process that imports everything
def test_import_leaves_cuda_alone():
    code = "import torch, speech_xl.callbacks; assert not torch.cuda.is_initialized()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)


@pytest.mark.parametrize("steps", [0, -1, 2.5, True])
def test_bad_cadence_is_refused(steps):
    with pytest.raises(ValueError, match="MemoryMonitor.every_n_steps: got"):
        MemoryMonitor(every_n_steps=steps)
