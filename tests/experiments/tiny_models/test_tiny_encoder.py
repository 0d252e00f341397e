"""Pretraining of the tiny encoder: clips hold what they say, windows share weights, and the weights come back."""

import random
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from data_recipes.espeak import Espeak, Request
from data_recipes.grammar import vocabulary
from experiments.tiny_models.tiny_encoder import (
    Hearing,
    Line,
    Session,
    draw_clip,
    draw_clips,
    mel,
    pretrain,
    window_seconds,
    with_window,
    word_errors,
)
from speech_xl import SAMPLE_RATE
from speech_xl.model import HFEncoder, SemanticAdapter

TINY = Path(__file__).parents[3] / "experiments" / "models" / "tiny" / "encoder"


def session_of(*seconds: float) -> Session:
    """Utterances of these lengths, half a second of silence around each; a sample's value is its utterance's number."""
    lines, pieces, place = [], [torch.zeros(8000)], 8000
    for number, length in enumerate(seconds, 1):
        samples = round(length * SAMPLE_RATE)
        lines.append(Line(place, place + samples, f"word{number}"))
        pieces += [torch.full((samples,), float(number)), torch.zeros(8000)]
        place += samples + 8000
    return Session(torch.cat(pieces).short(), lines)


@pytest.fixture(scope="module")
def encoder():
    made = HFEncoder(str(TINY), pretrained=False)
    made.build([-1])
    return made


def test_a_clip_holds_all_of_what_it_says_and_nothing_else():
    session, rng, seen = session_of(1.0, 2.0, 9.0, 1.5, 0.5), random.Random(0), set()
    for _ in range(200):
        clip = draw_clip(session, 5.0, rng)
        if clip is None:
            continue
        text = " ".join(line.text for line in clip.lines)
        seen.add(text)
        assert len(clip.samples) <= 5 * SAMPLE_RATE
        values, counts = clip.samples.unique(return_counts=True)
        heard = {f"word{int(v)}": int(c) for v, c in zip(values, counts, strict=True) if v}
        assert list(heard) == text.split()
        for line in clip.lines:
            assert heard[line.text] == line.end - line.start
            assert (clip.samples[line.start : line.end] == int(line.text.removeprefix("word"))).all()
    assert seen == {"word1 word2", "word2", "word4 word5", "word5"}  # the third is longer than the window


def test_as_many_clips_as_asked_for():
    assert len(draw_clips([session_of(9.0), session_of(1.0)], 7, 5.0, random.Random(0))) == 7


def test_windows_grow_to_the_encoders():
    windows = [window_seconds(gone / 100, 20.0) for gone in range(100)]
    assert windows == sorted(windows) and set(windows) == {5.0, 10.0, 20.0}


def test_a_shorter_window_is_the_same_encoder(encoder):
    short = with_window(encoder.model, 125)
    assert short.layers is encoder.model.layers
    torch.testing.assert_close(short.embed_positions.weight, encoder.model.embed_positions.weight[:125])
    assert encoder.model.config.max_source_positions == 500
    assert with_window(encoder.model, 500) is encoder.model


def test_masks_hide_some_of_the_spectrum_and_levels_change(encoder):
    torch.manual_seed(0)
    clip = clip_of("i met peter", 2.0)
    plain, lengths = mel(encoder, [clip], 5.0)
    assert plain.shape == (1, 80, 250) and lengths.tolist() == [50]
    again, _ = mel(encoder, [clip], 5.0)
    assert torch.equal(plain, again)
    changed, _ = mel(encoder, [clip], 5.0, random.Random(0))
    assert not torch.equal(plain, changed)
    masked, _ = mel(encoder, [clip], 5.0, random.Random(0), masks=True)
    hidden = masked.std(dim=2) < 0.1 * plain.std(dim=2)
    assert 0 < hidden.sum() < 40, "some bands are hidden"


def clip_of(text: str, seconds: float = 1.0) -> Session:
    samples = round(seconds * SAMPLE_RATE)
    return Session((torch.randn(samples) * 3000).short(), [Line(0, samples, text)])


