"""Every kind of encoder, LLM, number format and SST that is tested elsewhere can be given away, bit by bit."""

import json

import pytest
import yaml

from experiments.random_models import DECODERS, ENCODERS
from experiments.random_stages import run_folder
from speech_xl import SpeechXL
from speech_xl.hub.export import export
from speech_xl.model.sst import FORMS
from speech_xl.run.run_folder import CONFIG
from tests.hub.giving import answers, logits

CASES = [
    *({"encoder": kind} for kind in ENCODERS if kind != "whisper"),
    *({"llm": kind} for kind in DECODERS if kind != "phi3"),  # which has no projections for SSTs
    {"dtype": "bfloat16"},
    {"dtype": "bfloat16", "lora": True},
    {"sst": {"projections": "lora", "rank": 3, "positions": "compact"}},
    {"compresses": False},
]


def test_ssts_that_are_named_by_their_form_are_given_away_spelled_out(tmp_path):
    run = run_folder(tmp_path / "place")
    config = yaml.safe_load((run / CONFIG).read_text())
    config["model"]["init_args"]["sst"] = "paper"
    (run / CONFIG).write_text(yaml.safe_dump(config))
    export(run, tmp_path / "model")
    written = json.loads((tmp_path / "model" / "config.json").read_text())
    assert written["sst"] == {"class_path": "speech_xl.model.SSTs", "init_args": FORMS["paper"]}
    own, given = SpeechXL.from_stage(run), SpeechXL.from_pretrained(tmp_path / "model")
    assert logits(given, 2).equal(logits(own, 2)) and answers(given, 2) == answers(own, 2)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("form", ["whole", "apart"])
def test_whole_and_apart_are_the_stage_itself(case, form, tmp_path):
    run = run_folder(tmp_path / "place", **case)
    names = {"encoder": "tiny/encoder"} | ({"llm": "tiny/llm"} if case.get("lora") else {})
    export(run, tmp_path / "model", apart=form == "apart", names=names)
    bases = {role: str(tmp_path / "place" / role) for role in names} if form == "apart" else {}
    own, given = SpeechXL.from_stage(run), SpeechXL.from_pretrained(tmp_path / "model", **bases)
    state = given.state_dict()
    for name, value in own.state_dict().items():
        assert state[name].equal(value) and state[name].dtype == value.dtype, name
    ratio = 2 if case.get("compresses", True) else 1
    assert logits(given, ratio).equal(logits(own, ratio)) and answers(given, ratio) == answers(own, ratio)
