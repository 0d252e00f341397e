"""Out of memory: said of the sessions that didn't fit, with the keys that make batches smaller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from speech_xl.data.batch import SpeechBatch

SIGNS = (
    "can't allocate memory",
    "out of memory",
)  # as torch's CPU allocator says it, which has no exception type
SHOWN = 5  # sessions in a message


class OutOfMemoryError(RuntimeError):
    """A batch didn't fit into memory; the message names its sessions and the mend."""


@contextmanager
def naming_sessions(batch: SpeechBatch) -> Iterator[None]:
    """Turn an allocator's error inside the block into one that names the batch's sessions."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and not any(s in str(error) for s in SIGNS):
            raise
        longest = max(batch.cuts, key=lambda cut: cut.duration)
        more = f" and {len(batch) - SHOWN} more" if len(batch) > SHOWN else ""
        raise OutOfMemoryError(
            f"out of memory on a batch of {len(batch)} sessions, {batch.audio_seconds:.0f} s of audio: "
            f"{', '.join(batch.ids[:SHOWN])}{more}; the longest, {longest.id}, lasts {longest.duration:.0f} s. Lower "
            "data.max_duration (data.eval_max_duration in evaluation), train on parts of long sessions with "
            "data.excerpt, or set model.llm.init_args.gradient_checkpointing"
        ) from error
