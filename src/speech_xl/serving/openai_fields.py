"""Fields of OpenAI's requests that can't be honoured here: refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from speech_xl.serving.errors import ApiError

ANY = object()  # every value is as good: it asks for nothing
GREEDY = "answers are greedy, the likeliest token every time"
TEXT = "this model reads audio and one question, and writes text"
# The values that a field may have, beside null, and why no other.
CHAT: dict[str, tuple[tuple[Any, ...], str]] = {
    "temperature": ((0,), GREEDY),
    "top_p": ((1,), GREEDY),
    "seed": ((ANY,), ""),
    "frequency_penalty": ((0,), GREEDY),
    "presence_penalty": ((0,), GREEDY),
    "logit_bias": (({},), GREEDY),
    "n": ((1,), "one answer is given"),
    "logprobs": ((False,), "no probabilities are given"),
    "top_logprobs": ((0,), "no probabilities are given"),
    "modalities": ((["text"],), TEXT),
    "response_format": (({"type": "text"},), "answers have no form but text"),
    "stop": (([],), "an answer ends where the model ends it, or at max_completion_tokens"),
    "tools": (([],), TEXT),
    "tool_choice": (("none",), TEXT),
    "parallel_tool_calls": ((ANY,), ""),
    "store": ((False,), "nothing is stored; open a session to ask more"),
    "user": ((ANY,), ""),
    "safety_identifier": ((ANY,), ""),
    "service_tier": (("auto", "default"), "there is one tier"),
}
TRANSCRIPTION: dict[str, tuple[tuple[Any, ...], str]] = {
    "temperature": (("0", "0.0"), GREEDY),
    "prompt": (("",), "the model takes no prompt beside the audio"),
}


def check_fields(given: Mapping[str, Any], known: Mapping[str, tuple[tuple[Any, ...], str]]) -> None:
    """Raises ApiError (400) for a field that nobody knows, or a value that can't be honoured."""
    for name, value in given.items():
        if name not in known:
            raise ApiError(400, "unsupported_field", f"{name[:80]}: can't be honoured here; leave it out", name[:80])
        values, reason = known[name]
        if value is not None and ANY not in values and not any(_same(value, one) for one in values):
            said = f"{name}: got {value!r:.80}; {reason}. Leave it out"
            raise ApiError(400, "unsupported_value", said, name)


def _same(value: Any, other: Any) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)
