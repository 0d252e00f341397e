"""LongSpeech's profiles. Its authors have released no scorer, so none of them is called the official one."""

from __future__ import annotations

from speech_xl.evaluation.benchmarks.free_answers import judged
from speech_xl.evaluation.benchmarks.longspeech import asr, translation
from speech_xl.evaluation.benchmarks.longspeech.asr import authors_transcripts, transcripts
from speech_xl.evaluation.benchmarks.longspeech.counting import FIRST_INTEGER, ONLY_INTEGER, counting
from speech_xl.evaluation.benchmarks.longspeech.emotion import FIRST_CLASS, ONLY_CLASS, emotion
from speech_xl.evaluation.benchmarks.longspeech.languages import FIRST_LANGUAGE, ONLY_LANGUAGE, language_detection
from speech_xl.evaluation.benchmarks.longspeech.summary import mixed_summary, summary
from speech_xl.evaluation.benchmarks.longspeech.translation import pooled_translation, translations
from speech_xl.evaluation.benchmarks.profile import Profile

PROFILES = (
    Profile(
        "paper-words",
        "LongSpeech's paper (arXiv 2601.13539) in its own words; where it says nothing, this suite's choice, which the "
        "notes name",
        {
            "ASR": transcripts(asr.PAPER_WORDS),
            "translation": translations(translation.PAPER_WORDS),
            "summary": summary("empty"),
            "language_detection": language_detection(FIRST_LANGUAGE, "empty"),
            "speaker_count": counting(FIRST_INTEGER, "empty"),
            "content_separation": counting(FIRST_INTEGER, "empty"),
            "emotionQA": emotion(FIRST_CLASS, "empty"),
            "Temporal_Relative_QA": judged("empty", "NO"),
        },
    ),
    Profile(
        "h1",
        "A third party's evaluation code (github.com/lyh030725/minicpmo-longspeech-eval), which reads the published "
        "files",
        {
            "ASR": transcripts(asr.H1),
            "translation": pooled_translation(translation.H1),
            "summary": summary("left out", characters=False),
            "language_detection": language_detection(FIRST_LANGUAGE, "left out", truth="language"),
            "speaker_count": counting(FIRST_INTEGER, "left out"),
            "content_separation": counting(FIRST_INTEGER, "left out"),
            "emotionQA": emotion(FIRST_CLASS, "left out"),
            "Temporal_Relative_QA": judged("left out", "left out"),
        },
    ),
    Profile(
        "h2",
        "Other evaluation code of the same third party (github.com/lyh030725/minicpm-longspeech)",
        {
            "ASR": transcripts(asr.H2),
            "summary": summary("empty", characters=False),
            "Temporal_Relative_QA": judged("empty", "left out"),
        },
    ),
    Profile(
        "authors-dev",
        "A LongSpeech author's evaluation scripts in a development state (github.com/yryMax/Qwen2-Audio), repaired "
        "where they can't finish",
        {
            "ASR": authors_transcripts(),
            "translation": translations(translation.AUTHORS_DEV),
        },
    ),
    Profile(
        "strict",
        "This suite's clean reading: every answer counts, what can't be read or names several things is wrong",
        {
            "ASR": transcripts(asr.STRICT),
            "translation": translations(translation.STRICT),
            "summary": mixed_summary("empty"),
            "language_detection": language_detection(ONLY_LANGUAGE, "empty"),
            "speaker_count": counting(ONLY_INTEGER, "empty"),
            "content_separation": counting(ONLY_INTEGER, "empty"),
            "emotionQA": emotion(ONLY_CLASS, "empty"),
            "Temporal_Relative_QA": judged("empty", "NO"),
        },
    ),
)
