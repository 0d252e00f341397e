"""Hours heard interval by interval, and answers decoded from what is kept, for gpu.py."""

from __future__ import annotations

from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedConfig, SuppressTokensLogitsProcessor

from experiments.measurements.device import begin, gib, peak
from experiments.measurements.gpu_training import INTERVAL, MINUTE, RATIO
from experiments.measurements.sizes import speech_llm_of
from speech_xl.evaluation.timing import now
from speech_xl.model import SpeechLLM, SSTs
from speech_xl.model.kv_memory import KVMemory

LISTENED = (None, 8, 16)  # ratios


def decode_speed(model: SpeechLLM, memory: KVMemory, tokens: int) -> float:
    """Tokens a second behind this memory: what an answer of so many takes, less what one of a single token takes."""
    never = SuppressTokensLogitsProcessor([model.llm.prompt.end_id], device=str(model.device))

    def took(limit: int) -> float:
        start = now(model.device)
        model.generate(memory, [0], ["how many speakers are there"], [limit], [never])
        return now(model.device) - start

    one = took(1)
    return (tokens - 1) / (took(tokens) - one)


@torch.no_grad()
def prefill(model: SpeechLLM, ratio: int | None, part: int, parts: int, decoded: int) -> dict[str, Any]:
    """`parts` stretches of `part` intervals; seconds of each, and what is kept after the first and the last."""
    device, seconds, marks = model.device, [], []
    begin(device)
    memory = model.start(1)
    most = 0
    for number in tqdm(range(parts), desc=f"listening, ratio {ratio or 1}", unit="part"):
        start = now(device)
        for _ in range(part):
            frames = torch.randn(1, INTERVAL, model.llm.width, device=device) * 0.1
            model.compress_interval(memory, frames, [INTERVAL], [ratio])
        seconds.append(now(device) - start)
        most = max(most, peak(device))
        if number in (0, parts - 1):
            mark = {"minutes": (number + 1) * part * INTERVAL / MINUTE, "prefill_seconds": round(sum(seconds), 3)}
            mark |= {"kept_tokens": int(memory.kept[0]), "kept_gib": memory.bytes / 2**30, "peak_gib": gib(most)}
            marks.append(mark | {"tokens_a_second": round(decode_speed(model, memory, decoded), 2)})
            begin(device)  # the copy that was asked doesn't count
    return {"ratio": ratio or 1, "part_seconds": [round(s, 3) for s in seconds], "marks": marks}


def listening(
    config: PreTrainedConfig, part: int, parts: int, decoded: int, device: torch.device
) -> tuple[list[dict[str, Any]], float]:
    """Of every ratio what `listen` found, and the weights' GiB."""
    before = begin(device)
    model = speech_llm_of(config, device, "bfloat16", SSTs("full", positions="compact")).eval().requires_grad_(False)
    weights = gib(begin(device) - before)
    prefill(model, RATIO, 1, 1, 2)  # warms up
    return [prefill(model, ratio, part, parts, decoded) for ratio in LISTENED], weights
