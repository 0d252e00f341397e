"""Every benchmark by name. A new one is a module with a `BENCHMARK` (or `BENCHMARKS` by name) and one line here."""

from __future__ import annotations

from importlib import import_module

from speech_xl.evaluation.benchmarks.profile import Benchmark

MODULES = {  # `Item.benchmark` -> module below this package that holds its BENCHMARK
    "audiomarathon": "audiomarathon",
    "longspeech": "longspeech",
    "longspeech_mini": "longspeech_mini",
    "marathon_mini": "marathon_mini",
    "own": "own",
    **dict.fromkeys(("librispeech_long", "earnings22_cleaned", "tedlium3", "ami"), "transcription"),
    **dict.fromkeys(("earnings21", "earnings22", "voxpopuli"), "transcription"),
}


def find_benchmark(name: str) -> Benchmark:
    """Raises ValueError, which lists all, where there is none of that name."""
    if name not in MODULES:
        raise ValueError(f"benchmark {name!r}: there is none of this name; there are {', '.join(sorted(MODULES))}")
    module = import_module(f"speech_xl.evaluation.benchmarks.{MODULES[name]}")
    return module.BENCHMARKS[name] if hasattr(module, "BENCHMARKS") else module.BENCHMARK
