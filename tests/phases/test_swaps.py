"""Any encoder with any LLM: a training step with compression, and answers through the pruned memory."""

import pytest

from experiments.random_models import encoder_folder, llm_folder
from speech_xl.model import HFEncoder, Lora, SSTs
from speech_xl.phases import SSTCompression
from tests.phases.parts import Given, batch, fit, phase, weights

ENCODERS = ["whisper", "wav2vec2", "hubert", "wavlm"]
LLMS = ["qwen2", "qwen3", "llama", "smollm3"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("swaps")
    made = {kind: encoder_folder(root / kind, kind) for kind in ENCODERS}
    return made | {kind: llm_folder(root / kind, kind) for kind in LLMS}


@pytest.mark.parametrize("llm", LLMS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_step_and_an_answer(models, tmp_path, encoder, llm):
    folders = {"encoder": models[encoder], "llm": models[llm]}
    window = None if encoder == "whisper" else 0.5
    model = phase(
        SSTCompression,
        folders,
        {"adapter.*": 0.1, "sst.*": 0.1, "llm.*lora_*": 0.1},
        lora=Lora(r=2, alpha=4),
        encoder=HFEncoder(models[encoder], window_seconds=window),
        sst=SSTs("lora", rank=2),
        ratios=[2],
        eval_ratios=[1, 2, 16],
        max_tokens_per_second=1.0,
    )
    # 0.7 s is longer than the window of 0.5 s: two windows, stitched.
    given = batch(tmp_path, ("one", 0.7, [("say", "ada")]), ("two", 0.3, [("who?", "bob"), ("how many?", "two")]))
    data = Given([given], tmp_path)
    fit(model, data, 0)
    before = weights(model)
    fit(model, data)
    changed = {name.split(".")[1] for name, value in weights(model).items() if not value.equal(before[name])}
    assert changed == {"adapter", "sst", "llm"}
    model.eval()
    records = model.predict(given)
    assert [(r.ratio, r.cut_id) for r in records] == [(n, i) for n in (1, 2, 16) for i in ("one", "two", "two")]
    # 9 and 4 speech frames in intervals of 3: all of them, an SST for two, an SST for an interval.
    kept = [r.kept_kv_tokens for r in records]
    assert kept == [9, 4, 4, 6, 3, 3, 3, 2, 2]
    assert all(isinstance(r.hypothesis, str) and r.total_kv_tokens in (9, 4) for r in records)
