"""AudioMarathon's two profiles: as its Qwen2.5-Omni scripts score it, and strictly."""

from __future__ import annotations

from speech_xl.evaluation.benchmarks.audiomarathon import official_parsers as parsers
from speech_xl.evaluation.benchmarks.audiomarathon.closed_sets import official_closed, strict_closed
from speech_xl.evaluation.benchmarks.audiomarathon.replies import fixed_choices
from speech_xl.evaluation.benchmarks.audiomarathon.scenes import with_scene_check
from speech_xl.evaluation.benchmarks.audiomarathon.transcripts import official_transcripts, strict_transcripts
from speech_xl.evaluation.benchmarks.profile import Profile

TASKS = ("SER", "SCR", "ASR", "SED", "MC", "ASC", "SD", "ER", "SAR", "SGR")
LETTERS = tuple(parsers.LETTERS)
AUTHENTICITY = {"a": "real", "b": "fake"}  # as the prompt of SD has them
GENDERS = {"a": "male", "b": "female"}  # as the prompt of SGR has them, whatever the order in a row

OFFICIAL = Profile(
    "official",
    "The AudioMarathon repository's Qwen2.5-Omni scripts (commit c8f49f3), parser by parser, with their oddities. The "
    "published leaderboard mixes weighted F1, macro F1 and accuracy from other models' own scripts.",
    {
        "SER": official_closed(parsers.parse_ser, LETTERS, note="SLUE script; an empty reply is A"),
        "SCR": official_closed(
            parsers.parse_scr, LETTERS, fixed=True, drops_failures=True, note="RACE script; first A-D in any word"
        ),
        "ASR": official_transcripts(),
        "SED": official_closed(parsers.parse_sed, LETTERS, note="DESED script; the article a is A"),
        "MC": official_closed(parsers.parse_mc, LETTERS, fixed=True, note="GTZAN script; first A-D in any word"),
        "ASC": with_scene_check(official_closed(parsers.parse_asc, "true", note="TAU script")),
        "SD": official_closed(parsers.parse_sd, ("fake", "real"), note="HAD script; the article a is real"),
        "ER": official_closed(parsers.parse_er, "true", note="VESUS script; choices' names aren't read"),
        "SAR": official_closed(parsers.parse_sar, "true", fixed=True, note="VoxCeleb age script; the article a is (a)"),
        "SGR": official_closed(
            parsers.parse_sgr, ("female", "male"), "weighted", lower=True, note="VoxCeleb gender script"
        ),
    },
)

LETTERED = strict_closed("labels")
STRICT = Profile(
    "strict",
    "A clean reading of the same answers: a reply must name exactly one choice by its letter or its text, not behind "
    "a negation, any other is wrong; macro F1 over all classes offered, in SGR too; corpus WER; failed answers count "
    "as wrong.",
    {
        "SER": LETTERED,
        "SCR": LETTERED,
        "ASR": strict_transcripts(),
        "SED": LETTERED,
        "MC": LETTERED,
        "ASC": with_scene_check(LETTERED),
        "SD": strict_closed("texts", fixed_choices(AUTHENTICITY), "a and b as in the prompt"),
        "ER": LETTERED,
        "SAR": strict_closed("texts"),
        "SGR": strict_closed("texts", fixed_choices(GENDERS), "a and b as in the prompt, whatever the row's order"),
    },
)
