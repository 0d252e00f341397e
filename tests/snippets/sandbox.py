"""The folder that a page's commands run in: a clone's experiments, audio, a trained stage, and a cache of the hub.

Models that pages name by their hub name lie in a cache in the hub's own form, so that they are found under their names
without a network. They are tiny and random. The trained stage is the one that comes with a clone.
"""

import json
import os
import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import soundfile
from transformers import Starcoder2Config

from experiments.random_models import DECODERS, encoder_folder, llm_folder
from tests.evaluation.benchmarks.audiomarathon_answers import answer as marathon
from tests.predictions import make_prediction
from tests.snippets.blocks import ROOT

RATE = 16_000
REVISION = "0" * 40
SHIPPED = ROOT / "experiments" / "trained" / "read_speech"
LLM = {"max_position_embeddings": 4096}


def hub_folder(cache: Path, name: str) -> Path:
    """Where a cache of the hub keeps the model of this name, made on first use."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(REVISION)
    snapshot = folder / "snapshots" / REVISION
    snapshot.mkdir(parents=True, exist_ok=True)
    return snapshot


def make_hub(cache: Path, training: bool) -> None:
    """Whisper-base in the width that the shipped stage wants; where stages are trained, what the pages name as well."""
    wide = {"d_model": 512, "encoder_attention_heads": 8, "decoder_attention_heads": 8, "encoder_layers": 6}
    encoder_folder(hub_folder(cache, "openai/whisper-base"), max_source_positions=150, **wide)  # windows of 3 s
    if training:
        encoder_folder(hub_folder(cache, "microsoft/wavlm-base"), "wavlm")
        encoder_folder(hub_folder(cache, "nvidia/parakeet-ctc-0.6b"), "parakeet")
        llm_folder(hub_folder(cache, "HuggingFaceTB/SmolLM2-135M-Instruct"), "llama", **LLM)
        llm_folder(hub_folder(cache, "Qwen/Qwen2.5-0.5B-Instruct"), "qwen2", **LLM)
        with patch.dict(DECODERS, starcoder2=Starcoder2Config):
            llm_folder(hub_folder(cache, "bigcode/starcoder2-3b"), "starcoder2", **LLM)


def tone(seconds: float, place: int = 0) -> np.ndarray:
    """Some tones that come and go; nobody would call it speech, but an encoder hears something."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * (200 + 40 * place) * time) * (np.sin(2 * np.pi * 0.7 * time) > 0)
    return (0.1 * wave).astype(np.float32)


def write_aac(path: Path, samples: np.ndarray) -> None:
    """An M4A file, as phones record them."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        for start in range(0, len(samples), 1024):
            chunk = np.ascontiguousarray(samples[start : start + 1024])[None]
            frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def recordings(folder: Path) -> None:
    """Recordings with subtitles or texts beside them, in the three splits, and two for whom it is left to decide."""
    cues = "1\n00:00:00,200 --> 00:00:01,400\none two\n\n2\n00:00:01,600 --> 00:00:02,900\nthree\n"
    for split, number in (("train", 6), ("dev", 2), ("test", 2)):
        for place in range(number):
            path = folder / split / f"talk{place}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(3.0, place), RATE)
            if place % 2:
                path.with_suffix(".txt").write_text("one two\nthree")
            else:
                path.with_suffix(".srt").write_text(cues)
    soundfile.write(folder / "monday.flac", tone(3.0), RATE)
    soundfile.write(folder / "tuesday.wav", tone(3.0), RATE)


def make_place(place: Path, mode: str) -> Path:
    """A folder as a reader's who has a clone, some audio, and (where nothing is trained here) trained stages."""
    (place / "experiments").symlink_to(ROOT / "experiments")
    for name in ("pyproject.toml", "README.md", "Dockerfile", "docs"):
        if (ROOT / name).exists():
            (place / name).symlink_to(ROOT / name)
    for name, seconds in (("talk.flac", 4), ("meeting.flac", 3), ("chapter.flac", 4.5), ("talk.wav", 4)):
        soundfile.write(place / name, tone(seconds), RATE)
    soundfile.write(place / "lecture.mp3", tone(2), RATE)
    write_aac(place / "talk.m4a", tone(4))
    recordings(place / "my_recordings")
    items = place / "my_items"
    items.mkdir()
    soundfile.write(items / "call1.wav", tone(3), RATE)
    rows = [{"audio": "call1.wav", "question": "Who?", "answer": "B", "choices": ["a man", "a woman"]}]
    rows += [{"audio": "call1.wav", "transcript": "good morning"}]
    (items / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = json.dumps(make_prediction().to_json()) + "\n"
    (place / "PREDICTIONS.jsonl").write_text(line)
    if mode == "check":
        for stage in ("default/stage1", "default/stage2", "default/stage3", "mine/align", "mine/sst", "mine/pooled"):
            folder = place / "runs" / stage
            shutil.copytree(SHIPPED, folder, copy_function=os.symlink)
            (folder / "checkpoints").mkdir()
            (folder / "checkpoints" / "last.ckpt").touch()
        for stage in ("default/stage3", "trained/read_speech"):
            path = place / "runs" / stage / "predictions" / "test_SSTs-0.jsonl"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(marathon("SGR", 0, "A", "A").to_json()) + "\n")
    return place
