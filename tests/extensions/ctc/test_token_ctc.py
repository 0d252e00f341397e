"""TokenCTC: it changes the step, trains its own parts, spells the transcript, and begins flat where it is asked to."""

import pytest
import torch
from lhotse import SupervisionSegment

from experiments.random_models import tokenizer
from speech_xl.extensions.ctc import PosteriorAdapter, TokenCTC
from speech_xl.extensions.ctc.token_ctc import label_frames, mean_ctc, spoken_words
from speech_xl.extensions.ctc.token_scores import TokenScores, greedy_text
from speech_xl.model.speech import Speech
from speech_xl.phases import SemanticAlignment
from tests.phases.parts import Given, batch, fit, phase, weights

ROW = ("one", 0.7, [("say", "ada")])
ADAPTER = {"adapter.*": 0.5}
BOTH = ADAPTER | {"extensions.TokenCTC.*": 0.5}


def test_the_loss_changes_the_step_and_trains_its_own_parts(folders, tmp_path):
    data = Given([batch(tmp_path, ROW)], tmp_path)
    moved = {}
    for name, trainable, extensions in (("plain", ADAPTER, None), ("ctc", BOTH, [TokenCTC()])):
        model = phase(SemanticAlignment, folders, trainable, extensions=extensions)
        fit(model, data, 1)
        moved[name] = weights(model, "backbone.")
        own = [p for n, p in model.named_parameters() if n.startswith("extensions.")]
        assert len(own) == (2 if extensions else 0) and all(p.grad is not None for p in own)
    assert any(not moved["plain"][n].equal(v) for n, v in moved["ctc"].items() if ".adapter." in n)


def test_an_adapter_that_scores_tokens_is_its_own_classifier(folders, tmp_path):
    """CTC alone (the LLM's loss is drowned) teaches its scores; no classifier is made beside it."""
    data = Given([batch(tmp_path, ROW)] * 30, tmp_path)
    options = {"adapter": PosteriorAdapter(stride=4), "extensions": [TokenCTC(100.0)], "optimizer": torch.optim.Adam}
    model = phase(SemanticAlignment, folders, {"adapter.*": 3e-3}, **options)
    losses = [fit(model, data, steps, gradient_clip_val=1.0).callback_metrics["train/token_ctc"] for steps in (1, 30)]
    assert losses[1] < 0.5 * losses[0]
    assert not list(model.extensions.parameters())
    assert model.backbone.adapter.tokens.blank.grad.abs().max() > 0


def test_frames_that_are_their_tokens_embeddings_score_best():
    torch.manual_seed(0)
    embeddings, head = torch.randn(5, 16), TokenScores(16)
    spoken = torch.tensor([3, 1, 4])
    right, wrong = embeddings[spoken][None], embeddings[spoken.flip(0)][None]
    lengths = torch.tensor([3])
    losses = [mean_ctc(head(frames, embeddings), lengths, [spoken], blank=5) for frames in (right, wrong)]
    assert losses[0] < 0.2 < losses[1]


def test_the_likeliest_path_is_a_text():
    """Repeats are one token, unless a blank stands between them."""
    known = tokenizer()
    path = [token for letter in "a-bbb-b" for token in ([None] if letter == "-" else known(letter)["input_ids"])]
    scores = torch.zeros(len(path), len(known) + 1)
    scores[torch.arange(len(path)), torch.tensor([len(known) if token is None else token for token in path])] = 1.0
    assert greedy_text(known, scores) == "abb"


def test_mean_ctc_is_per_symbol_and_skips_what_has_no_alignment():
    logits = torch.zeros(2, 2, 3)  # two steps, two symbols and the blank, all equally likely
    one = mean_ctc(logits[:1], torch.tensor([2]), [torch.tensor([0])], blank=2)
    # Of nine paths, three spell the symbol: a-, -a, aa.
    torch.testing.assert_close(one, -torch.tensor(3 / 9).log())
    impossible = torch.tensor([0, 1, 0])  # three symbols in two steps
    both = mean_ctc(logits, torch.tensor([2, 2]), [torch.tensor([0]), impossible], blank=2)
    torch.testing.assert_close(both, one / 4)


def test_a_flat_start_lays_tokens_over_their_supervisions(folders, tmp_path):
    """0.64 s are 8 frames; "ada bob" is spoken from frame 2 to 6. A timestamp is no sound."""
    given = batch(tmp_path, ("one", 0.64, [("say", "[0] ada bob")]))
    given.cuts[0].supervisions = [SupervisionSegment("s", "one", 0.16, 0.32, text="ada bob")]
    assert spoken_words(given) == ["ada bob"]
    losses = {}
    for steps in (0, 1):
        model = phase(SemanticAlignment, folders, BOTH, extensions=[TokenCTC(flat_steps=steps)])
        trainer = fit(model, Given([given], tmp_path), 2)
        losses[steps] = trainer.callback_metrics["train/token_ctc"]
        prompt = model.backbone.llm.prompt
        ids = torch.tensor(prompt.tokenizer("ada bob", add_special_tokens=False)["input_ids"])
        tokens = torch.unique(ids)
        frames = torch.randn(1, 8, model.backbone.llm.width)
        speech = Speech(frames, torch.tensor([8]), [[8]])
        labels = label_frames(model.backbone, given, speech, tokens)[0].tolist()
        assert [label == len(tokens) for label in labels] == [True] * 2 + [False] * 4 + [True] * 2
        spoken = [tokens[label].item() for label in labels[2:6]]
        assert spoken[0] == ids[0] and spoken[-1] == ids[-1]
    assert losses[0] != losses[1]


def test_a_classifier_that_nothing_trains_is_refused(folders, tmp_path):
    model = phase(SemanticAlignment, folders, ADAPTER, extensions=[TokenCTC()])
    with pytest.raises(ValueError, match=r'TokenCTC has random parameters .*add "extensions\.TokenCTC\.\*"'):
        fit(model, Given([batch(tmp_path, ROW)], tmp_path), 0)
