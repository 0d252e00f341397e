"""The picture of one session: log-mel spectrogram, interval borders, where the SSTs of each ratio stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank

from speech_xl import SAMPLE_RATE

_N_FFT = 400  # samples, 25 ms
_HOP = 160  # samples, 10 ms
_N_MELS = 80
_MAX_COLUMNS = 2000  # columns of the spectrogram; more can't be seen in a picture
_DPI = 100


def log_mel(audio: torch.Tensor) -> torch.Tensor:
    """Log-mel power in dB of 16 kHz audio [S], as [80, columns] spread evenly over the audio, at most 2000 columns."""
    if audio.numel() < _N_FFT:  # shorter than one window: torch.stft can't mirror it
        audio = torch.nn.functional.pad(audio, (0, _N_FFT - audio.numel()))
    window = torch.hann_window(_N_FFT)
    spectrum = torch.stft(audio.float(), _N_FFT, _HOP, window=window, center=True, return_complex=True).abs() ** 2
    filters = mel_filter_bank(
        num_frequency_bins=_N_FFT // 2 + 1,
        num_mel_filters=_N_MELS,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    mel = torch.from_numpy(filters).float().T @ spectrum
    if mel.shape[1] > _MAX_COLUMNS:
        mel = torch.nn.functional.adaptive_avg_pool1d(mel[None], _MAX_COLUMNS)[0]
    return 10 * torch.log10(mel.clamp_min(1e-10))


def session_picture(
    mel: torch.Tensor, duration: float, interval_ends: Sequence[float], sst_times: Mapping[int, Sequence[float]]
) -> np.ndarray:
    """RGB picture [height, width, 3] uint8. Times in seconds; `sst_times` by ratio."""
    # Imported here, so that training without pictures needs no matplotlib; the Agg canvas is used directly, without
    # pyplot, so that no display is looked for and no figure stays in a global list.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ratios = sorted(sst_times)
    width = min(24.0, max(8.0, duration / 4))  # inches: 4 s of audio each, within reason
    rows = max(len(ratios), 1)
    figure = Figure(figsize=(width, 2.6 + 0.3 * rows), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2.0, 0.25 * rows + 0.1])
    floor = float(mel.max()) - 80.0  # dB shown below the loudest
    top.imshow(
        mel.numpy(), origin="lower", aspect="auto", extent=(0, duration, 0, _N_MELS), vmin=floor, cmap="magma", zorder=0
    )
    top.set_ylabel("mel band")
    borders = [0.0, *interval_ends]
    top.set_title(f"{duration:.1f} s, {len(interval_ends)} intervals (white lines); SSTs by ratio below", fontsize=9)
    top.vlines(borders, 0, _N_MELS, colors="white", linewidth=1.0)
    for row, ratio in enumerate(ratios):
        bottom.vlines(list(sst_times[ratio]), row - 0.4, row + 0.4, colors=f"C{row}", linewidth=0.8)
    bottom.vlines(borders, -0.5, rows - 0.5, colors="0.6", linewidth=0.8)
    bottom.set_yticks(range(len(ratios)), [f"{ratio}x ({len(sst_times[ratio])})" for ratio in ratios])
    bottom.set_ylim(rows - 0.5, -0.5)  # the lowest ratio on top
    bottom.set_xlim(0, duration)
    bottom.set_xlabel("seconds")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
