"""Semantic alignment's auxiliary losses: they teach what they say, and are off unless asked for."""

import pytest
import torch
from lhotse import SupervisionSegment

from speech_xl.model import PosteriorAdapter
from speech_xl.model.adapter import TokenScores
from speech_xl.model.speech import Speech
from speech_xl.phases import SemanticAlignment
from speech_xl.phases.semantic_alignment import mean_ctc
from tests.model.tiny import letters_tokenizer, llm_folder
from tests.phases.parts import Given, batch, fit, phase, weights

ROW = ("one", 0.7, [("say", "ada")])
ADAPTER = {"adapter.*": 0.5}


@pytest.mark.parametrize(
    ("option", "extra"),
    [("ctc_weight", {"ctc_head.*": 0.5}), ("embedding_ctc_weight", {"token_ctc.*": 0.5})],
)
def test_each_loss_changes_the_step_and_trains_its_own_parts(folders, tmp_path, option, extra):
    data = Given([batch(tmp_path, ROW)], tmp_path)
    moved = {}
    for weight in (0.0, 1.0):
        trainable = ADAPTER | (extra if weight else {})
        model = phase(SemanticAlignment, folders, trainable, **{option: weight})
        fit(model, data, 1)
        moved[weight] = weights(model, "backbone.")
        assert not weight or all(
            p.grad is not None for n, p in model.named_parameters() if n.split(".")[0] in str(extra)
        )
    assert any(not moved[0.0][n].equal(v) for n, v in moved[1.0].items() if ".adapter." in n)


def test_an_adapter_that_scores_tokens_is_its_own_classifier(folders, tmp_path):
    """CTC alone (the LLM's loss is drowned) teaches its scores; no classifier is made beside it."""
    data = Given([batch(tmp_path, ROW)] * 30, tmp_path)
    options = {"adapter": PosteriorAdapter(stride=4), "embedding_ctc_weight": 100.0, "optimizer": torch.optim.Adam}
    model = phase(SemanticAlignment, folders, {"adapter.*": 3e-3}, **options)
    losses = [
        fit(model, data, steps, gradient_clip_val=1.0).callback_metrics["train/embedding_ctc"] for steps in (1, 30)
    ]
    assert losses[1] < 0.5 * losses[0]
    assert not hasattr(model, "token_ctc")
    assert model.backbone.adapter.tokens.blank.grad.abs().max() > 0


def test_the_llm_may_come_later(folders, tmp_path, monkeypatch):
    data = Given([batch(tmp_path, ROW)] * 3, tmp_path)
    model = phase(SemanticAlignment, folders, ADAPTER | {"token_ctc.*": 0.5}, embedding_ctc_weight=1.0, llm_from=2)
    ran = []
    read = type(model.backbone).forward
    monkeypatch.setattr(type(model.backbone), "forward", lambda *given: ran.append(model.global_step) or read(*given))
    trainer = fit(model, data, 3)
    assert ran == [2]
    assert {"train/loss", "train/embedding_ctc"} <= set(trainer.callback_metrics)
    alone = phase(SemanticAlignment, folders, ADAPTER | {"token_ctc.*": 0.5}, embedding_ctc_weight=1.0, llm_from=3)
    trainer = fit(alone, data, 3)
    assert "train/loss" not in trainer.callback_metrics and ran == [2]
    adapters = [weights(one, "backbone.adapter.") for one in (alone, model)]
    assert any(not adapters[0][name].equal(value) for name, value in adapters[1].items()), "the LLM's loss counts"
    assert all(p.grad.abs().max() > 0 for p in alone.parameters() if p.requires_grad and p.dim() > 1)


class Validated(Given):
    """Validates on what it trains on."""

    def val_dataloader(self):
        return self.train_dataloader()


def test_until_the_llm_is_run_the_adapter_is_validated(folders, tmp_path, monkeypatch):
    options = {"adapter": PosteriorAdapter(stride=4), "embedding_ctc_weight": 100.0, "optimizer": torch.optim.Adam}
    model = phase(SemanticAlignment, folders, {"adapter.*": 3e-3}, llm_from=41, **options)
    answered = []
    answer = type(model.backbone).answer
    monkeypatch.setattr(type(model.backbone), "answer", lambda *given: answered.append(1) or answer(*given))
    data = Validated([batch(tmp_path, ROW)], tmp_path)
    every = {"gradient_clip_val": 1.0, "val_check_interval": 40, "check_val_every_n_epoch": None}
    metrics = fit(model, data, 40, **every).callback_metrics
    assert (metrics["val/wer_1x"], metrics["val/errors"]) == (0, 100), "no match for an LLM that was run"
    assert [record.hypothesis.strip() for record in model.val_records] == ["ada"] and not answered
    later = phase(SemanticAlignment, folders, {"adapter.*": 3e-3}, llm_from=39, **options)
    metrics = fit(later, data, 40, **every).callback_metrics
    assert answered and metrics["val/errors"] == metrics["val/wer_1x"]