def test_reads_the_likeliest_words_without_doubles_and_blanks(encoder):
    model = Hearing(encoder, SemanticAdapter(stride=2), ["a", "b"])
    path = torch.tensor([0, 0, 2, 0, 1, 1, 0])  # 2 is the blank, and the last frame is padding
    scores = nn.functional.one_hot(path, 3).float()[None]
    assert model.read(scores, torch.tensor([6])) == ["a a b"]


def test_flat_loss_lays_words_over_their_utterances(encoder):
    """Two seconds, 25 frames: two utterances of 11 and 9 frames, a letter or a space a frame."""
    model = Hearing(encoder, SemanticAdapter(stride=2), ["i", "remember"])
    frame = SAMPLE_RATE * 2 // 25
    lines = [Line(3 * frame, 14 * frame, "i remember"), Line(15 * frame, 24 * frame, "remember")]
    clip = Session(torch.zeros(2 * SAMPLE_RATE).short(), lines)
    expected = torch.tensor([2] * 3 + [0] * 2 + [1] * 9 + [2] + [1] * 9 + [2])
    sure = 50.0 * nn.functional.one_hot(expected, 3).float()[None]
    lengths = torch.tensor([25])
    assert model.flat(sure, lengths, [clip]).item() < 1e-6
    for number in range(25):
        wrong = sure.clone()
        wrong[0, number] = wrong[0, number].roll(1)
        assert model.flat(wrong, lengths, [clip]).item() == pytest.approx(2.0, abs=1e-3)
    padded = torch.cat([sure, torch.randn(1, 5, 3)], dim=1)
    assert model.flat(padded, lengths, [clip]).item() < 1e-6


def test_ctc_takes_any_alignment_of_the_words(encoder):
    model = Hearing(encoder, SemanticAdapter(stride=2), ["i", "met"])
    for path in ([2, 0, 1, 1, 2], [0, 2, 2, 2, 1]):
        scores = 50.0 * nn.functional.one_hot(torch.tensor(path), 3).float()[None]
        assert model.ctc(scores, torch.tensor([5]), [clip_of("i met")]).item() < 1e-6
        assert model.ctc(scores, torch.tensor([5]), [clip_of("met i")]).item() > 10


@pytest.mark.slow
def test_weights_are_written_where_from_pretrained_finds_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(TINY, tmp_path / "encoder", ignore=shutil.ignore_patterns("*.safetensors"))
    trained = pretrain(tmp_path / "encoder", hours=0.02, steps=2, seconds=10.0, highest=1e-3, seed=0)
    loaded = HFEncoder(str(tmp_path / "encoder"))
    loaded.build([-1])
    for name, weight in trained.encoder.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight.half().float(), msg=name)


def spoken(text: str, voice: str) -> torch.Tensor:
    return torch.from_numpy(Espeak().speak(Request(voice, 150, 50, text)).samples)


def test_the_weights_that_come_along_hear_the_word_and_not_the_voice():
    """Of words said by two voices the same word's frames are the nearest; to random weights the same voice's are."""
    words, voices = ["amsterdam", "candles", "umbrellas", "victoria", "thirteen"], ["gmw/en-US+f2", "gmw/en+m3"]
    audio = [[spoken(word, voice) for word in words] for voice in voices]
    found = {}
    for pretrained in (True, False):
        torch.manual_seed(0)
        encoder = HFEncoder(str(TINY), pretrained=pretrained)
        encoder.build([-1])
        with torch.no_grad():
            means = [torch.stack([encoder.encode([a])[0][0].mean(0) for a in voice]) for voice in audio]
        one, other = (nn.functional.normalize(m - torch.cat(means).mean(0), dim=-1) for m in means)
        found[pretrained] = ((one @ other.T).argmax(1) == torch.arange(len(words))).float().mean().item()
    assert found[True] == 1.0 > found[False]


def test_errors_are_counted_against_what_was_said(encoder):
    model = Hearing(encoder, SemanticAdapter(stride=2), vocabulary())
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias[7] = 9.0  # hears this word, once, whatever is said
    clips = [clip_of(text) for text in (vocabulary()[7], vocabulary()[8])]
    assert [word_errors(model, clips[:1]), word_errors(model, clips[1:]), word_errors(model, clips)] == [0.0, 1.0, 0.5]
