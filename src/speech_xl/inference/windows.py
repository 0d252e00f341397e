"""Questions about what was heard; a transcript is asked for window by window where the model was trained to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from speech_xl.model.generation import StepWatch, TokenWatch
from speech_xl.model.layout import View
from speech_xl.model.speech import GeneratedText

if TYPE_CHECKING:
    from speech_xl.inference.model import ListeningModel
    from speech_xl.model.listener import Listener

MOST_AT_ONCE = 64  # windows of one batch
MOST_BYTES = 1 << 30  # of keys and values in one batch


def answered(
    model: ListeningModel, listener: Listener, instruction: str, limit: int, watch: TokenWatch | StepWatch | None = None
) -> GeneratedText:
    """The answer to an instruction, of `limit` tokens at most; what asks for a transcript is put window by window.

    watch: is shown the tokens; those of windows once all are written, because they come side by side
    """
    instructions = [instruction]
    if instruction == model.transcript.instruction:
        instructions = model.transcript.instructions(listener.seconds, listener.reach(instruction))
    if model.transcript.span_of(instructions[0]) is None:
        return listener.answer(instructions[0], limit, watch)
    transcript, frames = model.transcript, [one.frames for one in listener.intervals]
    limits = [min(limit, model.answer_limit(one, listener.seconds)) for one in instructions]
    spans = [transcript.span_of(one) for one in instructions]
    views = [transcript.view(span, frames, model.backbone.frame_rate) for span in spans]
    steps, texts = watch if isinstance(watch, StepWatch) else None, []
    size = at_once(listener, views)
    for first in range(0, len(instructions), size):
        part = slice(first, first + size)
        texts += listener.answers(instructions[part], limits[part], steps, views[part])
    joined = within_limit(model, texts, limit)
    if isinstance(watch, TokenWatch):
        tokens = model.backbone.llm.prompt.text_ids(joined.text)
        if not all(watch.on_token(token) for token in tokens):
            joined.finished = False
    return joined


def at_once(listener: Listener, views: Sequence[View | None]) -> int:
    """Windows that are asked for in one batch, each with a copy of the memory, or of what it sees of it."""
    intervals = len(listener.intervals)
    share = max((min(v[1], intervals - 1) - v[0] + 1) / intervals if v else 1.0 for v in views)
    return max(1, min(MOST_AT_ONCE, int(MOST_BYTES / max(1.0, share * listener.memory.bytes))))


def within_limit(model: ListeningModel, texts: Sequence[GeneratedText], limit: int) -> GeneratedText:
    """Windows' answers as one, of `limit` tokens at most."""
    joined = GeneratedText.joined(texts, model.transcript.joined)
    if joined.new_tokens <= limit:
        return joined
    prompt = model.backbone.llm.prompt
    return GeneratedText(prompt.text(prompt.text_ids(joined.text)[:limit]), False, joined.reached_seconds, limit)
