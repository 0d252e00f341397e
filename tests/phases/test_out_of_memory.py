"""A batch that doesn't fit into memory is named with its sessions and the mend; other errors pass as they are."""

import pytest
import torch
from lhotse import MonoCut

from speech_xl.data.batch import SpeechBatch
from speech_xl.phases.out_of_memory import OutOfMemoryError, naming_sessions


def batch_of(*seconds: float) -> SpeechBatch:
    cuts = [MonoCut(f"session{n}", 0, duration, 0) for n, duration in enumerate(seconds)]
    nothing = [None] * len(cuts)
    return SpeechBatch([cut.id for cut in cuts], cuts, nothing, nothing, [[s] for s in seconds], [[]] * len(cuts))


def too_large():
    torch.empty(1 << 62, dtype=torch.uint8)


def on_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("fails", [too_large, on_a_gpu])
def test_the_sessions_of_a_batch_are_named(fails):
    said = r"2 sessions, 70 s of audio: session0, session1; the longest, session1, lasts 60 s. Lower data.max_duration"
    with pytest.raises(OutOfMemoryError, match=said), naming_sessions(batch_of(10.0, 60.0)):
        fails()


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="a bug"), naming_sessions(batch_of(1.0)):
        raise RuntimeError("a bug")
