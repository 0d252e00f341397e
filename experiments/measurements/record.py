"""Machine-readable results: docs/results/<name>.json, one file a measuring command, always with the same keys.

record("default", summary={"wer_1x": 0.031}, command="python experiments/run.py test -c stage3.yaml",
       data="embedded, split test", items=200)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speech_xl.evaluation.record import KEYS, check, commit_of_tree, machine, write_record

__all__ = ["DOCS", "KEYS", "RESULTS", "ROOT", "check", "commit_of_tree", "machine", "publish", "record"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RESULTS = DOCS / "results"


def record(name: str, *given: Any, folder: str | Path = RESULTS, **fields: Any) -> Path:
    """`write_record` into docs/results."""
    return write_record(name, *given, folder=folder, **fields)


def publish(script: str, summary: Mapping[str, float | int], **fields: Any) -> None:
    """Record and print what the benchmark `script` (its ``__file__``) found; `fields` as in `record`."""
    path = Path(script).resolve()
    command = " ".join(["python", str(path.relative_to(ROOT)), *sys.argv[1:]])
    written = record(path.stem, summary, command, **fields)
    print(json.dumps(dict(summary), indent=2), f"written: {written}", sep="\n")


def out_option(parser: argparse.ArgumentParser) -> None:
    """``--out``, where a benchmark writes: the project's own docs unless told otherwise."""
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of results and pictures (docs)")


def results_and_pictures(out: Path) -> tuple[Path, Path]:
    """Their folders in `out`, made where they aren't there."""
    both = out / "results", out / "pictures"
    for folder in both:
        folder.mkdir(parents=True, exist_ok=True)
    return both
