"""How long a stretch of audio can be transcribed at once, and where a longer one is cut."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from torch import Tensor

from speech_xl import SAMPLE_RATE
from speech_xl.checks import number
from speech_xl.model.context import context_of

if TYPE_CHECKING:
    from speech_xl.inference.model import ListeningModel

SHORTEST_PART, DEFAULT_PART = 1.0, 300.0  # seconds; the latter where nothing limits it
SEARCH_SECONDS, QUIET_SECONDS, STEP_SECONDS = 5.0, 0.2, 0.01  # where a cut is looked for, its stillness, and its grid


def most_seconds(model: ListeningModel, ratio: int) -> float:
    """The longest audio whose transcript has room in the LLM's context and within its timestamps.

    Raises ValueError where that is no second.
    """
    backbone, instruction = model.backbone, model.transcript.instruction
    reached = backbone.decoding.reach(backbone.llm.prompt, instruction, 1e9, backbone.device)
    most = inf if reached is None else float(reached)
    context = context_of(backbone.llm.model.config)
    if context is not None:
        packed = backbone.positions in ("compact", "interpolated")
        # Frames and SSTs take a position each; where these are packed, SSTs alone do, once their interval is over, and
        # where they are shared, frames alone.
        kept = 0.0 if ratio == 1 or backbone.positions == "shared" else 1 / ratio
        positions = backbone.frame_rate * (kept if packed and ratio > 1 else 1 + kept)
        interval = backbone.frame_rate * model.interval_seconds if packed else 0.0
        prompt = backbone.llm.prompt
        room = context - len(prompt.prefix) - len(prompt.question(instruction)) - interval
        spare = backbone.decoding.limit("qa", 0.0)
        most = min(most, (room - spare) / (positions + backbone.decoding.max_tokens_per_second))
    if most < SHORTEST_PART:
        raise ValueError(
            f"ratio: at {ratio} the LLM's context of {context:,} tokens has no room for a second of audio and its "
            "transcript; take a higher ratio"
        )
    return DEFAULT_PART if most == inf else most


def part_seconds(model: ListeningModel, ratio: int, asked: float | None) -> float:
    """Longest seconds of a part: as asked for, or as long as can be. Raises ValueError where more was asked for."""
    most = most_seconds(model, ratio)
    if asked is None:
        return most
    number("part_seconds", asked, least=SHORTEST_PART, unit="seconds")
    if asked > most:
        raise ValueError(f"part_seconds: got {asked:g}; at ratio {ratio} this LLM has room for {most:.1f}")
    return asked


def search_samples(longest: int) -> int:
    """Samples at the end of the longest part in which a cut is looked for."""
    return min(round(SEARCH_SECONDS * SAMPLE_RATE), longest // 2)


def quietest(samples: Tensor) -> int:
    """The middle of the quietest 0.2 s of audio [S], as a sample of it; the last such, where some are alike."""
    step, width = round(STEP_SECONDS * SAMPLE_RATE), round(QUIET_SECONDS * SAMPLE_RATE)
    if len(samples) <= width:
        return len(samples)
    windows = samples.double().square().unfold(0, width, step).sum(1)
    first = len(windows) - 1 - int(windows.flip(0).argmin())
    return first * step + width // 2
