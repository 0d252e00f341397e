"""What tensors have left goes back to the system, now and then."""

import sys

import psutil
import pytest
import torch

from speech_xl.inference import freed_memory


@pytest.mark.skipif(sys.platform != "linux" or freed_memory._trim() is None, reason="glibc's malloc")
def test_freed_memory_goes_back(monkeypatch):
    monkeypatch.setattr(freed_memory, "_last", -1e9)
    process = psutil.Process()
    pieces = [torch.ones(20_000) for _ in range(2_000)]  # 160 MB in pieces that malloc keeps
    last = torch.ones(20_000)  # behind them: the heap can't shrink from its end
    held = process.memory_info().rss
    del pieces
    freed_memory.give_back()
    assert held - process.memory_info().rss > 100e6 and last.sum() > 0
    calls = []
    monkeypatch.setattr(freed_memory, "_trim", lambda: calls.append)
    freed_memory.give_back()
    assert not calls, "not again at once"
