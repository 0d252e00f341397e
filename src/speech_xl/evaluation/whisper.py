"""Whisper's own decoder as a reference: what it transcribes of the same sessions, without any LLM of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lhotse.cut import Cut
from tqdm import tqdm
from transformers import pipeline

from speech_xl.data.audio import load_audio
from speech_xl.data.tasks import Turn
from speech_xl.evaluation.prediction import Prediction, turn_id
from speech_xl.evaluation.prediction_file import PredictionWriter
from speech_xl.evaluation.rows import WHISPER

FALLBACK = {  # Whisper's own way out where it repeats itself or is unsure (arXiv 2212.04356, 3.8): hotter and hotter
    "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "compression_ratio_threshold": 1.35,  # of token numbers, as transformers counts; 2.4 of letters in the paper
    "logprob_threshold": -1.0,
    "no_speech_threshold": 0.6,
}
SPELLED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = dict(zip("0123456789", SPELLED, strict=True))


def settings_of(name: str) -> dict[str, Any]:
    """What its predictions depend on beside the sessions, as plain data."""
    return {"whisper": Path(name).name, "fallback": {key: str(value) for key, value in FALLBACK.items()}}


def write_whisper(
    name: str, cuts: Sequence[Cut], turns: Callable[[Cut], Sequence[Turn]], split: str, writer: PredictionWriter
) -> None:
    """Transcribe the sessions by Whisper's long-form decoding with temperature fallback, and write what is missing.

    Digits that it writes as figures are spelled out. What it draws at higher temperatures is drawn alike each time.
    """
    asr: Any = pipeline("automatic-speech-recognition", name)
    for cut in tqdm(cuts, desc=WHISPER, unit="session"):
        asked = [turn for turn in turns(cut) if turn.task == "asr"]
        if all(writer.done(turn_id(cut.id, turn, 1)) for turn in asked):
            continue
        options = {"language": "en", "task": "transcribe"} | FALLBACK
        torch.manual_seed(0)
        heard = asr(load_audio(cut).numpy(), return_timestamps=True, generate_kwargs=options)
        text = "".join(f" {DIGITS[letter]} " if letter in DIGITS else letter for letter in heard["text"])
        for turn in asked:
            writer.write(Prediction.of(cut, turn, 1, text, split=split, compressor=WHISPER, finished=True))
