"""A record of one generated answer, as the validation loop keeps it, for the tests of whatever reads records."""


def answer_record(cut_id: str, ratio: int, **changes):
    record = {
        "id": cut_id,
        "task": "asr",
        "kind": "",
        "ratio": ratio,
        "instruction": "transcribe the speech",
        "reference": "one two three four",
        "hypothesis": "one two tree four",
        "kept_kv_tokens": 50,
        "total_kv_tokens": 100,
    }
    return record | changes
