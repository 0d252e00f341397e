"""LongSpeech's published figures. Error rates are published as fractions and stand here in percent."""

from __future__ import annotations

from speech_xl.evaluation.benchmarks.free_answers import STRICT
from speech_xl.evaluation.benchmarks.longspeech.asr import CJK_CER, NON_CJK_WER, OVERALL_CER, WER
from speech_xl.evaluation.benchmarks.longspeech.counting import N_A
from speech_xl.evaluation.benchmarks.profile import Published
from speech_xl.evaluation.benchmarks.rouge import rouge_name

TABLES = "LongSpeech paper (arXiv 2601.13539), Tables 3-4, as a third party quotes them"
LEADERBOARD = "wizwand leaderboard, second hand"
SUBSET = "rows and rules of its WER are not known"
COLUMNS = (
    ("ASR", NON_CJK_WER),
    ("ASR", CJK_CER),
    ("ASR", OVERALL_CER),
    ("translation", "BLEU-4, case-insensitive"),
    ("summary", rouge_name("rouge1")),
    ("summary", rouge_name("rougeL")),
    ("speaker_count", N_A),
    ("Temporal_Relative_QA", STRICT),
)
ROWS = {  # None: not recovered, or not given
    "Whisper": (18.6, 38.5, 11.0, None, None, None, None, None),
    "Kimi-Audio": (54.2, 90.5, 50.1, 15.81, None, None, None, None),
    "Audio Flamingo 3": (137.8, 150.1, 159.5, 0.03, 20.25, 12.97, 21.62, 6.10),
    "Voxtral": (22.8, 84.9, 18.8, 30.20, 41.81, 25.10, 28.50, 23.69),
    "DashengLM": (38.9, 75.9, 31.1, 5.48, 15.22, 10.38, 35.31, 0.48),
    "Qwen2-Audio": (29.8, 70.9, 25.3, 11.39, None, None, None, None),
}
NOTE = (
    "error rates are fractions there; normaliser, tokeniser, average over languages, stemming, number parser and the "
    "prompt of the judge (GPT-4-Turbo) are not published"
)
WNW = "the WnW method's report, on 200 clips of a draw that is not published"
CUT = "hypothesis cut at 1.2x the reference"
PUBLISHED = (
    *(
        Published(system, task, metric, value, TABLES, NOTE)
        for system, values in ROWS.items()
        for (task, metric), value in zip(COLUMNS, values, strict=True)
        if value is not None
    ),
    Published("Speech-XL", "ASR", WER, 11.4, LEADERBOARD, SUBSET),
    Published("Speech-XL", "content_separation", N_A, 72.84, LEADERBOARD, SUBSET),
    Published("Voxtral-Mini-3B-2507", "ASR", f"WER of French, {CUT}, %", 20.42, WNW),
    Published("Voxtral-Mini-3B-2507", "translation", f"BLEU, English to French, {CUT}", 38.48, WNW),
    Published("Voxtral-Mini-3B-2507, 20 % of KV", "ASR", f"WER of French, {CUT}, %", 22.68, WNW),
    Published("Voxtral-Mini-3B-2507, 20 % of KV", "translation", f"BLEU, English to French, {CUT}", 38.21, WNW),
)
