"""Freed memory goes back to the system, so that a process which hears for hours stays as large as in its first minutes.

glibc keeps what tensors have left, in pieces that the next ones, of other sizes, often don't fit: measured with a small
model, a process grew by 10 MiB a minute of audio while its live tensors stayed the same. Given back, it doesn't grow.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from time import monotonic
from typing import Any

EVERY_SECONDS = 10.0  # it takes milliseconds
_last = 0.0


def give_back() -> None:
    """Give freed memory back, if that wasn't done in the last seconds; where the C library isn't glibc, nothing."""
    global _last
    if monotonic() - _last >= EVERY_SECONDS and (trim := _trim()) is not None:
        _last = monotonic()
        trim(0)


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
