"""Frames that say an answer by themselves: what the loss counts and leaves out, and that an adapter learns by it."""

import math

import pytest
import torch
from torch import nn

from speech_xl.extensions.contrastive import TEMPERATURE, heard_answers, mean_frames

TABLE = {"man": torch.tensor([1.0, 0, 0]), "woman": torch.tensor([0, 1.0, 0]), "child": torch.tensor([0, 0, 1.0])}


def test_the_mean_knows_no_padding():
    frames = torch.randn(2, 5, 3)
    means = mean_frames(frames, torch.tensor([5, 2]))
    torch.testing.assert_close(means, torch.stack([frames[0].mean(0), frames[1, :2].mean(0)]))


def test_an_answer_is_told_from_the_others_to_its_question():
    means = torch.stack([TABLE["man"], TABLE["woman"]])
    asked = [(0, "sex", "man"), (1, "sex", "woman"), (1, "age", "child"), (0, "alone", "man"), (0, "age", "child")]
    heard = heard_answers(means, asked, TABLE.__getitem__)
    assert (heard.right, heard.answers) == (2, 2), "a question with one answer has nothing to tell apart"
    apart = math.sqrt(2) / TEMPERATURE  # cosines of one row with the two answers, less their mean: +-1 / sqrt 2
    assert heard.loss.item() == pytest.approx(math.log1p(math.exp(-apart)), abs=1e-6)
    crossed = heard_answers(means.flip(0), asked, TABLE.__getitem__)
    assert crossed.right == 0 and crossed.loss.item() == pytest.approx(apart, rel=1e-4)


def test_with_nothing_to_tell_apart_the_loss_is_zero_and_still_has_a_gradient():
    means = torch.randn(2, 3, requires_grad=True)
    for asked in ([], [(0, "sex", "man"), (1, "sex", "man")]):
        heard = heard_answers(means, asked, TABLE.__getitem__)
        assert heard.loss == 0 and heard.answers == 0
        heard.loss.backward()


def test_a_voice_hidden_in_noise_is_learned_and_the_embeddings_stay():
    """A tenth of the noise, in one direction of sixteen: the mean over a session tells, a frame doesn't."""
    torch.manual_seed(0)
    table = {name: nn.Parameter(torch.randn(8)) for name in TABLE}
    adapter = nn.Linear(16, 8)
    optimizer = torch.optim.Adam(adapter.parameters(), lr=3e-3)
    names = list(TABLE)
    for step in range(300):
        sex = torch.randint(3, (12,))
        frames = torch.randn(12, 200, 16)
        frames[torch.arange(12), :, sex] += 0.5
        means = mean_frames(adapter(frames), torch.full((12,), 200))
        heard = heard_answers(means, [(i, "sex", names[s]) for i, s in enumerate(sex.tolist())], table.__getitem__)
        optimizer.zero_grad()
        heard.loss.backward()
        optimizer.step()
        if step == 0:
            assert heard.loss > 0.5
    assert heard.right == heard.answers == 12
    assert all(entry.grad is None for entry in table.values())
