"""The ids of an answer about one audio, for `SpeechXL.generate`: those of `Memory.ask`."""

from __future__ import annotations

import torch
from torch import Tensor

from speech_xl import SAMPLE_RATE
from speech_xl.data.transcript import ASR_INSTRUCTION
from speech_xl.inference import ListeningModel
from speech_xl.inference.windows import answered
from speech_xl.model.generation import TokenWatch


def answer_ids(
    model: ListeningModel, audio: Tensor, question: list[int] | None, ratio: int | None, limit: int | None
) -> Tensor:
    """New tokens int64 [T], the one that ends the answer included.

    audio     float32 [S] at 16 kHz
    question  its ids, as `Prompt.question` gives them; None: a transcript
    ratio, limit
              None: the model's own
    """
    backbone, transcript = model.backbone, model.transcript.instruction
    asked = backbone.llm.prompt.question(transcript) if question is None else question
    memory = model.listen(audio, rate=SAMPLE_RATE, ratio=ratio)
    memory.finish()
    # The rules of a transcript hold where one is asked for.
    own = (one for one in (transcript, ASR_INSTRUCTION) if asked == backbone.llm.prompt.question(one))
    text = next(own, "")
    longest = limit or model.answer_limit(text, memory.seconds)
    if text == transcript and model.transcript.windows is not None:
        said = answered(model, memory.listener, text, longest)
        ids = backbone.llm.prompt.text_ids(said.text) + [backbone.llm.prompt.end_id] * said.finished
        return torch.tensor(ids[:longest], device=backbone.device)
    rules = backbone.processors([text], [memory.seconds])
    tokens: list[int] = []

    def keep(token: int) -> bool:
        tokens.append(token)
        return True

    backbone.generate(memory.listener.memory, [0], [asked], [longest], rules, TokenWatch(keep))
    return torch.tensor(tokens, device=backbone.device)
