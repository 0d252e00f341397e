"""LongSpeech predictions as the evaluator writes them, for the tests of its scorers."""

import math

from speech_xl.data.items import Item
from speech_xl.evaluation.benchmarks.profile import Score
from speech_xl.evaluation.benchmarks.registry import find_benchmark
from speech_xl.evaluation.prediction import Prediction

LONGSPEECH = find_benchmark("longspeech")


def answer(task: str, reference: str, hypothesis: str, language: str | None = "en", number: int = 0, **changes):
    """An answer about session `number`, which asks one item."""
    item = Item(
        benchmark="longspeech",
        id=f"{task}/LongSpeech_p1/wavs/part_00/{number:06d}.wav",
        task=task,
        prompt=f"Do the task {task}.",
        answer=reference,
        language=language,
        max_tokens=256,
    )
    fields = {
        "cut_id": f"LongSpeech_p1/wavs/part_00/{number:06d}",
        "task": "qa",
        "kind": task,
        "ratio": 8,
        "instruction": str(item.prompt),
        "reference": reference,
        "hypothesis": hypothesis,
        "language": language,
        "item": item.to_json(),
    }
    return Prediction(**(fields | changes))


def answers(task: str, *rows: tuple) -> list[Prediction]:
    """One answer for each (reference, hypothesis) or (reference, hypothesis, language), each about its own session."""
    return [answer(task, *row, number=number) for number, row in enumerate(rows)]


def scores(profile: str, predictions: list[Prediction], judgements=None) -> dict[str, Score]:
    """Metric -> its score, of answers to one task."""
    task = predictions[0].kind
    found = LONGSPEECH.profile(profile).tasks[task].score(predictions, judgements or {})
    assert len({one.metric for one in found}) == len(found)
    assert all(one.note for one in found), "every figure says how it was made"
    return {one.metric: one for one in found}


def same(value: float, expected: float | None) -> bool:
    """Whether they are equal; None stands for NaN."""
    return math.isnan(value) if expected is None else math.isclose(value, expected, abs_tol=1e-9)
