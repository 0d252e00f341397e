"""Test results in a run's folder, as the command `test` wrote them there: for the model card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METRICS = {"wer": "WER", "cer": "CER", "qa": "accuracy of answers"}  # key of a rate -> its name in a table
KIBIBYTE = 1024


@dataclass(frozen=True)
class Results:
    """One file of scores.

    file    its name
    corpus  that was asked about
    split   of the corpus
    scores  as `speech_xl.evaluation.report.score` makes them
    """

    file: str
    corpus: str
    split: str
    scores: dict[str, Any]

    @property
    def ratios(self) -> list[str]:
        return list(self.scores["ratios"])

    @property
    def items(self) -> int:
        return self.scores["items"]

    @property
    def sessions(self) -> int:
        return self.scores["sessions"]

    def rates(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(ratio, metric, rate) of what a card shows."""
        for ratio, found in self.scores["ratios"].items():
            for metric in METRICS:
                if metric in found["rates"]:
                    yield ratio, metric, found["rates"][metric]

    def kept(self, ratio: str) -> str:
        """Bytes of keys and values that stay of a second of audio."""
        size = self.scores["ratios"][ratio]["memory"]["kept_kv_bytes_per_audio_second"]
        return "-" if size is None else f"{size / KIBIBYTE:.1f} KiB"


def found_results(folder: Path, corpus: str, compressor: str) -> list[Results]:
    """The results of a run's folder by one way to compress; a file that holds no such scores is left alone."""
    found = []
    for path in sorted(folder.glob("results*.json")):
        try:
            scores = json.loads(path.read_text(encoding="utf-8"))
            made = scores.get("made_with") or {}
            if made.get("compressor", compressor) != compressor:
                continue
            one = Results(path.name, corpus, str(made.get("split", "unknown")), scores)
            list(one.rates())
            [one.kept(ratio) for ratio in one.ratios]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        found.append(one)
    return found
