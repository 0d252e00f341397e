"""Records of generated answers for the evaluation's tests."""

import pytest

from tests.predictions import make_prediction


@pytest.fixture
def make_record():
    def make(cut_id="s0", ratio=2, **changes):
        return make_prediction(cut_id, ratio, **({"duration": 10.0, "kept_kv_bytes": 2048} | changes))

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
