"""Bad inputs: 206 to `fit` (audio, manifests, configs) and 39 to `listen`, each run in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.drills import bad_audio, bad_configs, bad_listening, bad_manifests
from experiments.drills.cases import DEFINED, run_case
from experiments.drills.rows import Drill, Row
from experiments.drills.trial import make_models

FIT = [*bad_audio.CASES, *bad_manifests.CASES, *bad_configs.CASES]
LISTEN = bad_listening.CASES


def names() -> list[str]:
    return [case.name for case in (*FIT, *LISTEN)]


def run(place: Path, cases: Sequence[str]) -> Iterator[Row]:
    models = make_models(place / "models")
    for case in FIT:
        if case.name in cases:
            yield run_case(case, place, models)
    listening = [case for case in LISTEN if case.name in cases]
    if listening:
        yield from bad_listening.run_listening(listening, place, models)


def summary(rows: Sequence[Row]) -> dict[str, int]:
    """bad_inputs_defined: refused with a message, handled, warned of, or run where either may be."""
    return {
        "bad_inputs": len(rows),
        "bad_inputs_defined": sum(row.outcome in DEFINED for row in rows),
        "bad_inputs_as_wanted": sum(row.ok for row in rows),
    }


DRILL = Drill("bad_inputs", "audio, manifests, configs and what listen is given", 12, names, run, summary)
