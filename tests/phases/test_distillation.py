"""Distillation: the divergence from what is said of all frames, by the same weights, a sum over label tokens."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import kl_div

from speech_xl.data.batch import SpeechBatch
from speech_xl.model import SSTs
from speech_xl.phases import MeanPooling, SSTCompression
from speech_xl.phases.distillation import Distillation, divergence, evaluating
from tests.phases.parts import Given, batch, fit, phase, weights

ROWS = [("short", 0.3, [("say", "a")]), ("long", 0.7, [("what was said?", "ada said that bob was late again.")])]
KINDS = {"ssts": SSTCompression, "means": MeanPooling}


def made(kind, folders, tmp_path, distillation, **options):
    own = {"sst": SSTs()} if kind == "ssts" else {}
    trainable = {"adapter.*": 0.5, "llm.*": 0.5} | ({"sst.*": 0.5} if kind == "ssts" else {})
    options = {"ratios": [2, 4], "cache_frames": False, "distillation": distillation} | own | options
    model = phase(KINDS[kind], folders, trainable, **options)
    fit(model, Given([batch(tmp_path, *ROWS)], tmp_path), 0)
    model.logged = {}
    model.log = lambda name, value, **_: model.logged.update({name: float(value)})
    return model


def passed(model, one: SpeechBatch, row_weights):
    """One training pass over a batch, and the speech and suffixes it was of."""
    speech = model.speech(one)
    suffixes = [model._suffixes(one, row, []) for row in range(len(one))]
    return model.one_pass(one, speech, suffixes, row_weights), speech, suffixes


def test_the_divergence_is_the_textbooks():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 7, dtype=torch.float64)
    for temperature in (1.0, 2.5):
        ours = divergence(student, teacher, temperature)
        said, wanted = (x.div(temperature).log_softmax(-1) for x in (student, teacher))
        theirs = kl_div(said, wanted, reduction="none", log_target=True).sum(-1) * temperature**2
        torch.testing.assert_close(ours, theirs)
        assert ours.min() > 0 and divergence(teacher, teacher, temperature).abs().max() < 1e-12
    assert divergence(student.half(), teacher.half(), 1.0).dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_of_the_uncompressed_pass_and_counts_as_the_cross_entropy_does(folders, tmp_path, kind):
    model = made(kind, folders, tmp_path, Distillation(weight=0.7, temperature=2.0))
    one, row_weights = batch(tmp_path, *ROWS), [3.0, 1.0]
    out, speech, suffixes = passed(model, one, row_weights)
    with torch.no_grad():
        whole = model.backbone(speech, speech.throughout(None), suffixes, row_weights, {"labels"})
        short = model.backbone(*model.compressed(one, speech), suffixes, row_weights, {"labels"})
    lost = (divergence(short.labels.logits, whole.labels.logits, 2.0) * short.labels.weights).sum()
    torch.testing.assert_close(out.distillation_sum.detach(), 0.7 * lost)
    assert out.loss_sum.item() == pytest.approx(short.loss_sum.item()) and out.labels is None and lost > 1e-4
    assert model.logged["train/distillation"] == pytest.approx(lost.item() / out.label_weight)
    # two rows of a batch are the sum of each alone
    alone = [passed(model, batch(tmp_path, row), [weight])[0] for row, weight in zip(ROWS, row_weights, strict=True)]
    total = sum(one.distillation_sum for one in alone)
    torch.testing.assert_close(out.distillation_sum, total, rtol=1e-4, atol=1e-6)


def test_the_teacher_gets_no_gradient(folders, tmp_path):
    """The gradient is that of the divergence from logits that stay as they are."""
    model = made("ssts", folders, tmp_path, Distillation())
    one = batch(tmp_path, *ROWS)
    out, speech, suffixes = passed(model, one, [1.0, 1.0])
    parameters = [p for p in model.backbone.parameters() if p.requires_grad]
    found = torch.autograd.grad(out.distillation_sum, parameters, allow_unused=True)
    with torch.no_grad():
        fixed = model.backbone(speech, speech.throughout(None), suffixes, None, {"labels"}).labels.logits.clone()
    again, ratios = model.compressed(one, model.speech(one))
    short = model.backbone(again, ratios, suffixes, None, {"labels"})
    wanted = torch.autograd.grad(divergence(short.labels.logits, fixed, 1.0).sum(), parameters, allow_unused=True)
    for mine, theirs in zip(found, wanted, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_step_takes_it_and_without_it_nothing_changes(folders, tmp_path):
    def after(distillation):
        model = made("ssts", folders, tmp_path, distillation)
        del model.log
        fit(model, Given([batch(tmp_path, *ROWS)], tmp_path), 1)
        return weights(model, "backbone.sst.")

    plain, weak, strong = after(None), after(Distillation(weight=1e-9)), after(Distillation(weight=5.0))
    for name, value in plain.items():
        torch.testing.assert_close(weak[name], value)
    assert any(not torch.allclose(strong[name], value, atol=1e-5) for name, value in plain.items())


def test_without_it_no_logits_are_kept(folders, tmp_path):
    model = made("ssts", folders, tmp_path, None)
    out, *_ = passed(model, batch(tmp_path, *ROWS), [1.0, 1.0])
    assert out.labels is None and out.states is None and out.distillation_sum == 0.0 and not model.logged
    assert replace(out, loss_sum=0) == replace(out, loss_sum=0)


def test_the_teacher_has_no_dropout_and_training_goes_on_as_it_was():
    module = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(2, 2))
    with evaluating(module):
        assert not module[0].training and not module(torch.ones(1, 2)).requires_grad
    assert module[0].training
    with evaluating(module.eval()):
        pass
    assert not module[0].training


@pytest.mark.parametrize("name", ["weight", "temperature"])
def test_no_weight_and_no_temperature_are_refused(name):
    with pytest.raises(ValueError, match=rf"model\.distillation\.{name}: got 0; give a number above 0"):
        Distillation(**{name: 0})
