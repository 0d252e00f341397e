"""The clock: every frame's code is its own, neighbours' are alike, and it takes an eighth of a frame."""

import pytest
import torch

from speech_xl.extensions.time_code import clock
from speech_xl.model import AcousticAdapter, DualAdapter, PosteriorAdapter, SemanticAdapter
from speech_xl.model.layout import Kind, LayoutBatch
from tests.model.tiny import WIDTH, listener, llm_folder, speech


def test_codes_tell_frames_apart_and_neighbours_are_alike():
    codes = clock(4000, 64)
    assert codes.shape == (4000, 8)
    torch.testing.assert_close(codes.square().mean(1), torch.ones(4000))
    alike = codes @ codes[1000] / 8
    assert alike.argmax() == 1000
    assert alike[1001] > 0.9 > alike[1004] and alike[1001] > alike[1002] > alike[1100]
    torch.testing.assert_close(clock(10, 64), codes[:10])


@pytest.mark.parametrize("kind", [SemanticAdapter, PosteriorAdapter])
@pytest.mark.parametrize("loud", [0.0, 0.5])
def test_an_adapter_keeps_dimensions_for_it_as_loud_as_asked(kind, loud):
    torch.manual_seed(0)
    frames, lengths, embeddings = torch.randn(2, 1, 9, 16), torch.tensor([9, 5]), torch.randn(6, 32)
    adapters = [kind(stride=2, clock=own) for own in (0.0, loud)]
    for adapter in adapters:
        adapter.build(16, 32, scale=0.02)
    adapters[1].load_state_dict(adapters[0].state_dict(), strict=False)  # all but how loud it is
    plain, clocked = (adapter(frames, lengths, embeddings).frames for adapter in adapters)
    torch.testing.assert_close(clocked[..., :28], plain[..., :28])
    last = (loud * 0.02 * clock(5, 32)).expand(2, -1, -1) if loud else plain[..., 28:]
    torch.testing.assert_close(clocked[..., 28:], last)


def test_an_llm_too_narrow_for_it_is_named():
    with pytest.raises(ValueError, match="adapter.clock=0.5: takes an LLM whose width is a multiple of 16"):
        SemanticAdapter(clock=0.5).build(16, 40, scale=0.02)


def test_a_negative_loudness_is_refused():
    with pytest.raises(ValueError, match="adapter.clock: got -1; give a number from 0 upwards"):
        SemanticAdapter(clock=-1)


def test_a_voice_that_is_added_leaves_the_clock_alone():
    torch.manual_seed(0)
    adapter = DualAdapter(SemanticAdapter(stride=2, clock=0.5), AcousticAdapter([0], stride=2, segment=4, width=16))
    adapter.build(16, 32, scale=0.02)
    torch.nn.init.ones_(adapter.acoustic.norm.weight)
    frames = adapter(torch.randn(1, 2, 9, 16), torch.tensor([9]), torch.randn(6, 32)).frames
    torch.testing.assert_close(frames[0, :, 28:], 0.5 * 0.02 * clock(5, 32))
    assert adapter.clocked == 4 and frames[0, :, :28].std() > 0.5


@pytest.mark.parametrize("says", [True, False])
@torch.no_grad()
def test_an_sst_has_the_time_of_the_frame_amid_its_own(tmp_path, says):
    model = listener(llm_folder(tmp_path), clocked=4)
    model.sst.clock = says
    heard = speech([5, 3])
    layout = LayoutBatch.collate(model.layouts(heard, [[2, 4]], [0]))
    rows = model.embed(layout, heard, torch.zeros(1, 0, dtype=torch.long))[0, layout.kind[0] == Kind.SST]
    assert rows[:, : WIDTH - 4].equal(model.sst.embedding[: WIDTH - 4].expand(4, -1))
    times = heard.frames[0, [0, 2, 4, 6], -4:] if says else model.sst.embedding[-4:].expand(4, -1)
    assert rows[:, -4:].equal(times)
