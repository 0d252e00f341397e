"""Long-form transcription sets, scored by the Open ASR leaderboard's rules, by this suite's, and as truncated WER."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

import transformers

from speech_xl.evaluation import normaliser
from speech_xl.evaluation.benchmarks import normalisers
from speech_xl.evaluation.benchmarks.answers import (
    counted,
    failed_note,
    hypothesis_of,
    language_of,
    reference_of,
)
from speech_xl.evaluation.benchmarks.error_rates import error_rate_score, words_of
from speech_xl.evaluation.benchmarks.profile import (
    Benchmark,
    Judgements,
    Profile,
    Published,
    Score,
    TaskScorer,
    ratio_score,
)
from speech_xl.evaluation.metrics import CUT_AT, edit_counts
from speech_xl.evaluation.prediction import Prediction

WER = "WER, %"
CER = "CER, %"
TRUNCATED_WER = "truncated WER, %"
NOT_SCORED = ("", "ignore time segment in scoring")  # normalised references that the leaderboard leaves out


def is_english(prediction: Prediction) -> bool:
    """Whether the transcript is English, or nothing says what it is."""
    language = re.split(r"[-_]", (language_of(prediction) or "en").lower())[0]
    return language in ("en", "eng", "english")


def on_leaderboard(predictions: Sequence[Prediction]) -> tuple[list[Prediction], int]:
    """The transcripts that the Open ASR leaderboard counts, and how many it doesn't: failed ones, other languages than
    English, and references without words after normalisation."""
    answers, left_out = counted(predictions, "left out")
    kept = [
        one
        for one in answers
        if is_english(one) and normalisers.whisper_english(reference_of(one)).strip() not in NOT_SCORED
    ]
    return kept, left_out + len(answers) - len(kept)


def leaderboard(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
    """Corpus WER after Whisper's English normaliser."""
    answers, left_out = on_leaderboard(predictions)
    note = (
        f"normaliser: Whisper's English one (transformers {transformers.__version__}, "
        f"{normalisers.spelling_map()[1]}); words by jiwer, corpus average; {failed_note('left out')}, and so are "
        "other languages than English and references without words. Newer scripts of the leaderboard also take white "
        "paper and whitepaper for the same (kaldialign's merge_compounds); here they are errors"
    )
    units = words_of(normalisers.whisper_english)
    return [error_rate_score(WER, answers, units, main=True, left_out=left_out, note=note)]


def suite(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
    """Corpus WER and CER by this suite's normaliser, which knows every script."""
    answers, left_out = counted(predictions, "empty")
    note = f"normaliser: this suite's, version {normaliser.NORMALISER_VERSION}; corpus average; {failed_note('empty')}"
    about = {"left_out": left_out, "note": note}
    return [
        error_rate_score(WER, answers, lambda text, code: normaliser.units(text, code, False), main=True, **about),
        error_rate_score(CER, answers, lambda text, code: normaliser.characters(text, code, False), **about),
    ]


def plain_words(text: str) -> list[str]:
    """Lower case; Unicode's punctuation and symbols but ' and . are spaces; words between spaces."""
    lower = text.lower().translate({0x2019: "'"})
    return "".join(
        " " if char not in "'." and unicodedata.category(char)[0] in "PS" else char for char in lower
    ).split()


def truncated(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
    """Corpus WER with each hypothesis cut at 1.2 times its reference's words, and without the cut."""
    answers, left_out = counted(predictions, "empty")
    pairs = [(plain_words(reference_of(one)), plain_words(hypothesis_of(one))) for one in answers]
    most = [math.ceil(round(CUT_AT * len(reference), 6)) for reference, _ in pairs]
    cut = [edit_counts(pair[0], pair[1][:words]) for pair, words in zip(pairs, most, strict=True)]
    whole = [edit_counts(*pair) for pair in pairs]
    note = (
        "normaliser: lower case, a space for punctuation but ' and .; hypothesis cut at ceil(1.2 x reference words) "
        f"after that; corpus average; {failed_note('empty')}. How others round, and whether they write a space, isn't "
        "published"
    )
    about = {"better": "lower", "left_out": left_out, "note": note}
    return [
        ratio_score(TRUNCATED_WER, answers, [c[0] for c in cut], [c[1] for c in cut], main=True, **about),
        ratio_score(WER, answers, [c[0] for c in whole], [c[1] for c in whole], **about),
    ]


RULES = (
    ("leaderboard", "The Open ASR leaderboard's rules (github.com/huggingface/open_asr_leaderboard)", leaderboard),
    ("suite", "This suite's own normaliser, for every language", suite),
    ("truncated", "WER with runaway answers cut, as papers on long-form speech LLMs give it", truncated),
)


def transcription_set(
    name: str, title: str, paper: str, tasks: tuple[str, ...] = ("ASR",), published: tuple[Published, ...] = ()
) -> Benchmark:
    """A benchmark all of whose tasks are transcription."""
    profiles = tuple(Profile(rule, about, dict.fromkeys(tasks, TaskScorer(score))) for rule, about, score in RULES)
    return Benchmark(name, title, paper, tasks, profiles, published)


REVIEW = "a public review of a paper on compressed audio memory, second hand"
LIBRISPEECH_LONG = {  # test-clean and test-other
    "Voxtral-Mini-3B": (6.79, 8.86, "all audio frames"),
    "Voxtral-Small-24B": (5.70, 8.37, "all audio frames"),
    "Voxtral-Mini-3B with WnW": (6.23, 8.87, "about 20 % of the audio's keys and values"),
}
BENCHMARKS = {
    one.name: one
    for one in (
        transcription_set(
            "librispeech_long",
            "LibriSpeech-Long",
            "arXiv 2412.18603",
            ("test-clean", "test-other", "dev-clean", "dev-other"),
            tuple(
                Published(
                    system, task, WER, value, REVIEW, f"{memory}; which normaliser, and whether truncated, unknown"
                )
                for system, (clean, other, memory) in LIBRISPEECH_LONG.items()
                for task, value in (("test-clean", clean), ("test-other", other))
            ),
        ),
        transcription_set(
            "earnings22_cleaned",
            "Earnings22-Cleaned-AA",
            "huggingface.co/datasets/ArtificialAnalysis/Earnings22-Cleaned-AA; arXiv 2203.15591",
        ),
        transcription_set("tedlium3", "TED-LIUM 3, whole talks", "arXiv 1805.04699"),
        transcription_set("ami", "AMI, whole meetings, mix of headsets", "Carletta et al., MLMI 2005"),
        transcription_set("earnings21", "Earnings-21", "arXiv 2104.11348"),
        transcription_set("earnings22", "Earnings-22", "arXiv 2203.15591"),
        transcription_set("voxpopuli", "VoxPopuli, stretches of transcribed speech", "Wang et al., ACL 2021"),
    )
}
