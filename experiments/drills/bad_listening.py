"""Bad inputs to `speech-xl listen`: audio, numbers, questions, memories and stage folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from experiments.drills.attempt import attempt
from experiments.drills.cases import Due, judged
from experiments.drills.finished_stage import finished_stage
from experiments.drills.hostile_stages import STAGES, code_ran, ran
from experiments.drills.rows import Row
from experiments.drills.tones import RATE, channels, tone
from speech_xl.commands.main import main as speech_xl

Tensors = dict[str, torch.Tensor]
MEMORY_BYTES = 4 << 30
SHORT = ("--limit", "5")  # tokens of an answer: what it says doesn't matter


def listen(words: Sequence[str]) -> None:
    """`speech-xl listen`; the first word is the model's folder."""
    speech_xl(["listen", "--model", *words])


class ListenFixture:
    """A finished stage, audio and a memory of it to corrupt, in `folder`."""

    def __init__(self, folder: Path, models: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.models = folder, models
        self.stage = finished_stage(folder / "stage", models)
        self.audio = self.wav("good", tone(2.0))
        self.memory = folder / "memory.safetensors"

    def wav(self, name: str, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
        path = self.folder / f"{name}.wav"
        soundfile.write(path, samples, rate, subtype=subtype)
        return path

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def saved_memory(self) -> Path:
        """The memory of the audio, made when it is first asked for."""
        if not self.memory.is_file():
            listen([str(self.stage), str(self.audio), "--save", str(self.memory)])
        return self.memory


@dataclass(frozen=True)
class Listening:
    """One bad input to `listen`: the words of its command line, given a fixture; else as `Case`."""

    name: str
    words: Callable[[ListenFixture], Sequence[Any]]
    names: tuple[str, ...] = ()
    due: Due = "refused"
    seconds: int = 90


def run_listening(cases: Sequence[Listening], place: Path, models: Path) -> Iterator[Row]:
    """Run the cases with one finished stage."""
    fixture = ListenFixture(place / "listening", models)
    for case in cases:
        words = [str(word) for word in case.words(fixture)]
        done = attempt(lambda words=words: listen(words), case.seconds, MEMORY_BYTES)
        row = judged(case.name, done, case.names, case.due)
        yield code_ran(row) if ran(fixture.folder / "given") else row


def named(what: str, words: Callable[[ListenFixture], Sequence[Any]], *names: str, **options: Any) -> Listening:
    return Listening(f"listen: {what}", words, names, **options)


def audio(
    what: str, make: Callable[[ListenFixture], Path], *names: str, due: Due = "refused", seconds: int = 90
) -> Listening:
    """An audio file instead of the sound one."""
    return named(what, lambda fixture: [fixture.stage, make(fixture), *SHORT], *names, due=due, seconds=seconds)


def flags(what: str, given: Sequence[str], *names: str, due: Due = "refused", seconds: int = 90) -> Listening:
    """Flags beside sound audio."""
    return named(what, lambda fixture: [fixture.stage, fixture.audio, *given], *names, due=due, seconds=seconds)


def loaded(what: str, make: Callable[[ListenFixture], Path], *names: str, due: Due = "refused") -> Listening:
    """A memory to answer from."""
    return named(
        what, lambda fixture: [fixture.stage, "--load", make(fixture), "--ask", "how many", *SHORT], *names, due=due
    )


def damaged(what: str, name: str, change: Callable[[bytes], bytes]) -> Listening:
    """A memory whose bytes are changed, in a file called `name`."""
    return loaded(what, lambda fixture: fixture.file(name, change(fixture.saved_memory().read_bytes())), name)


def altered(what: str, name: str, change: Callable[[Tensors, dict[str, Any]], object]) -> Listening:
    """A memory whose tensors or header are changed in place, saved as `name`."""

    def make(fixture: ListenFixture) -> Path:
        with safe_open(fixture.saved_memory(), "pt") as file:
            notes = dict(file.metadata())
        header = json.loads(notes["speech_xl_memory"])
        tensors = load_file(fixture.saved_memory())
        change(tensors, header)
        whole = {key: value.clone() for key, value in tensors.items()}
        save_file(whole, fixture.folder / name, notes | {"speech_xl_memory": json.dumps(header)})
        return fixture.folder / name

    return loaded(what, make, name)


def first_tensor_alone(tensors: Tensors, header: dict[str, Any]) -> None:
    for name in list(tensors)[1:]:
        del tensors[name]


def not_numbers(tensors: Tensors, header: dict[str, Any]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            tensors[name] = tensor * float("nan")


def flattened(tensors: Tensors, header: dict[str, Any]) -> None:
    for name, tensor in tensors.items():
        if name not in ("audio", "waiting"):
            tensors[name] = tensor.flatten()[:3]


def ratio_zero(tensors: Tensors, header: dict[str, Any]) -> None:
    clock = header["listener"]["clock"]
    clock["ratios"] = [[second, 0] for second, _ in clock["ratios"]]


def no_samples(fixture: ListenFixture) -> Path:
    return fixture.wav("none", tone(0))


def poisoned(fixture: ListenFixture) -> Path:
    samples = tone(2.0)
    samples[500] = np.nan
    return fixture.wav("nan", samples, subtype="FLOAT")


def stereo(fixture: ListenFixture) -> Path:
    return fixture.wav("stereo", channels(2), 8000)


AUDIO = [
    named("good", lambda fixture: [fixture.stage, fixture.audio, "--ask", "how many", *SHORT], due="handled"),
    audio("NaN in the audio", poisoned, "nan.wav"),
    audio("no samples", no_samples, "none.wav"),
    audio("one sample", lambda fixture: fixture.wav("one", tone()[:1]), due="either"),
    audio("8 kHz stereo", stereo, due="handled"),
    audio("text named .wav", lambda fixture: fixture.file("text.wav", b"hello"), "text.wav"),
    audio(
        "wav cut short",
        lambda fixture: fixture.file("cut.wav", fixture.audio.read_bytes()[:20_000]),
        "cut.wav",
        due="reported",
    ),
    audio("a folder", lambda fixture: fixture.folder, "listening"),
    named("no audio", lambda fixture: [fixture.stage], "audio"),
]
NUMBERS = [
    flags("ratio 0", ["--ratio", "0"], "ratio"),
    flags("ratio -1", ["--ratio", "-1"], "ratio"),
    flags("ratio 1000", ["--ratio", "1000", *SHORT], "ratio", due="either"),
    flags("interval 0", ["--interval", "0"], "interval"),
    flags("interval -1", ["--interval", "-1"], "interval"),
    flags("interval NaN", ["--interval", "nan", *SHORT], "interval"),
    flags("interval infinite", ["--interval", "inf", *SHORT], "interval", due="either"),
    flags("interval 1e-9", ["--interval", "1e-9", *SHORT], "interval", seconds=40),
    flags("limit 0", ["--limit", "0"], "limit"),
    flags("limit -1", ["--limit", "-1"], "limit"),
    flags("device without its hardware", ["--device", "cuda:7"], "cuda"),
]
QUESTIONS = [
    flags("empty question", ["--ask", "", *SHORT], "ask", due="either"),
    flags("question of 100 kB", ["--ask", "how many " * 11_000, *SHORT], "question", seconds=60),
]
MEMORIES = [
    flags("save", ["--save", "/dev/null/memory.safetensors"], "memory.safetensors"),
    damaged("memory: half", "m_half.safetensors", lambda whole: whole[: len(whole) // 2]),
    damaged("memory: empty", "m_empty.safetensors", lambda whole: b""),
    damaged("memory: text", "m_text.safetensors", lambda whole: b"hello"),
    loaded("memory: missing", lambda fixture: fixture.folder / "gone.safetensors", "gone"),
    loaded("memory: a stage's weights", lambda fixture: fixture.stage / "weights.safetensors", "weights.safetensors"),
    altered("memory: no kept tensors", "m_less.safetensors", first_tensor_alone),
    altered("memory: NaN keys", "m_nan.safetensors", not_numbers),
    altered("memory: wrong shapes", "m_shapes.safetensors", flattened),
    altered("memory: header without listener", "m_bare.safetensors", lambda tensors, header: header.pop("listener")),
    altered("memory: ratio 0", "m_ratio.safetensors", ratio_zero),
]
FOLDERS = [
    named(
        f"stage folder {stage.name}",
        lambda fixture, stage=stage: [
            stage.make(fixture.stage, fixture.folder / "given", fixture.models),
            fixture.audio,
            *SHORT,
        ],
        *stage.names,
        due="either" if stage.mark else "refused",
    )
    for stage in STAGES
]
CASES = [*AUDIO, *NUMBERS, *QUESTIONS, *MEMORIES, *FOLDERS]