def test_an_adapter_of_letters_spells_words_that_are_no_tokens(folders, tmp_path):
    folder = llm_folder(tmp_path / "letters", vocab_size=300)
    letters_tokenizer().save_pretrained(folder)
    options = {"adapter": PosteriorAdapter(stride=2, letters=True), "embedding_ctc_weight": 100.0}
    options |= {"optimizer": torch.optim.Adam, "llm_from": 121, "flat_steps": 30}
    model = phase(SemanticAlignment, folders | {"llm": folder}, {"adapter.*": 3e-3}, **options)
    data = Validated([batch(tmp_path, ("one", 0.7, [("say", "It's Ada")]))], tmp_path)
    every = {"gradient_clip_val": 1.0, "val_check_interval": 120, "check_val_every_n_epoch": None}
    fit(model, data, 120, **every)
    assert [record.hypothesis for record in model.val_records] == ["it's ada"]
    speech = model.speech(next(iter(data.train_dataloader())))
    assert speech.scores.shape[2] == len(model.backbone.spelling.ids) + 1 < 300


def test_without_another_loss_the_llm_may_not_come_later(folders):
    with pytest.raises(ValueError, match="llm_from=5: nothing to train by before"):
        phase(SemanticAlignment, folders, ADAPTER, llm_from=5)


@pytest.mark.parametrize(("key", "head"), [("ctc_weight", "ctc_head"), ("embedding_ctc_weight", "token_ctc")])
def test_a_random_head_that_nothing_trains_is_refused(folders, tmp_path, key, head):
    model = phase(SemanticAlignment, folders, ADAPTER, **{key: 1.0})
    with pytest.raises(ValueError, match=rf'model\.{key}=1\.0: its head is random .*add "{head}\.\*"'):
        fit(model, Given([batch(tmp_path, ROW)], tmp_path), 0)


def test_a_negative_weight_is_named(folders):
    with pytest.raises(ValueError, match="ctc_weight: got -1; give a number from 0 upwards"):
        phase(SemanticAlignment, folders, ADAPTER, ctc_weight=-1)


def test_frames_that_are_their_tokens_embeddings_score_best():
    torch.manual_seed(0)
    embeddings, head = torch.randn(5, 16), TokenScores(16)
    said = torch.tensor([3, 1, 4])
    right, wrong = embeddings[said][None], embeddings[said.flip(0)][None]
    lengths = torch.tensor([3])
    losses = [mean_ctc(head(frames, embeddings), lengths, [said], blank=5) for frames in (right, wrong)]
    assert losses[0] < 0.2 < losses[1]


def test_mean_ctc_is_per_symbol_and_skips_what_has_no_alignment():
    logits = torch.zeros(2, 2, 3)  # two steps, two symbols and the blank, all equally likely
    one = mean_ctc(logits[:1], torch.tensor([2]), [torch.tensor([0])], blank=2)
    # Of nine paths, three spell the symbol: a-, -a, aa.
    torch.testing.assert_close(one, -torch.tensor(3 / 9).log())
    impossible = torch.tensor([0, 1, 0])  # three symbols in two steps
    both = mean_ctc(logits, torch.tensor([2, 2]), [torch.tensor([0]), impossible], blank=2)
    torch.testing.assert_close(both, one / 4)


def test_a_flat_start_lays_tokens_over_their_supervisions(folders, tmp_path):
    """0.64 s are 8 frames; "ada bob" is spoken from frame 2 to 6. A time mark is no sound."""
    given = batch(tmp_path, ("one", 0.64, [("say", "[0] ada bob")]))
    given.cuts[0].supervisions = [SupervisionSegment("s", "one", 0.16, 0.32, text="ada bob")]
    losses = {}
    for steps in (0, 1):
        model = phase(
            SemanticAlignment, folders, ADAPTER | {"token_ctc.*": 0.5}, embedding_ctc_weight=1.0, flat_steps=steps
        )
        trainer = fit(model, Given([given], tmp_path), 2)
        losses[steps] = trainer.callback_metrics["train/embedding_ctc"]
        (ids,) = model.answer_ids(given)
        assert ids.tolist() == model.backbone.llm.prompt.tokenizer("ada bob", add_special_tokens=False)["input_ids"]
        tokens = torch.unique(ids)
        frames = torch.randn(1, 8, model.backbone.llm.width)
        labels = model.flat_labels(given, Speech(frames, torch.tensor([8]), [[8]]), tokens)[0].tolist()
        assert [label == len(tokens) for label in labels] == [True] * 2 + [False] * 4 + [True] * 2
        spoken = [tokens[label].item() for label in labels[2:6]]
        assert spoken[0] == ids[0] and spoken[-1] == ids[-1]
    assert losses[0] != losses[1]


def test_a_flat_start_without_its_loss_is_named(folders):
    with pytest.raises(ValueError, match="flat_steps=5"):
        phase(SemanticAlignment, folders, ADAPTER, flat_steps=5)
