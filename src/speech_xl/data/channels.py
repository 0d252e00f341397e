"""Several channels to one, alike for a whole recording and for any part of it; and whether there is sound at all.

Channels are averaged. Where they cancel (one wired with its poles exchanged), the louder one is heard alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CANCELLED = 0.01  # of the channels' mean energy, -20 dB: a mix below it isn't what was recorded
SILENT = 2 / 32768  # a sample no larger is digital silence, or dither of 16 bits
SHORTEST_SOUND = 0.025  # seconds: a frame of speech features; a click is shorter


class ChannelEnergy:
    """What is known of a recording's channels once it was decoded, in blocks of any size.

    products  float64 [C, C], sums over all samples of channel times channel
    samples   per channel
    sounding  samples at which any channel is louder than `SILENT`
    finite    whether all samples are numbers
    """

    def __init__(self, channels: int) -> None:
        self.products = np.zeros((channels, channels))
        self.samples = self.sounding = 0
        self.finite = True

    def add(self, block: np.ndarray) -> None:
        """Another block, float [N, C]."""
        wide = block.astype(np.float64)
        self.finite = self.finite and bool(np.isfinite(wide).all())
        self.products += wide.T @ wide
        self.samples += len(block)
        self.sounding += int((np.abs(block).max(axis=1, initial=0.0) > SILENT).sum())

    def alone(self, channels: Sequence[int] | None = None) -> int | None:
        """The loudest of these channels (None: of all) where their average cancels, None where it doesn't."""
        chosen = list(range(len(self.products)) if channels is None else channels)
        among = self.products[np.ix_(chosen, chosen)]
        mean = np.trace(among) / len(chosen)
        if len(chosen) < 2 or not mean > 0 or among.sum() / len(chosen) ** 2 >= CANCELLED * mean:
            return None
        return chosen[int(np.argmax(np.diag(among)))]

    def no_speech(self, rate: int) -> str | None:
        """What a recording of `rate` samples a second holds in place of speech; None where there may be some."""
        seconds, sounding = self.samples / rate, self.sounding / rate
        if not self.sounding:
            return f"holds {seconds:.1f} s of digital silence; there is no speech to transcribe"
        if sounding < SHORTEST_SOUND:
            return f"holds {sounding:.4f} s of sound in {seconds:.4g} s, a click; there is no speech to transcribe"
        return None


def to_mono(block: np.ndarray, alone: int | None) -> np.ndarray:
    """float32 [N, C] to [N]: the average of the channels, or one of them."""
    return block[:, alone] if alone is not None else block.mean(axis=1, dtype=np.float32)
