"""AudioMarathon (arXiv 2510.07293): ten tasks on audio of one to five minutes, with its published figures."""

from speech_xl.evaluation.benchmarks.audiomarathon.profiles import OFFICIAL, STRICT, TASKS
from speech_xl.evaluation.benchmarks.audiomarathon.published import published_figures
from speech_xl.evaluation.benchmarks.profile import Benchmark

BENCHMARK = Benchmark(
    name="audiomarathon",
    title="AudioMarathon",
    paper="arXiv 2510.07293",
    tasks=TASKS,
    profiles=(OFFICIAL, STRICT),
    published=published_figures(),
    average={"official": True, "strict": True},
)
