"""LongSpeech (arXiv 2601.13539): eight tasks about sessions of ten minutes."""

from speech_xl.evaluation.benchmarks.longspeech.profiles import PROFILES
from speech_xl.evaluation.benchmarks.longspeech.published import PUBLISHED
from speech_xl.evaluation.benchmarks.profile import Benchmark

BENCHMARK = Benchmark(
    name="longspeech",
    title="LongSpeech",
    paper="arXiv 2601.13539",
    tasks=(
        "ASR",
        "translation",
        "summary",
        "language_detection",
        "speaker_count",
        "content_separation",
        "emotionQA",
        "Temporal_Relative_QA",
    ),
    profiles=PROFILES,
    published=PUBLISHED,
    average={profile.name: False for profile in PROFILES},  # the paper gives none, and the tasks' units differ
)
