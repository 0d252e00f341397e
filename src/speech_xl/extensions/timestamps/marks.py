"""Time marks as text: written into a transcript, found in it, and taken out. "[0] good morning [3] hello"

Seconds in brackets, because any tokenizer can write those. They are no words: a word error rate is measured without
them.
"""

import math
import re

TIMED_ASR_INSTRUCTION = "transcribe the speech with times"
_MARK = re.compile(r"\s*\[(\d+(?:\.\d+)?)\]\s*")
_LAST_MARK = re.compile(r"\s*\[\d+(?:\.\d+)?\]\s*$")
FINEST_STEP = 0.001  # seconds: marks are written with three decimals at most
_TICK = 1e-6  # of a step: times that are a step's multiple but for rounding belong to it


def time_mark(seconds: float, step: float = 1.0) -> str:
    """The mark of a moment: the last multiple of `step` seconds, "[12]" for 12.7 s and with steps of 0.2 s "[12.6]".

    What lies before the audio begins counts as its beginning.
    """
    steps = max(0, math.floor(seconds / step + _TICK))
    return f"[{steps * step:.{decimals(step)}f}]"


def decimals(step: float) -> int:
    """Decimals that multiples of `step` are written with: none of 1.0, one of 0.2, two of 0.25."""
    return next(places for places in range(4) if math.isclose(step, round(step, places)) or places == 3)


def without_time_marks(text: str) -> str:
    """The words alone, a space where a mark stood."""
    return _MARK.sub(" ", text).strip()


def without_last_mark(text: str) -> str:
    """The text without a mark at its end, after which nothing is said."""
    return _LAST_MARK.sub("", text)


def has_time_marks(text: str) -> bool:
    return _MARK.search(text) is not None


def timed_parts(text: str) -> list[tuple[float, str]]:
    """(second, words after its mark), in the order of the text; what stands before the first mark is at 0."""
    before, *marked = _MARK.split(text)
    parts = [(float(second), words) for second, words in zip(marked[::2], marked[1::2], strict=True)]
    return [(0.0, before), *parts] if before.strip() else parts
