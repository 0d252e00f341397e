"""Mean pooling in phase 3's place: it trains on the means it will hear, and keeps as much as SSTs would."""

from functools import partial

import pytest
import torch

from speech_xl.extensions.time_code import TimeCode
from speech_xl.model.pooling import even_sizes, group_means, shorten
from speech_xl.phases import MeanPooling
from tests.phases.parts import Given, batch, fit, phase

ROW = ("row", 0.7, [("say", "a")])


def pooled_by_hand(frames, ratio, code):
    return group_means(frames, even_sizes(len(frames), ratio), code)


@pytest.mark.parametrize("code", [None, TimeCode()], ids=["plain", "time code"])
def test_it_trains_on_means_of_its_ratio_and_hears_the_same(folders, tmp_path, code):
    model = phase(MeanPooling, folders, {"adapter.*": 0.5}, ratios=[4], cache_frames=False, frame_code=code)
    one = batch(tmp_path, ROW)
    fit(model, Given([one], tmp_path), 0)
    with torch.no_grad():
        speech = model.speech(one)
        pooled, ratios = model.compressed(one, speech)
        means = partial(pooled_by_hand, code=model.backbone.frame_code)
        by_hand = shorten(speech, [[4] * len(speech.intervals[0])], means)
        assert pooled.frames.equal(by_hand.frames) and pooled.frames.shape[1] < speech.frames.shape[1]
        assert ratios == [[None] * len(pooled.intervals[0])]
        assert pooled.intervals[0] == [-(-n // 4) for n in speech.intervals[0]]
        heard, alone = model.compressor.prefill(model.backbone, speech, 4), model.backbone.prefill(by_hand, ratios)
        assert int(heard.kept) == len(model.backbone.llm.prompt.prefix) + sum(pooled.intervals[0])
        assert heard.cache.layers[0].keys.equal(alone.cache.layers[0].keys)


def test_a_step_of_it_moves_the_adapter(folders, tmp_path):
    model = phase(MeanPooling, folders, {"adapter.*": 0.5}, ratios=[2, 4], cache_frames=False)
    fit(model, Given([batch(tmp_path, ROW)], tmp_path), 0)
    before = [p.detach().clone() for p in model.backbone.adapter.parameters()]
    fit(model, Given([batch(tmp_path, ROW)], tmp_path), 1)
    step = model.observations.step
    assert step.total_kv_tokens == 9 > step.kept_kv_tokens  # 0.7 s at 12.5 Hz, before any were averaged
    assert any(not old.equal(new) for old, new in zip(before, model.backbone.adapter.parameters(), strict=True))
