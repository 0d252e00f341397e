"""SSTTokenCTC: which SSTs are asked for which words, what is left out is counted, and SSTs learn from it."""

import numpy as np
import pytest
import torch
from lhotse import SupervisionSegment

from speech_xl.extensions.ctc import SSTTokenCTC
from speech_xl.extensions.ctc.sst_token_ctc import compressed_runs, slots_needed
from speech_xl.model import SSTs
from speech_xl.phases import SemanticAlignment, SSTCompression
from tests.phases.parts import Given, batch, fit, phase, weights

ROW = ("one", 0.7, [("say", "ada")])
TRAINABLE = {"sst.*": 0.5, "extensions.SSTTokenCTC.*": 0.5}


def groups(*parts):
    """Centers and sizes of groups given as (first frame, frames)."""
    first, size = np.array(parts, dtype=np.int64).reshape(-1, 2).T
    return first + (size - 1) // 2, size


def said(one, *utterances):
    """A batch whose only cut has these utterances (start, end, text)."""
    one.cuts[0].supervisions = [
        SupervisionSegment(f"s{i}", one.cuts[0].id, a, b - a, text=text) for i, (a, b, text) in enumerate(utterances)
    ]
    return one


def test_where_all_is_compressed_all_ssts_are_asked_for_all_words():
    spoken = [(0.5, 3.2, "a"), (4.0, 7.9, "b")]
    assert compressed_runs(spoken, *groups((0, 3), (3, 3), (6, 2))) == [([0, 1, 2], ["a", "b"])]


def test_an_utterance_with_an_uncompressed_frame_is_left_out_with_its_ssts():
    # frames 4 to 7 are uncompressed; the second utterance reaches into them, and SST 1 (frames 2 and 3) is its own
    spoken = [(0.0, 2.0, "a"), (2.0, 5.0, "b"), (8.0, 12.0, "c")]
    ssts = groups((0, 2), (2, 2), (8, 2), (10, 2))
    assert compressed_runs(spoken, *ssts) == [([0], ["a"]), ([2, 3], ["c"])]
    # two compressed utterances around an uncompressed pause are two stretches
    assert compressed_runs([(0.0, 4.0, "a"), (8.0, 12.0, "c")], *ssts) == [([0, 1], ["a"]), ([2, 3], ["c"])]


def test_without_ssts_or_words_there_is_nothing_to_read():
    assert compressed_runs([(0.0, 2.0, "a")], *groups()) == []
    assert compressed_runs([], *groups((0, 2))) == []


def test_ctc_needs_a_blank_between_repeats():
    assert [slots_needed(ids) for ids in ([], [1, 2], [1, 1, 2, 2, 2])] == [0, 2, 8]


def trained(folders, tmp_path, extension, utterances, ratios=(4,), steps=1):
    model = phase(
        SSTCompression, folders, TRAINABLE, extensions=[extension], sst=SSTs(), ratios=list(ratios), cache_frames=False
    )
    return model, fit(model, Given([said(batch(tmp_path, ROW), *utterances)] * steps, tmp_path), steps).callback_metrics


def test_gradients_reach_the_ssts_own_projections_and_its_head(folders, tmp_path):
    """A batch whose answers count next to nothing beside it: the SSTs' step is the loss's."""
    moved = {}
    for weight in (0.0, 100.0):
        model, metrics = trained(folders, tmp_path, SSTTokenCTC(weight), [(0.0, 0.68, "ada")])
        moved[weight] = weights(model, "backbone.sst.")
        assert metrics["train/sst_ctc_share"] == 1.0 and metrics["train/sst_ctc"] > 0
    changed = {name for name, value in moved[0.0].items() if not value.equal(moved[100.0][name])}
    assert {n for n in moved[0.0] if "proj.weight" in n} <= changed
    own = {n: p for n, p in model.named_parameters() if n.startswith("extensions.")}
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in own.values()) and len(own) == 4
    state = model.state_dict()
    assert any("SSTTokenCTC" in name for name in state)  # a checkpoint has it, the backbone doesn't
    assert not any("read.weight" in name for name in model.backbone.state_dict())


def test_too_many_words_for_its_slots_are_counted_and_left_out(folders, tmp_path):
    spoken = [(0.0, 0.68, "far too many letters for three SSTs")]
    model, metrics = trained(folders, tmp_path, SSTTokenCTC(1.0, slots=1), spoken)
    assert metrics["train/sst_ctc_share"] == 0.0 and "train/sst_ctc" not in metrics
    assert all(torch.isfinite(p).all() for p in model.parameters())
    _, metrics = trained(folders, tmp_path, SSTTokenCTC(1.0, slots=16), spoken)
    assert metrics["train/sst_ctc_share"] == 1.0 and torch.isfinite(metrics["train/sst_ctc"])


def test_uncompressed_sessions_have_nothing_to_read(folders, tmp_path):
    _, metrics = trained(folders, tmp_path, SSTTokenCTC(), [(0.0, 0.68, "ada")], ratios=[1])
    assert metrics["train/sst_ctc_share"] == 0.0


def test_a_phase_without_ssts_is_refused(folders, tmp_path):
    trainable = {"adapter.*": 0.5, "extensions.SSTTokenCTC.*": 0.5}
    model = phase(SemanticAlignment, folders, trainable, extensions=[SSTTokenCTC()])
    with pytest.raises(ValueError, match="SSTTokenCTC reads SSTs, and this phase has none"):
        fit(model, Given([batch(tmp_path, ROW)], tmp_path), 1)
