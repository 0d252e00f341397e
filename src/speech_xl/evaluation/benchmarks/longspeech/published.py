"""LongSpeech's published figures. Error rates are published as fractions and stand here in percent."""

from __future__ import annotations

from speech_xl.evaluation.benchmarks.longspeech.asr import CJK_CER, NON_CJK_WER, OVERALL_CER, WER
from speech_xl.evaluation.benchmarks.longspeech.counting import N_A
from speech_xl.evaluation.benchmarks.profile import Published

TABLES = "LongSpeech paper (arXiv 2601.13539), Tables 3-4, as a third party quotes them"
LEADERBOARD = "wizwand leaderboard, second hand"
COLUMNS = (
    ("ASR", NON_CJK_WER),
    ("ASR", CJK_CER),
    ("ASR", OVERALL_CER),
    ("translation", "BLEU"),
    ("summary", "ROUGE-1 F1, %"),
    ("summary", "ROUGE-L F1, %"),
    ("speaker_count", N_A),
    ("Temporal_Relative_QA", "Strict, %"),
)
ROWS = {  # None: not recovered, or not given
    "Whisper": (18.6, 38.5, 11.0, None, None, None, None, None),
    "Kimi-Audio": (54.2, 90.5, 50.1, 15.81, None, None, None, None),
    "Audio Flamingo 3": (137.8, 150.1, 159.5, 0.03, 20.25, 12.97, 21.62, 6.10),
    "Voxtral": (22.8, 84.9, 18.8, 30.20, 41.81, 25.10, 28.50, 23.69),
    "DashengLM": (38.9, 75.9, 31.1, 5.48, 15.22, 10.38, 35.31, 0.48),
    "Qwen2-Audio": (29.8, 70.9, 25.3, 11.39, None, None, None, None),
}
NOTES = {
    "ASR": "published as a fraction; its normaliser is not published",
    "translation": "published as BLEU-4, case-insensitive; tokeniser and average over languages are not published",
    "summary": "whether words were stemmed is not published",
    "speaker_count": "its parser is not published",
    "Temporal_Relative_QA": "judged by GPT-4-Turbo with a prompt that is not published",
}
PUBLISHED = (
    *(
        Published(system, task, metric, value, TABLES, NOTES[task])
        for system, values in ROWS.items()
        for (task, metric), value in zip(COLUMNS, values, strict=True)
        if value is not None
    ),
    Published("Speech-XL", "ASR", WER, 11.4, LEADERBOARD, "which rows it is of is not known"),
    Published("Speech-XL", "content_separation", N_A, 72.84, LEADERBOARD, "read beside the majority class"),
    Published(
        "Voxtral-Mini-3B-2507, full audio",
        "ASR",
        "WER of French, hypothesis cut at 1.2x the reference, %",
        20.42,
        "WnW's report on 200 clips",
        "its draw of clips is not published",
    ),
    Published(
        "Voxtral-Mini-3B-2507, 20 % of the audio's KV",
        "ASR",
        "WER of French, hypothesis cut at 1.2x the reference, %",
        22.68,
        "WnW's report on 200 clips",
        "its draw of clips is not published",
    ),
    Published(
        "Voxtral-Mini-3B-2507, full audio",
        "translation",
        "BLEU, English to French, hypothesis cut at 1.2x the reference",
        38.48,
        "WnW's report on 200 clips",
        "sacreBLEU; its draw of clips is not published",
    ),
    Published(
        "Voxtral-Mini-3B-2507, 20 % of the audio's KV",
        "translation",
        "BLEU, English to French, hypothesis cut at 1.2x the reference",
        38.21,
        "WnW's report on 200 clips",
        "sacreBLEU; its draw of clips is not published",
    ),
)
