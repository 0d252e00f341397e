"""Dev sessions asked for compression.py: heard through a method, alone or together, answers kept as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from lhotse.cut import Cut
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import pipeline

from data_recipes.grammar import number_words
from speech_xl.data.audio import load_audio
from speech_xl.data.frame_cache import FrameCache
from speech_xl.evaluation.compressors import Compressor
from speech_xl.evaluation.evaluator import Evaluator
from speech_xl.evaluation.prediction import Prediction, turn_id
from speech_xl.evaluation.prediction_file import PredictionWriter, asked_of, digest_of, read_predictions
from speech_xl.evaluation.rows import WHISPER
from speech_xl.model import Encoder, SpeechLLM
from speech_xl.model.decoding_rules import DecodingRules
from speech_xl.model.layout import interval_frames
from speech_xl.model.speech import Speech
from speech_xl.phases.weights import weights_tag
from speech_xl.run.command import ConfigError
from speech_xl.run.trained_stage import TrainedStage

DIGITS = {str(n): number_words(n) for n in range(10)}
FALLBACK = {  # Whisper's own way out where it repeats itself or is unsure (arXiv 2212.04356, 3.8): hotter and hotter
    "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "compression_ratio_threshold": 1.35,  # of token numbers, as transformers counts; 2.4 of letters in the paper
    "logprob_threshold": -1.0,
    "no_speech_threshold": 0.6,
}


@dataclass
class Method:
    """A compressor, and the folder of the stage whose weights it runs on (`base`, `sst`, ...)."""

    compressor: Compressor
    weights: str

    @property
    def name(self) -> str:
        return self.compressor.name


def changed(data: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A stage's data config with "KEY=VALUE" changes; keys that it hasn't got are refused."""
    config = OmegaConf.create(data)
    OmegaConf.set_struct(config, True)
    for change in changes:
        key, _, value = change.partition("=")
        try:
            OmegaConf.update(config, key, OmegaConf.from_dotlist([f"value={value}"]).value, force_add=False)
        except (ConfigAttributeError, ConfigKeyError):
            raise ConfigError(
                f"--data {change}: the stage's data has no key {key}; take one of its config.yaml"
            ) from None
    return cast(dict[str, Any], OmegaConf.to_container(config))


class Sessions:
    """The dev sessions that are asked, and their encoder frames, computed once.

    changes: "KEY=VALUE" of the stage's `data` that are otherwise here than in training.
    """

    def __init__(
        self, stage: TrainedStage, limit: int | None, tasks: Sequence[str] = ("asr", "qa"), changes: Sequence[str] = ()
    ) -> None:
        own = changed(stage.config["data"], changes)
        given = own | {"limit_dev": limit, "eval_questions": 8, "eval_tasks": list(tasks)}
        self.data = stage.data(given)
        self.cuts = list(self.data.cuts("dev"))
        heard = {key: given.get(key) for key in ("corpus", "partition")}
        self.about = {"asked": asked_of(self.cuts, self.data.evaluation), "data": digest_of(heard)}

    @cache  # noqa: B019  (lives as long as the benchmark; a fingerprint reads all weights)
    def frames(self, encoder: Encoder) -> FrameCache:
        return FrameCache.of(encoder, self.data.cache_dir)

    def speech(self, model: SpeechLLM, cut: Cut) -> Speech:
        """One session as the model's LLM hears it."""
        encoder = model.encoder
        frames = self.frames(encoder).load_or_store(
            cut, lambda one: encoder.encode([load_audio(one).to(model.device)])[0]
        )
        adapted = model.adapt([frames])
        ends = self.data.partition(cut)
        intervals = interval_frames(ends, int(adapted.lengths[0]), model.frame_rate)
        return Speech(adapted.frames, adapted.lengths, [intervals])


def answered(
    method: Method,
    model: SpeechLLM,
    ratio: int,
    sessions: Sessions,
    decoding: DecodingRules,
    path: Path,
    weights: Path,
    together: int = 1,
) -> list[Prediction]:
    """All sessions' predictions, read from `path` where they are written already; ValueError where these are answers of
    other weights, or to other questions.

    together: sessions that are asked at once, by methods that can; else, and by the others, one at a time.
    """
    at_once = together if method.compressor.takes_rows else 1
    cuts, evaluator = sessions.cuts, Evaluator(model, method.compressor, [ratio], "dev", decoding=decoding)
    with PredictionWriter(path, {"weights": weights_tag(weights)} | sessions.about | asdict(decoding)) as writer:
        for first in tqdm(range(0, len(cuts), at_once), desc=f"{method.name} {ratio}x", unit="batch"):
            some = cuts[first : first + at_once]
            turns = [sessions.data.evaluation(cut) for cut in some]
            evaluator.write(
                writer, some, turns, lambda some=some: stacked([sessions.speech(model, cut) for cut in some])
            )
    return read_predictions(path)


def stacked(rows: Sequence[Speech]) -> Speech:
    """Sessions of a row each as one batch."""
    frames = pad_sequence([row.frames[0] for row in rows], batch_first=True)
    return Speech(frames, torch.cat([row.lengths for row in rows]), [row.intervals[0] for row in rows])


def whisper_reference(name: str | Path, sessions: Sessions, path: Path) -> None:
    """What Whisper itself transcribes, by its own long-form decoding with temperature fallback; digits it writes as
    figures are spelled out. What it draws at higher temperatures is drawn alike each time."""
    asr: Any = pipeline("automatic-speech-recognition", str(name))
    about = {"whisper": Path(name).name, "fallback": {key: str(value) for key, value in FALLBACK.items()}}
    with PredictionWriter(path, about | sessions.about) as writer:
        for cut in tqdm(sessions.cuts, desc=WHISPER, unit="session"):
            asked = [turn for turn in sessions.data.evaluation(cut) if turn.task == "asr"]
            if all(writer.done(turn_id(cut.id, turn, 1)) for turn in asked):
                continue
            options = {"language": "en", "task": "transcribe"} | FALLBACK
            torch.manual_seed(0)
            heard = asr(load_audio(cut).numpy(), return_timestamps=True, generate_kwargs=options)
            text = "".join(f" {DIGITS[c]} " if c in DIGITS else c for c in heard["text"])
            for turn in asked:
                writer.write(Prediction.of(cut, turn, 1, text, split="dev", compressor=WHISPER, finished=True))
