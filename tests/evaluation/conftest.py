"""Records of generated answers for the evaluation's tests."""

import pytest


@pytest.fixture
def make_record():
    def make(cut_id="s0", ratio=2, **changes):
        record = {
            "id": cut_id,
            "task": "asr",
            "kind": "",
            "ratio": ratio,
            "instruction": "transcribe the speech",
            "reference": "one two three four",
            "hypothesis": "one two tree four",
            "duration": 10.0,
            "kept_kv_tokens": 50,
            "total_kv_tokens": 100,
            "kept_kv_bytes": 2048,
        }
        return record | changes

    return make


@pytest.fixture
def make_question(make_record):
    def make(cut_id="s0", ratio=2, kind="count", right=True, **changes):
        return make_record(
            cut_id,
            ratio,
            task="qa",
            kind=kind,
            reference="Two.",
            hypothesis="two" if right else "three",
            **({"instruction": f"a question of {kind}?"} | changes),
        )

    return make
