"""LongSpeech emotionQA: fine labels fall into seven coarse classes (paper, section 3.2.2) of four polarities."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from speech_xl.evaluation.benchmarks.answers import Failed, failed_note, reference_of
from speech_xl.evaluation.benchmarks.closed_answers import Reader, parse
from speech_xl.evaluation.benchmarks.profile import Judgements, Score, TaskScorer, by_frequency
from speech_xl.evaluation.prediction import Prediction

STRICT = "same coarse emotion (paper: Strict), %"
RELAXED = "same polarity (paper: Relaxed), %"


@cache
def classes() -> dict[str, list[str]]:
    """Coarse class -> its fine labels."""
    return json.loads(Path(__file__).with_name("emotion_classes.json").read_text(encoding="utf-8"))


@cache
def fine_labels() -> dict[str, str]:
    """Fine label -> its coarse class, the longest label first."""
    found = {label: coarse for coarse, labels in classes().items() for label in labels}
    return {label: found[label] for label in sorted(found, key=lambda label: (-len(label), label))}


def polarity(coarse: str) -> str:
    """ "Positive", "Negative", "Cognitive" or "Neutral"."""
    return coarse.split("-")[0]


def first_class(text: str) -> str | None:
    """A coarse class's name anywhere in the text; else the class of the longest fine label in it ("calm but urgent" is
    urgent). None without one."""
    text = _folded(text)
    if coarse := next((name for name in classes() if name.lower() in text), None):
        return coarse
    return next((coarse for label, coarse in fine_labels().items() if re.search(rf"\b{label}\b", text)), None)


def only_class(text: str) -> str | None:
    """The only coarse class that is named in the text, by itself or by fine labels; None of none or several."""
    text, found = _folded(text), set()
    for name in classes():
        text, times = re.subn(rf"\b{re.escape(name.lower())}\b", " ", text)
        found |= {name} if times else set()
    found |= {coarse for label, coarse in fine_labels().items() if re.search(rf"\b{label}\b", text)}
    return found.pop() if len(found) == 1 else None


FIRST_CLASS = Reader(first_class, "emotion: a coarse class's name, else the longest fine label in the answer")
ONLY_CLASS = Reader(
    only_class,
    "emotion: the only coarse class that is named, by itself or by fine labels; several are unparsed",
)


def emotion(reader: Reader, failed: Failed) -> TaskScorer:
    """Strict: the same coarse class. Relaxed: the same polarity. Unparsed answers are wrong in both."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        answers = parse(predictions, failed, reader.find)
        note = answers.note(f"{reader.note}; unparsed counts as wrong; {failed_note(failed)}")
        alike = [
            found is not None and polarity(str(found)) == polarity(str(expected))
            for found, expected in zip(answers.found, answers.expected, strict=True)
        ]
        return [
            answers.share(STRICT, answers.right, main=True, note=f"same of 7 coarse classes; {note}"),
            answers.share(RELAXED, alike, note=f"same of 4 polarities; {note}"),
        ]

    return TaskScorer(score, constants=coarse_answers)


def coarse_answers(predictions: Sequence[Prediction]) -> list[str]:
    """The coarse classes of the references, the most frequent first."""
    return by_frequency(coarse for one in predictions if (coarse := first_class(reference_of(one))))


def _folded(text: str) -> str:
    """Lower case, "_" as "-", no spaces round "/" and "-"."""
    return re.sub(r"\s*([/-])\s*", r"\1", text.lower().replace("_", "-"))
