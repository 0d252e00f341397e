"""A prediction as the evaluator makes it, for the tests of whatever reads predictions."""

from speech_xl.evaluation.prediction import UNKNOWN_STEP, Prediction


def make_prediction(cut_id: str = "s0", ratio: int = 2, **changes) -> Prediction:
    fields = {
        "task": "asr",
        "instruction": "transcribe the speech",
        "reference": "one two three four",
        "hypothesis": "one two tree four",
        "timestamps": UNKNOWN_STEP,
        "kept_kv_tokens": 50,
        "total_kv_tokens": 100,
    }
    return Prediction(cut_id=cut_id, ratio=ratio, **(fields | changes))
