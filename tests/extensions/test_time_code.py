"""TimeCode: every frame's code is its own, neighbours' are alike, it takes an eighth of a frame, and SSTs have it."""

from dataclasses import replace

import pytest
import torch

from experiments.random_models import WIDTH, encoder_folder, listener, llm_folder, speech
from speech_xl.evaluation.compressors import MeanPooled, SimilarFrames
from speech_xl.extensions.ctc import PosteriorAdapter
from speech_xl.extensions.time_code import TimeCode, time_code, with_time_code
from speech_xl.model import LLM, AcousticAdapter, DualAdapter, FrameCode, HFEncoder, SemanticAdapter, SpeechLLM
from speech_xl.model.layout import LayoutBatch
from speech_xl.model.positions import Kind
from speech_xl.model.speech import Speech

ADAPTERS = {
    "semantic": lambda: SemanticAdapter(stride=2),
    "posterior": lambda: PosteriorAdapter(stride=2),
    "dual": lambda: DualAdapter(SemanticAdapter(stride=2), AcousticAdapter([0], stride=2, segment=4, width=16)),
}


def test_codes_tell_frames_apart_and_neighbours_are_alike():
    codes = time_code(4000, 64)
    assert codes.shape == (4000, 8)
    torch.testing.assert_close(codes.square().mean(1), torch.ones(4000))
    alike = codes @ codes[1000] / 8
    assert alike.argmax() == 1000
    assert alike[1001] > 0.9 > alike[1004] and alike[1001] > alike[1002] > alike[1100]
    torch.testing.assert_close(time_code(10, 64), codes[:10])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    return {"encoder": encoder_folder(root / "encoder"), "llm": llm_folder(root / "llm")}


def backbone(folders, adapter, code):
    torch.manual_seed(5)
    model = SpeechLLM(HFEncoder(folders["encoder"]), ADAPTERS[adapter](), LLM(folders["llm"]), frame_code=code)
    model.build()
    if adapter == "dual":
        torch.nn.init.ones_(model.adapter.acoustic.norm.weight)
    return model.eval()


@pytest.mark.parametrize("adapter", ADAPTERS)
@torch.no_grad()
def test_the_last_eighth_of_every_frame_is_the_code_whatever_the_adapter(folders, adapter):
    models = [backbone(folders, adapter, code) for code in (None, TimeCode(0.5))]
    encoded = [torch.randn(len(models[0].adapter.layers), frames, 16) for frames in (9, 5)]
    plain, coded = (model.adapt(encoded).frames for model in models)
    assert coded[..., :28].equal(plain[..., :28])
    size = models[1].llm.embedding.weight.square().mean().sqrt()
    torch.testing.assert_close(coded[..., 28:], (0.5 * size * time_code(5, 32)).expand(2, -1, -1))
    assert not plain[..., 28:].equal(coded[..., 28:])


@torch.no_grad()
def test_rows_may_begin_at_frames_of_their_own(folders):
    model = backbone(folders, "semantic", TimeCode())
    encoded = [torch.randn(1, 40, 16) for _ in range(2)]
    both = model.adapt(encoded, torch.tensor([3, 700])).frames
    for row, first in enumerate((3, 700)):
        alone = model.adapt(encoded[row : row + 1], first).frames
        torch.testing.assert_close(both[row], alone[0])
        assert not torch.equal(alone, model.adapt(encoded[row : row + 1]).frames)


def test_an_llm_too_narrow_for_it_is_named():
    with pytest.raises(ValueError, match=r"model\.frame_code: TimeCode takes an LLM whose width is a multiple of 16"):
        TimeCode().build(40, scale=0.02)


@pytest.mark.parametrize("ssts", [True, False])
@torch.no_grad()
def test_an_sst_has_the_time_of_the_frame_at_the_center_of_its_own(tmp_path, ssts):
    model = listener(llm_folder(tmp_path), frame_code=TimeCode(ssts=ssts))
    heard = speech([5, 3])
    layout = LayoutBatch.collate(model.layouts(heard, [[2, 4]], [0]))
    rows = model.embed(layout, heard, torch.zeros(1, 0, dtype=torch.long))[0, layout.kind[0] == Kind.SST]
    assert rows[:, : WIDTH - 4].equal(model.sst.embedding[: WIDTH - 4].expand(4, -1))
    times = heard.frames[0, [0, 2, 4, 6], -4:] if ssts else model.sst.embedding[-4:].expand(4, -1)
    assert rows[:, -4:].equal(times)


@pytest.mark.parametrize("compressor", [MeanPooled(), MeanPooled(trained=True)], ids=lambda one: one.name)
@pytest.mark.parametrize("ratio", [2, 4, 16])
@torch.no_grad()
def test_a_pooled_frame_has_the_time_that_an_sst_of_the_same_frames_has(tmp_path, compressor, ratio):
    model = listener(llm_folder(tmp_path), frame_code=TimeCode())
    heard = speech([5, 3], [7, 6])  # with remainders of every ratio
    heard = replace(heard, frames=with_time_code(heard.frames, time_code(13, WIDTH)))
    layout = LayoutBatch.collate(model.layouts(heard, heard.throughout(ratio), [0, 0]))
    ssts = model.embed(layout, heard, torch.zeros(2, 0, dtype=torch.long))[layout.kind == Kind.SST]
    pooled = compressor.shortened(model, heard, heard.throughout(ratio))
    means = torch.cat([row[:n] for row, n in zip(pooled.frames, pooled.lengths.tolist(), strict=True)])
    assert means[:, -4:].equal(ssts[:, -4:])
    model.frame_code = FrameCode()  # without a code a mean is a mean
    plain = compressor.shortened(model, heard, heard.throughout(ratio)).frames
    first = heard.frames[0, : min(ratio, 5)].mean(0)
    torch.testing.assert_close(plain[0, 0], first)
    assert plain[..., : WIDTH - 4].equal(pooled.frames[..., : WIDTH - 4]) and not plain.equal(pooled.frames)


@torch.no_grad()
def test_merged_frames_have_the_time_of_the_one_at_their_center(tmp_path):
    model = listener(llm_folder(tmp_path), frame_code=TimeCode())
    a, b = torch.eye(WIDTH)[:2]
    plain = torch.stack([a, a, 1.1 * a, b, b, -a, b])
    codes = 1e-3 * time_code(7, WIDTH)  # too little to say what is alike
    heard = Speech(with_time_code(plain, codes)[None], torch.tensor([7]), [[7]])
    merged = SimilarFrames().shortened(model, heard, [[2]]).frames[0]
    torch.testing.assert_close(merged[:, : WIDTH - 4], torch.stack([3.1 / 3 * a, b, -a, b])[:, : WIDTH - 4])
    assert merged[:, -4:].equal(codes[[1, 3, 5, 6]])


def test_a_model_with_another_code_is_another_model(folders):
    names = {backbone(folders, "semantic", code).identity() for code in (None, TimeCode(), TimeCode(1.0))}
    assert len(names) == 3
