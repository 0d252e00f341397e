"""TAU's scenes in AudioMarathon: rows whose scene label isn't the scene that their file is named after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from speech_xl.evaluation.benchmarks.profile import Judgements, Score, TaskScorer
from speech_xl.evaluation.prediction import Prediction

SCENES = (
    *("airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall"),
    *("street_pedestrian", "street_traffic", "tram"),
)


def is_mislabelled(prediction: Prediction) -> bool:
    """Whether the row's scene_label is another scene than the one that its file name begins with, such as metro of
    metro_station-oslo-3.wav. False where the item's `about` doesn't say both."""
    about = (prediction.item or {}).get("about") or {}
    label, path = about.get("scene_label"), about.get("path")
    if not label or not path:
        return False
    name = PurePosixPath(str(path)).name.lower()
    named = [scene for scene in SCENES if name.startswith(scene)]
    return bool(named) and max(named, key=len) != str(label).lower()


def with_scene_check(scorer: TaskScorer) -> TaskScorer:
    """The same scorer, whose notes also say how many rows `is_mislabelled`; they are scored as published."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        wrong = sum(is_mislabelled(one) for one in predictions)
        about = f"; {wrong} rows have another scene_label than their file's name, and are scored as published"
        scores = scorer.score(predictions, judgements)
        return [replace(one, note=one.note + about) for one in scores] if wrong else scores

    return replace(scorer, score=score)
