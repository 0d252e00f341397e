"""Short sessions of tones, as audio files with their manifest entries, for drills that ask nothing of the audio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16_000  # samples a second


def tone(seconds: float = 0.9, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A sine as float32 samples [S]; another seed gives another pitch."""
    times = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (220 + 30 * seed) * times)).astype(np.float32)


def channels(count: int) -> np.ndarray:
    """Tones of different pitch beside each other: float32 [S, count]."""
    return np.stack([tone(seed=seed) for seed in range(count)], axis=1)


def supervision(name: str, recording: str, start: float, duration: float, text: str = "tone one") -> dict[str, Any]:
    """A manifest's supervision; start and duration in seconds."""
    return {
        "id": name,
        "recording_id": recording,
        "start": start,
        "duration": duration,
        "channel": 0,
        "text": text,
        "speaker": "ann",
        "gender": "F",
        "language": "English",
    }


def session(
    folder: Path,
    name: str,
    samples: np.ndarray | None = None,
    rate: int = RATE,
    suffix: str = "flac",
    subtype: str | None = None,
    supervisions: Sequence[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write samples [S] or [S, C] to `folder`, and give a cut over the whole file as a manifest holds it."""
    if samples is None:
        samples = tone(seed=sum(map(ord, name)) % 9)
    path = folder / f"{name}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    if supervisions is None:
        supervisions = [
            supervision(f"{name}-0", name, 0.1, 0.3, "tone one"),
            supervision(f"{name}-1", name, 0.5, 0.3, "tone two"),
        ]
    numbers = list(range(1 if samples.ndim == 1 else samples.shape[1]))
    seconds = len(samples) / rate
    question = {"task": "qa", "question": "how many", "answer": "two", "kind": "count"}
    return {
        "id": name,
        "start": 0.0,
        "duration": seconds,
        "channel": 0,
        "type": "MonoCut",
        "supervisions": list(supervisions),
        "recording": {
            "id": name,
            "sampling_rate": rate,
            "num_samples": len(samples),
            "duration": seconds,
            "channel_ids": numbers,
            "sources": [{"type": "file", "channels": numbers, "source": str(path)}],
        },
        "custom": {"caption": "tones", "questions": [question]},
    }
