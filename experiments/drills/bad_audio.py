"""Bad inputs, audio: files that are empty, cut, of another kind, rate or length than their manifest says."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from experiments.drills.cases import Case
from experiments.drills.tones import RATE, channels, session, supervision, tone
from experiments.drills.trial import Corrupt, Trial


def recorded(samples: np.ndarray, rate: int = RATE, **how: Any) -> Corrupt:
    """The session has these samples, and a manifest that fits them; `how` as of `session`."""

    def corrupt(trial: Trial) -> None:
        trial.cut = session(trial.audio, "train1", samples, rate, **how)

    return corrupt


def multichannel(count: int, suffix: str) -> Corrupt:
    """The session is a MultiCut of all channels of its file."""

    def corrupt(trial: Trial) -> None:
        trial.cut = session(trial.audio, "train1", channels(count), suffix=suffix)
        numbers = list(range(count))
        trial.cut |= {"type": "MultiCut", "channel": numbers}
        for one in trial.supervisions:
            one["channel"] = numbers

    return corrupt


def rewritten(samples: np.ndarray, rate: int = RATE) -> Corrupt:
    """The file has these samples; the manifest says what was there before."""
    return lambda trial: soundfile.write(trial.file, samples, rate)


def content(change: Callable[[bytes], bytes]) -> Corrupt:
    """The file's bytes are changed."""

    def corrupt(trial: Trial) -> None:
        trial.file.write_bytes(change(trial.file.read_bytes()))

    return corrupt


def flipped(whole: bytes) -> bytes:
    """Twenty bytes in the middle are inverted."""
    middle = len(whole) // 2
    return whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 20]) + whole[middle + 20 :]


def some(value: float) -> np.ndarray:
    """A tone in which a hundred samples have this value."""
    samples = tone()
    samples[100:200] = value
    return samples


def renamed(write: Callable[[Path, Path], object]) -> Corrupt:
    """The manifest names a .wav that `write` makes of the .flac."""

    def corrupt(trial: Trial) -> None:
        path = trial.file.with_suffix(".wav")
        write(trial.file, path)
        trial.file = path

    return corrupt


def short_wav(trial: Trial) -> None:
    recorded(tone(), suffix="wav")(trial)
    trial.file.write_bytes(trial.file.read_bytes()[:10_000])


def missing(trial: Trial, workers: int = 0) -> None:
    trial.file.unlink()
    trial.config["data"]["num_workers"] = workers


def missing_dev(trial: Trial) -> None:
    Path(trial.dev[1]["recording"]["sources"][0]["source"]).unlink()


def a_folder(trial: Trial) -> None:
    trial.file.unlink()
    trial.file.mkdir()


def link_to_itself(trial: Trial) -> None:
    trial.file.unlink()
    trial.file.symlink_to(trial.file)


def vanishing(trial: Trial) -> None:
    trial.config["model"]["init_args"]["cache_frames"] = False
    vanish = {"folder": str(trial.audio), "step": 1}
    trial.config["trainer"]["callbacks"] = [
        {"class_path": "experiments.drills.callbacks.Vanish", "init_args": vanish},
    ]
    trial.config["trainer"]["max_steps"] = 8


def accented(trial: Trial) -> None:
    trial.cut = session(trial.audio, "ä b'c\"d 日本")


def wide_samples(trial: Trial) -> None:
    trial.cut = session(trial.audio, "train1", suffix="wav", subtype="PCM_24")
    trial.train[2] = session(trial.audio, "train2", suffix="wav", subtype="DOUBLE")


def longer_than_context(trial: Trial) -> None:
    recorded(tone(60.0))(trial)
    trial.config["data"]["partition"]["init_args"]["seconds"] = 4.0


def three_hours(trial: Trial) -> None:
    """A file of three hours, written minute by minute; the run may take 5 GiB."""
    recorded(tone(), suffix="wav")(trial)
    minutes = 180
    with soundfile.SoundFile(trial.file, "w", RATE, 1, "PCM_16") as file:
        for minute in range(minutes):
            file.write(tone(60.0, seed=minute % 7))
    trial.cut["duration"] = trial.cut["recording"]["duration"] = minutes * 60.0
    trial.cut["recording"]["num_samples"] = minutes * 60 * RATE
    trial.memory_bytes = 5 << 30
    trial.config["data"]["partition"]["init_args"]["seconds"] = 4.0


