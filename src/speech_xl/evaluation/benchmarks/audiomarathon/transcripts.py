"""Scorers of AudioMarathon's ASR: as its script scores it, and by the corpus word error rate."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import jiwer
import numpy as np

from speech_xl.evaluation.benchmarks.audiomarathon.replies import reference_of, reply_of
from speech_xl.evaluation.benchmarks.profile import Judgements, Score, TaskScorer, bootstrap_weights, interval
from speech_xl.evaluation.metrics import wer_counts
from speech_xl.evaluation.normaliser import NORMALISER_VERSION
from speech_xl.evaluation.prediction import Prediction

MARKERS = ("spoken content:", "content:", "transcription:", "transcript:")  # in the order in which they are looked for
PLACEHOLDER = "<transcribed text here>"
OFFICIAL_NORMALISER = "lower case, . ! ? , ; : \" ( ) [ ] { } to spaces, - and ' deleted, spaces collapsed"


def clean_reply(reply: str) -> str:
    """The transcript in a reply as LibriSpeech_qwen2.5.py takes it: what follows the first of `MARKERS` that is inside,
    up to the same marker's next place; without the prompt's placeholder and what follows <sep>.

    So "content:" in a transcript cuts it: of "the content: was" only "was" stays.
    """
    text = reply.rpartition("assistant\n")[2]
    for marker in MARKERS:
        parts = re.split(re.escape(marker), text, flags=re.IGNORECASE)
        if len(parts) > 1:
            text = parts[1]
            break
    text = re.sub(r"<sep>.*?(?:<|$)", "", text.strip().replace(PLACEHOLDER, ""))
    heading = r"^(?:spoken\s+(?:text|content)|content|transcript|transcription):"
    return re.sub(heading, "", text.strip(), flags=re.IGNORECASE).strip()


def official_text(text: str) -> str:
    """A text as LibriSpeech_qwen2.5.py compares it. "twenty-one" becomes "twentyone", a curly apostrophe stays."""
    spaced = re.sub(r"""[.!?,;:"()\[\]{}]""", " ", text.lower())
    return " ".join(re.sub(r"[-']", "", spaced).split())


def file_wer(reference: str, hypothesis: str) -> float:
    """Word error rate of one file in percent by jiwer; 100 where either text is empty once it is normalised."""
    words = official_text(reference), official_text(hypothesis)
    return 100.0 * jiwer.wer(*words) if all(words) else 100.0


def official_transcripts() -> TaskScorer:
    """100 - the mean of the files' word error rates. Files with an empty reference or transcript, and failed ones,
    leave the mean; where nothing stays it is 0."""

    def score(predictions: Sequence[Prediction], _judgements: Judgements) -> list[Score]:
        pairs = [(reference_of(one), clean_reply(reply_of(one))) for one in predictions]
        kept = [place for place, one in enumerate(predictions) if one.failed is None and all(pairs[place])]
        failures = sum(one.failed is not None for one in predictions)
        empty = sum(not hypothesis for _, hypothesis in pairs) - failures
        note = (
            f"mean over files, by jiwer; {OFFICIAL_NORMALISER}; files with an empty transcript and failed ones are "
            'left out; what precedes a marker such as "content:" is cut off'
        )
        counts = len(predictions) - len(kept), empty
        rates = [file_wer(*pairs[place]) for place in kept]
        if predictions and not kept:
            return _both(100.0, (math.nan, math.nan), 0, "mean of files", note, *counts)
        some = [predictions[place] for place in kept]
        return _both(*_mean(some, rates, [1.0] * len(kept)), len(kept), "mean of files", note, *counts)

    return TaskScorer(score)


def strict_transcripts() -> TaskScorer:
    """100 - the corpus word error rate: all word errors over all reference words. Empty and failed transcripts count as
    deletions of every word; nothing but the prompt's own "Spoken Content:" before a transcript is taken off."""

    def score(predictions: Sequence[Prediction], _judgements: Judgements) -> list[Score]:
        replies = ["" if one.failed is not None else strict_reply(reply_of(one)) for one in predictions]
        counts = [
            wer_counts(reference_of(one), reply, one.language, timestamps=False)
            for one, reply in zip(predictions, replies, strict=True)
        ]
        failures = sum(one.failed is not None for one in predictions)
        note = f"corpus WER; normaliser version {NORMALISER_VERSION}; failed answers ({failures}) count as empty ones"
        rates = _mean(predictions, [100.0 * errors for errors, _ in counts], [float(words) for _, words in counts])
        unparsed = sum(not reply for reply in replies) - failures
        return _both(*rates, len(predictions), "corpus", note, unparsed=unparsed)

    return TaskScorer(score)


def strict_reply(reply: str) -> str:
    """A reply without the heading that the prompt asks for, if it begins with it, and without the placeholder."""
    return re.sub(
        r"^\W*spoken\s+content\s*:", "", reply.replace(PLACEHOLDER, " "), count=1, flags=re.IGNORECASE
    ).strip()


def _mean(
    predictions: Sequence[Prediction], above: Sequence[float], below: Sequence[float]
) -> tuple[float, tuple[float, float]]:
    """sum(above) / sum(below) and its interval."""
    if not sum(below):
        return math.nan, (math.nan, math.nan)
    weights = bootstrap_weights(predictions)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = (weights @ np.asarray(above, float)) / (weights @ np.asarray(below, float))
    return sum(above) / sum(below), interval(draws, len({one.cut_id for one in predictions}))


def _both(
    wer: float,
    limits: tuple[float, float],
    items: int,
    kind: str,
    note: str,
    left_out: int = 0,
    unparsed: int = 0,
) -> list[Score]:
    """100 - WER, the benchmark's figure, and the WER."""
    low, high = limits
    right = Score(
        f"100 - WER ({kind}), %",
        100.0 - wer,
        100.0 - high,
        100.0 - low,
        items,
        left_out,
        unparsed,
        "higher",
        True,
        f"{note}; below 0 where there are more errors than words",
    )
    return [right, Score(f"WER ({kind}), %", wer, low, high, items, left_out, unparsed, "lower", False, note)]
