"""LongSpeech's profiles. Its authors have released no scorer, so none of them is called the official one."""

from __future__ import annotations

from speech_xl.evaluation.benchmarks.longspeech.asr import H1, H2, PAPER_WORDS, STRICT, asr, authors_asr
from speech_xl.evaluation.benchmarks.longspeech.counting import FIRST_INTEGER, ONLY_INTEGER, counting
from speech_xl.evaluation.benchmarks.longspeech.emotion import FIRST_CLASS, ONLY_CLASS, emotion
from speech_xl.evaluation.benchmarks.longspeech.languages import FIRST_LANGUAGE, ONLY_LANGUAGE, language_detection
from speech_xl.evaluation.benchmarks.profile import Profile

PROFILES = (
    Profile(
        "paper-words",
        "LongSpeech's paper (arXiv 2601.13539) in its own words; where it says nothing, this suite's choice, which the "
        "notes name",
        {
            "ASR": asr(PAPER_WORDS),
            "language_detection": language_detection(FIRST_LANGUAGE, "empty"),
            "speaker_count": counting(FIRST_INTEGER, "empty"),
            "content_separation": counting(FIRST_INTEGER, "empty"),
            "emotionQA": emotion(FIRST_CLASS, "empty"),
        },
    ),
    Profile(
        "h1",
        "a third party's evaluation code (github.com/lyh030725/minicpmo-longspeech-eval), which reads the published "
        "files",
        {
            "ASR": asr(H1),
            "language_detection": language_detection(FIRST_LANGUAGE, "left out"),
            "speaker_count": counting(FIRST_INTEGER, "left out"),
            "content_separation": counting(FIRST_INTEGER, "left out"),
            "emotionQA": emotion(FIRST_CLASS, "left out"),
        },
    ),
    Profile(
        "h2",
        "other evaluation code of the same third party (github.com/lyh030725/minicpm-longspeech)",
        {"ASR": asr(H2)},
    ),
    Profile(
        "authors-dev",
        "a LongSpeech author's evaluation scripts in a development state (github.com/yryMax/Qwen2-Audio), repaired "
        "where they can't finish",
        {"ASR": authors_asr()},
    ),
    Profile(
        "strict",
        "this suite's clean reading: every answer counts, what can't be read or names several things is wrong",
        {
            "ASR": asr(STRICT),
            "language_detection": language_detection(ONLY_LANGUAGE, "empty"),
            "speaker_count": counting(ONLY_INTEGER, "empty"),
            "content_separation": counting(ONLY_INTEGER, "empty"),
            "emotionQA": emotion(ONLY_CLASS, "empty"),
        },
    ),
)
