"""Answers to items of any benchmark, as the evaluator writes them."""

from speech_xl.data.items import Item
from speech_xl.evaluation.prediction import Prediction


def answer(benchmark: str, task: str, reference: str, hypothesis: str, number: int = 0, **changes) -> Prediction:
    """An answer about session `number`. changes: of the item (prompt, choices, language, about) or the prediction."""
    own = {key: changes.pop(key) for key in ("prompt", "choices", "language", "about") if key in changes}
    fields = {"prompt": None, "language": "en", "max_tokens": 64} | own
    item = Item(benchmark=benchmark, id=f"{task}/{number}", task=task, answer=reference, **fields)
    prediction = {
        "cut_id": f"session{number}",
        "task": "asr" if item.prompt is None else "qa",
        "kind": task,
        "ratio": 8,
        "instruction": item.prompt or "transcribe the speech",
        "reference": reference,
        "hypothesis": hypothesis,
        "language": item.language,
        "duration": 60.0,
        "split": "test",
        "compressor": "sst",
        "item": item.to_json(),
    }
    return Prediction(**(prediction | changes))
