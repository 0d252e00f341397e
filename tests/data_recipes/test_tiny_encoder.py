"""Pretraining of the tiny encoder: clips hold what they say, windows share weights, and the weights come back."""

import random
import shutil
from pathlib import Path

import pytest
import torch

from data_recipes.grammar import vocabulary
from data_recipes.tiny_encoder import (
    Clip,
    Line,
    Session,
    Spelling,
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

TINY = Path(__file__).parents[2] / "experiments" / "models" / "tiny" / "encoder"


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
        seen.add(clip.text)
        assert len(clip.samples) <= 5 * SAMPLE_RATE
        values, counts = clip.samples.unique(return_counts=True)
        heard = {f"word{int(v)}": int(c) for v, c in zip(values, counts, strict=True) if v}
        assert list(heard) == clip.text.split()
        for line in session.lines:
            assert heard.get(line.text, line.end - line.start) == line.end - line.start
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
    clip = Clip((torch.randn(2 * SAMPLE_RATE) * 3000).short(), "i met peter")
    plain, lengths = mel(encoder, [clip], 5.0)
    assert plain.shape == (1, 80, 250) and lengths.tolist() == [50]
    again, _ = mel(encoder, [clip], 5.0)
    assert torch.equal(plain, again)
    changed, _ = mel(encoder, [clip], 5.0, random.Random(0))
    assert not torch.equal(plain, changed)
    masked, _ = mel(encoder, [clip], 5.0, random.Random(0), masks=True)
    hidden = masked.std(dim=2) < 0.1 * plain.std(dim=2)
    assert 0 < hidden.sum() < 40, "some bands are hidden"


def test_reads_what_the_words_head_says(encoder):
    model = Spelling(encoder, SemanticAdapter(stride=2), ["a", "b"])
    with torch.no_grad():
        model.words_head.weight.zero_()
        model.words_head.weight[:, :3] = torch.eye(3)
    frames = torch.zeros(1, 7, 256)
    for place, word in enumerate([0, 0, 2, 0, 1, 1, 0]):  # 2 is the blank, and the last frame is padding
        frames[0, place, word] = 1.0
    assert model.read(frames, torch.tensor([6])) == ["a a b"]


def test_weights_are_written_where_from_pretrained_finds_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(TINY, tmp_path / "encoder", ignore=shutil.ignore_patterns("*.safetensors"))
    trained = pretrain(tmp_path / "encoder", hours=0.02, steps=2, seconds=10.0, highest=1e-3, seed=0)
    loaded = HFEncoder(str(tmp_path / "encoder"))
    loaded.build([-1])
    for name, weight in trained.encoder.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight.half().float(), msg=name)


def test_errors_are_counted_against_what_was_said(encoder):
    model = Spelling(encoder, SemanticAdapter(stride=2), vocabulary())
    with torch.no_grad():
        model.words_head.weight.zero_()
        model.words_head.bias[7] = 9.0  # hears this word, once, whatever is said
    clips = [Clip(torch.zeros(SAMPLE_RATE).short(), text) for text in (vocabulary()[7], vocabulary()[8])]
    assert [word_errors(model, clips[:1]), word_errors(model, clips[1:]), word_errors(model, clips)] == [0.0, 1.0, 0.5]
