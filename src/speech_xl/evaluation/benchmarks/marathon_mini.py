"""marathon_mini: AudioMarathon's strict scorers on sessions of a minute."""

from __future__ import annotations

from speech_xl.evaluation.benchmarks.audiomarathon.closed_sets import strict_closed
from speech_xl.evaluation.benchmarks.audiomarathon.transcripts import strict_transcripts
from speech_xl.evaluation.benchmarks.profile import Benchmark, Profile

CHOSEN = ("SER", "ER", "SAR", "SGR", "digit_count")  # tasks with choices, whose answer is a letter
TASKS = ("ASR", *CHOSEN)

STRICT = Profile(
    "strict",
    "The rules of AudioMarathon's profile strict: a reply must name exactly one choice, any other is wrong; macro F1 "
    "over all classes offered; corpus WER",
    {"ASR": strict_transcripts()} | {task: strict_closed("labels") for task in CHOSEN},
)

BENCHMARK = Benchmark(
    name="marathon_mini",
    title="AudioMarathon mini",
    paper="Made by this suite. Tasks are named as in AudioMarathon (arXiv 2510.07293); figures of the two are not "
    "comparable",
    tasks=TASKS,
    profiles=(STRICT,),
    average={"strict": False},
)
