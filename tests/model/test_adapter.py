"""Adapters: rates, rows that don't feel their padding, and gradients everywhere."""

import pytest
import torch

from speech_xl.extensions.ctc import PosteriorAdapter
from speech_xl.extensions.voice_adapter import VoiceAdapter
from speech_xl.model import AcousticAdapter, DualAdapter, SemanticAdapter
from speech_xl.model.adapters.adapter import STRETCH

ENCODER, LLM, SCALE, TOKENS = 12, 20, 0.05, 30
KINDS = ["semantic", "acoustic", "dual", "posterior", "dual posterior", "voice", "dual voice"]
EMBEDDINGS = SCALE * torch.randn(TOKENS, LLM, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def make(kind, stride=4, silent=False):
    """An adapter in float64; a dual one with its acoustic part audible, unless `silent` (as it begins)."""
    torch.manual_seed(0)
    words = (PosteriorAdapter if "posterior" in kind else SemanticAdapter)(stride=stride)
    acoustic = AcousticAdapter(layers=[0, 2], stride=stride, segment=4 * stride, width=16, heads=2)
    if "voice" in kind:
        acoustic = VoiceAdapter(layers=[0, 2], stride=stride)
    adapter = acoustic if kind in ("acoustic", "voice") else DualAdapter(words, acoustic) if "dual" in kind else words
    adapter.build(ENCODER, LLM, SCALE)
    if "dual" in kind and not silent:
        torch.nn.init.constant_(adapter.acoustic.norm.weight, SCALE)
    return adapter.double()


def frames(adapter, *lengths, seed=1):
    """Random encoder frames [B, L, F, D], noise beyond each row's length, and the lengths."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), len(adapter.layers), max(lengths), ENCODER)
    return torch.randn(shape, generator=generator, dtype=torch.float64), torch.tensor(lengths)


@pytest.mark.parametrize("stride", [1, 2, 4, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_stride_frames_become_one_and_a_remainder_too(kind, stride):
    adapter = make(kind, stride)
    for length in (1, 2, stride, stride + 1, 4 * stride, 4 * stride + 1, 37):
        out, lengths = adapter(*frames(adapter, length), EMBEDDINGS)[:2]
        assert lengths.tolist() == [-(-length // stride)]
        assert out.shape == (1, int(lengths[0]), LLM)
        assert out.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_ragged_padded_batch_equals_its_rows_alone(kind):
    adapter = make(kind)
    # Remainders, segment borders (16 frames), and a row three segments shorter than the longest.
    lengths = [7, 61, 16, 17, 2, 48]
    x, n = frames(adapter, *lengths)
    out, new = adapter(x, n, EMBEDDINGS)[:2]
    for row, length in enumerate(lengths):
        alone, one = adapter(x[row : row + 1, :, :length], n[row : row + 1], EMBEDDINGS)[:2]
        assert one[0] == new[row]
        torch.testing.assert_close(out[row, : int(new[row])], alone[0], atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_beyond_the_longest_row_changes_nothing(kind):
    adapter = make(kind)
    x, n = frames(adapter, 21)
    padded = torch.cat([x, torch.full_like(x, 9.0)], dim=2)
    out, new = adapter(padded, n, EMBEDDINGS)[:2]
    torch.testing.assert_close(out[:, : int(new[0])], adapter(x, n, EMBEDDINGS).frames, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_is_heard_in_its_own_neighbourhood_alone(kind):
    """What makes audio of any length alike: a change far away changes nothing here."""
    adapter = make(kind)
    x, n = frames(adapter, 64)
    changed = x.clone()
    changed[:, :, 50] += torch.randn(ENCODER, dtype=torch.float64)
    moved = (adapter(x, n, EMBEDDINGS).frames - adapter(changed, n, EMBEDDINGS).frames).abs().amax(-1)[0] > 1e-9
    assert moved[12] and not moved[:11].any()


def test_dual_begins_as_its_semantic_adapter():
    adapter = make("dual", silent=True)
    x, n = frames(adapter, 30, 9)
    assert adapter(x, n, EMBEDDINGS).frames.equal(adapter.semantic(x, n, EMBEDDINGS).frames)
    assert adapter.layers == (0, 2, -1) and adapter.semantic.layers == (-1,)


def test_dual_reads_words_from_the_last_layer_and_voices_from_the_tapped_ones():
    adapter = make("dual")
    x, n = frames(adapter, 30)
    base = adapter(x, n, EMBEDDINGS).frames
    for layer, untouched in ((2, "acoustic"), (0, "semantic")):
        changed = x.clone()
        changed[:, layer] += torch.randn(ENCODER, dtype=torch.float64)
        moved = adapter(changed, n, EMBEDDINGS).frames - base
        parts = {
            "semantic": adapter.semantic(changed, n, EMBEDDINGS).frames - adapter.semantic(x, n, EMBEDDINGS).frames,
            "acoustic": adapter.acoustic(changed[:, :-1], n, EMBEDDINGS).frames
            - adapter.acoustic(x[:, :-1], n, EMBEDDINGS).frames,
        }
        assert parts.pop(untouched).abs().max() == 0
        assert moved.abs().max() > 1e-3
        torch.testing.assert_close(moved, *parts.values(), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind):
    adapter = make(kind)
    x, n = frames(adapter, 40, 13)
    (adapter(x, n, EMBEDDINGS).frames * torch.randn(2, 10, LLM, dtype=torch.float64)).sum().backward()
    silent = [name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not silent


def test_a_silent_acoustic_part_still_learns_its_loudness():
    adapter = make("dual", silent=True)
    x, n = frames(adapter, 40, 13)
    (adapter(x, n, EMBEDDINGS).frames * torch.randn(2, 10, LLM, dtype=torch.float64)).sum().backward()
    assert adapter.acoustic.norm.weight.grad.abs().min() > 0


@pytest.mark.parametrize("kind", ["semantic", "acoustic", "posterior", "voice"])
def test_speech_frames_start_at_the_scale_of_text(kind):
    adapter = make(kind)
    out, _ = adapter(*frames(adapter, 64), EMBEDDINGS)[:2]
    assert out.square().mean().sqrt().item() == pytest.approx(SCALE, rel=0.05)


def test_a_posterior_frame_is_the_embedding_of_the_token_it_is_sure_of():
    """With loud scores the frame is one row of the table, normalised, or the silence where no token stands."""
    adapter = make("posterior", stride=1)
    adapter.tokens.log_scale.data.fill_(8.0)
    out, _, scores = adapter(*frames(adapter, 64), EMBEDDINGS)
    table = adapter.norm(torch.cat([EMBEDDINGS, adapter.silence]))
    assert scores.shape == (1, 64, TOKENS + 1)
    best = scores[0].argmax(-1)
    sure = scores[0].softmax(-1).amax(-1) > 1 - 1e-9
    assert sure.sum() > 40 and len(best[sure].unique()) > 5
    torch.testing.assert_close(out[0, sure], table[best[sure]], atol=1e-9, rtol=1e-6)


def test_a_posterior_adapter_follows_the_table_it_is_given():
    adapter = make("posterior")
    x, n = frames(adapter, 24)
    assert not adapter(x, n, EMBEDDINGS).frames.allclose(adapter(x, n, EMBEDDINGS.roll(1, 1)).frames, atol=1e-3)


def test_a_voice_is_standardised_by_the_first_batch_trained_on_and_no_other():
    adapter = make("voice").eval()
    x, n = frames(adapter, 40, 12)
    x = 3.0 * x + torch.arange(ENCODER)
    adapter(x, n, EMBEDDINGS)
    assert not adapter.begun, "what is only listened to changes nothing"
    adapter.train()(x, n, EMBEDDINGS)
    inside = torch.cat([x[0], x[1, :, :12]], dim=1).transpose(0, 1).flatten(1)
    torch.testing.assert_close(adapter.center, inside.mean(0), atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(adapter.spread, inside.std(0, correction=0), atol=2e-6, rtol=0.0)
    before = adapter.center.clone()
    adapter(5.0 * x, n, EMBEDDINGS)
    assert adapter.center.equal(before)
    again = make("voice")
    again.load_state_dict(adapter.state_dict())
    assert again.begun and again(x, n, EMBEDDINGS).frames.equal(adapter(x, n, EMBEDDINGS).frames)


@pytest.mark.parametrize(("kind", "scored"), [("semantic", False), ("posterior", True), ("dual", False)])
def test_who_scores_tokens_says_so(kind, scored):
    adapter = make(kind)
    assert adapter.scores_tokens == scored == (adapter(*frames(adapter, 9), EMBEDDINGS).scores is not None)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"adapter\.stride: got 0; give a whole number from 1"):
        SemanticAdapter(stride=0)
    with pytest.raises(ValueError, match=r"adapter\.segment=10 must be a multiple of adapter\.stride=4"):
        AcousticAdapter(layers=[1], segment=10, stride=4)
    with pytest.raises(ValueError, match=r"adapter\.stride: got 0; give a whole number from 1"):
        VoiceAdapter(layers=[1], stride=0)
    with pytest.raises(ValueError, match="semantic stride 4 and acoustic stride 2 must be equal"):
        DualAdapter(SemanticAdapter(stride=4), AcousticAdapter(layers=[1], stride=2))


def heard_in_training(shape, lengths, **noise):
    """What of encoder frames [rows, frames, dimensions] moves the speech frames while training; later all does."""
    torch.manual_seed(0)
    adapter, plain = SemanticAdapter(stride=2, **noise), SemanticAdapter(stride=2)
    for one in (adapter, plain):
        one.build(shape[2], 32, scale=0.02)
    plain.load_state_dict(adapter.state_dict())
    frames, lengths, embeddings = (
        torch.randn(shape)[:, None].requires_grad_(),
        torch.tensor(lengths),
        torch.randn(6, 32),
    )
    adapter(frames, lengths, embeddings).frames.square().sum().backward()
    adapter.eval()
    assert adapter(frames, lengths, embeddings).frames.equal(plain.eval()(frames, lengths, embeddings).frames)
    return frames.grad[:, 0].abs() > 0


def test_in_training_a_row_is_deaf_to_whole_dimensions_of_the_encoder():
    heard = heard_in_training((2, 8, 64), [8, 6], channel_dropout=0.5)
    assert heard[0].any(0).equal(heard[0].all(0)), "a dimension is heard all the time or never"
    share = heard[:, 0].float().mean(1)
    assert ((share > 0.25) & (share < 0.75)).all() and not heard[0, 0].equal(heard[1, 0])


def test_in_training_stretches_of_frames_are_not_heard():
    hidden = ~heard_in_training((3, 400, 16), [400] * 3, time_mask=0.3).any(2)
    assert 0.15 < hidden.float().mean() < 0.45
    edges = (hidden[:, 1:] & ~hidden[:, :-1]).sum()
    assert hidden.sum() >= STRETCH * (edges - 3), "hidden a stretch at a time; one may begin before the first frame"
    assert not hidden[0].equal(hidden[1])
    with pytest.raises(ValueError, match=r"adapter\.time_mask: got 1\.0; give a number from 0 to below 1"):
        SemanticAdapter(time_mask=1.0)
