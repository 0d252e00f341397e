"""Every benchmark by name. A new one is a module with a `BENCHMARK` and one line here."""

from __future__ import annotations

from importlib import import_module

from speech_xl.evaluation.benchmarks.profile import Benchmark

MODULES = {  # `Item.benchmark` -> module below this package that holds its BENCHMARK
    "audiomarathon": "audiomarathon",
    "longspeech": "longspeech",
}


def find_benchmark(name: str) -> Benchmark:
    """Raises ValueError, which lists all, where there is none of that name."""
    if name not in MODULES:
        raise ValueError(f"benchmark {name!r}: there is none of this name; there are {', '.join(sorted(MODULES))}")
    return import_module(f"speech_xl.evaluation.benchmarks.{MODULES[name]}").BENCHMARK
