"""Time marks: the second at which an utterance begins, said before it in a transcript: "[0] good morning [3] hello".

A decoder that says when it is finds its way back where the same words come up again: it can go on from there. Marks
of time among the words as in Whisper (arXiv 2212.04356, section 2.3); whole seconds in brackets, because any tokenizer
can write those. They are no words: a word error rate is measured without them.
"""

import re

_MARK = re.compile(r"\s*\[\d+\]\s*")


def time_mark(seconds: float) -> str:
    """The mark of a moment, such as "[12]" for 12.7 s; what lies before the audio begins counts as its beginning."""
    return f"[{max(0, int(seconds))}]"


def without_time_marks(text: str) -> str:
    """The words alone, a space where a mark stood."""
    return _MARK.sub(" ", text).strip()
