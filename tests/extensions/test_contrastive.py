"""ContrastiveAnswers: what the loss counts and leaves out, and that an adapter learns by it."""

import math

import pytest
import torch
from torch import nn

from speech_xl.data.tasks import Turn
from speech_xl.extensions.contrastive import TEMPERATURE, ContrastiveAnswers, contrast, mean_frames
from speech_xl.phases import ModalAlignment
from tests.phases.parts import Given, batch, fit, phase

SHORT, LONG = ("short", 0.3, []), ("long", 0.7, [])
ADAPTER = {"adapter.*": 0.5}
TABLE = {"man": torch.tensor([1.0, 0, 0]), "woman": torch.tensor([0, 1.0, 0]), "child": torch.tensor([0, 0, 1.0])}


def test_the_mean_knows_no_padding():
    frames = torch.randn(2, 5, 3)
    means = mean_frames(frames, torch.tensor([5, 2]))
    torch.testing.assert_close(means, torch.stack([frames[0].mean(0), frames[1, :2].mean(0)]))


def test_an_answer_is_told_from_the_others_to_its_question():
    means = torch.stack([TABLE["man"], TABLE["woman"]])
    asked = [(0, "sex", "man"), (1, "sex", "woman"), (1, "age", "child"), (0, "alone", "man"), (0, "age", "child")]
    found = contrast(means, asked, TABLE.__getitem__)
    assert (found.right, found.answers) == (2, 2), "a question with one answer has nothing to tell apart"
    apart = math.sqrt(2) / TEMPERATURE  # cosines of one row with the two answers, less their mean: +-1 / sqrt 2
    assert found.loss.item() == pytest.approx(math.log1p(math.exp(-apart)), abs=1e-6)
    crossed = contrast(means.flip(0), asked, TABLE.__getitem__)
    assert crossed.right == 0 and crossed.loss.item() == pytest.approx(apart, rel=1e-4)


def test_with_nothing_to_tell_apart_the_loss_is_zero_and_still_has_a_gradient():
    means = torch.randn(2, 3, requires_grad=True)
    for asked in ([], [(0, "sex", "man"), (1, "sex", "man")]):
        found = contrast(means, asked, TABLE.__getitem__)
        assert found.loss == 0 and found.answers == 0
        found.loss.backward()


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
        found = contrast(means, [(i, "sex", names[s]) for i, s in enumerate(sex.tolist())], table.__getitem__)
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        if step == 0:
            assert found.loss > 0.5
    assert found.right == found.answers == 12
    assert all(entry.grad is None for entry in table.values())


def test_stage_2_draws_frames_to_the_answers_where_it_is_given(folders, tmp_path):
    """Two sessions with another answer to one question each: the loss falls, and only questions are in it."""
    asked = [Turn("qa", "who speaks", answer, "who") for answer in ("peter", "hilda")]
    given = batch(tmp_path, SHORT, LONG)
    given.turns = [[turn] for turn in asked]
    model = phase(ModalAlignment, folders, ADAPTER, extensions=[ContrastiveAnswers(1.0)])
    trainer = fit(model, Given([given], tmp_path), 1)
    first = trainer.callback_metrics["train/contrastive"].item()
    again = phase(ModalAlignment, folders, ADAPTER, extensions=[ContrastiveAnswers(1.0)])
    trainer = fit(again, Given([given], tmp_path), 12)
    assert trainer.callback_metrics["train/contrastive"].item() < first
    spoken = batch(tmp_path, SHORT, LONG)
    spoken.turns = [[turn, Turn("asr", "who speaks", "bob")] for turn in asked]
    trainer = fit(
        phase(ModalAlignment, folders, ADAPTER, extensions=[ContrastiveAnswers(1.0)]), Given([spoken], tmp_path), 1
    )
    assert trainer.callback_metrics["train/contrastive"].item() == pytest.approx(first, rel=1e-5)
    plain = phase(ModalAlignment, folders, ADAPTER)
    assert "train/contrastive" not in fit(plain, Given([given], tmp_path), 1).callback_metrics
