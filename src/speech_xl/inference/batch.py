"""Several files heard as one batch: the LLM compresses an interval of each in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speech_xl import SAMPLE_RATE
from speech_xl.inference.audio_input import Audio, Intake, Progress, is_file, opened
from speech_xl.model.listener import Listener
from speech_xl.model.ratios import to_ratio


def hear_together(
    listeners: Sequence[Listener], audio: Sequence[Audio], rate: float | None, progress: Progress | None
) -> None:
    """Have each of the new listeners hear its audio, as it would alone.

    The encoder hears one window at a time, as with a single file: its frames are the same bit by bit. The LLM's passes
    round otherwise in a batch, by the last digits.
    """
    with ExitStack() as stack:
        sources, total = [], 0.0
        for one in audio:
            if is_file(one):
                file = stack.enter_context(opened(one))  # pyright: ignore[reportArgumentType]
                sources.append(file.chunks())
                total += file.seconds
            else:
                intake = Intake()
                samples = torch.cat([intake.push(one, rate), intake.flush()])  # pyright: ignore[reportArgumentType]
                sources.append(iter([samples]))
                total += len(samples) / SAMPLE_RATE
        _hear(listeners, sources, total, progress)


@torch.no_grad()
def _hear(
    listeners: Sequence[Listener], sources: Sequence[Iterator[Tensor]], total: float, progress: Progress | None
) -> None:
    model = listeners[0].model
    memory = model.start(len(listeners))
    open_sources = dict(enumerate(sources))
    while True:
        for row, source in list(open_sources.items()):
            while listeners[row].next_interval() is None:
                chunk = next(source, None)
                if chunk is None:
                    del open_sources[row]
                    break
                listeners[row].take(chunk)
        if progress is not None:
            progress(sum(listener.seconds for listener in listeners), total)
        found = [listener.next_interval() for listener in listeners]
        if not any(found):
            break
        lengths = [0 if one is None else one.frames for one in found]
        frames = [listener.waiting[:length] for listener, length in zip(listeners, lengths, strict=True)]
        ratios = [None if one is None else to_ratio(one.ratio) for one in found]
        before = memory.kept
        model.compress_interval(memory, pad_sequence(frames, batch_first=True), lengths, ratios)
        for listener, one, kept in zip(listeners, found, (memory.kept - before).tolist(), strict=True):
            if one is not None:
                listener.heard(one, kept)
    for row, listener in enumerate(listeners):
        listener.memory = memory.row(row)