def with_text(samples: np.ndarray) -> Corrupt:
    """One supervision over all of it."""
    return recorded(samples, supervisions=[supervision("x", "train1", 0, len(samples) / RATE)])


def rates(hertz: Sequence[int]) -> list[Case]:
    return [Case(f"audio: {rate} Hz", recorded(tone(rate=rate), rate), due="handled") for rate in hertz]


FLOAT: dict[str, Any] = {"suffix": "wav", "subtype": "FLOAT"}
CASES = [
    Case("audio: empty file", content(lambda whole: b""), ("train1",)),
    Case("audio: header, no samples", rewritten(np.zeros(0, np.float32)), ("train1",)),
    Case("audio: one sample", recorded(tone()[:1], supervisions=[]), ("train1",)),
    Case("audio: one sample, with text", with_text(tone()[:1]), ("train1",)),
    Case("audio: NaN samples", recorded(some(np.nan), **FLOAT), ("train1", "not numbers")),
    Case("audio: infinite samples", recorded(some(np.inf), **FLOAT), ("train1", "not numbers")),
    Case("audio: clipped", recorded(np.sign(tone()) * 0.99), due="handled"),
    Case("audio: samples of 1e4 (int16 scale in float)", recorded(tone() * 32768, **FLOAT), due="either"),
    Case("audio: samples of 1e38", recorded(np.clip(tone() * 1e38, -3e38, 3e38), **FLOAT), due="either"),
    Case("audio: silence", recorded(tone() * 0), due="handled"),
    *rates([8000, 11025, 22050, 44100, 48000, 96000]),
    Case("audio: stereo, MonoCut of channel 0", recorded(channels(2)), due="handled"),
    Case("audio: stereo, MultiCut", multichannel(2, "flac"), due="handled"),
    Case("audio: eight channels, MultiCut", multichannel(8, "wav"), due="handled"),
    Case("audio: truncated flac", content(lambda whole: whole[: len(whole) // 2]), ("train1.flac",)),
    Case("audio: flac, bytes flipped in the middle", content(flipped), ("train1.flac",), due="either"),
    Case("audio: wav cut short of its header", short_wav, ("train1.wav",)),
    Case("audio: flac named .wav", renamed(lambda old, new: shutil.move(old, new)), due="handled"),
    Case("audio: text named .wav", renamed(lambda old, new: new.write_text("hello, I am text")), ("train1.wav",)),
    Case("audio: missing file", missing, ("train1.flac",)),
    Case("audio: missing file, two workers", lambda trial: missing(trial, workers=2), ("train1.flac",)),
    Case("audio: missing dev file", missing_dev, ("dev1.flac",)),
    Case("audio: a folder named .flac", a_folder, ("train1.flac",)),
    Case("audio: link in a circle", link_to_itself, ("train1.flac",)),
    Case("audio: vanished during the run", vanishing, ("train", ".flac")),
    Case("audio: manifest says 16 kHz, file has 8 kHz", rewritten(tone(rate=8000), 8000), ("8000", "16000")),
    Case("audio: file 0.5 s shorter than its manifest", rewritten(tone(0.4)), ("train1",)),
    Case("audio: file 2 s longer than its manifest", rewritten(tone(2.9)), ("train1",), due="either"),
    Case("audio: name with spaces, accents, quotes", accented, due="handled"),
    Case("audio: 24-bit and 64-bit wav", wide_samples, due="handled"),
    Case("audio: ogg", recorded(tone(), suffix="ogg"), due="handled"),
    Case("audio: 60 s where the LLM has 512 positions", longer_than_context, ("512",), due="either"),
    Case("audio: 3 h in a training session, 5 GiB of memory", three_hours, ("train1",), due="either", seconds=150),
]
