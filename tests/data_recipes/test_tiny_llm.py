"""Pretraining of the tiny LLM: what it reads is true and of the train split, and its weights come back as they were."""

import itertools
import math
import random
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import layer_norm

from data_recipes.grammar import split_of
from data_recipes.pretraining import learning_rate
from data_recipes.tiny_llm import (
    CLOCK,
    SILENCE,
    Guidance,
    Reading,
    Stretched,
    as_speech,
    held_out,
    layers_without_rope,
    longest_words,
    pretrain,
    readings,
    start_copying,
    stretch,
    stretched,
)
from speech_xl.data.tasks import ASR_INSTRUCTION, CAPTION_INSTRUCTION
from speech_xl.model import LLM, Adapter, Encoder, SpeechLLM
from speech_xl.model.clock import clock

TINY = Path(__file__).parents[2] / "experiments" / "models" / "tiny" / "llm"


def test_readings_have_true_transcripts_and_questions_about_whole_sessions_only():
    drawn = list(itertools.islice(readings(random.Random(0), 120), 400))
    kinds = {instruction for reading in drawn for instruction, _ in reading.turns}
    assert {ASR_INSTRUCTION, CAPTION_INSTRUCTION, "who spoke first", "how many speakers are there"} <= kinds
    for reading in drawn:
        assert len(reading.text.split()) <= 120
        for instruction, answer in reading.turns:
            if instruction == ASR_INSTRUCTION:
                assert answer == reading.text
            if instruction.startswith("what number did"):
                name = instruction.split()[3]
                assert name in reading.text and answer in reading.text


def test_short_texts_carry_transcripts_alone():
    drawn = itertools.islice(readings(random.Random(1), 12), 200)
    assert {instruction for reading in drawn for instruction, _ in reading.turns} == {ASR_INSTRUCTION}


def test_sessions_are_of_the_train_split(monkeypatch):
    import data_recipes.tiny_llm as module

    seen = []
    original = module.draw_turns

    def spy(*args):
        sentences = original(*args)
        seen.extend(sentences)
        return sentences

    monkeypatch.setattr(module, "draw_turns", spy)
    list(itertools.islice(readings(random.Random(2), 60), 50))
    assert seen and {split_of(sentence.text) for sentence in seen} == {"train"}


def test_stretching_keeps_every_token_in_order_and_says_where_each_is():
    tokens, letters = [5, 9, 9, 7, 5], [3, 1, 8, 12, 4]
    others = 0
    for seed in range(100):
        frames = stretch(tokens, letters, random.Random(seed))
        assert len(frames.ids) == len(frames.places)
        assert all((i == SILENCE) == (p == SILENCE) for i, p in zip(frames.ids, frames.places, strict=True))
        spoken = [place for place in frames.places if place != SILENCE]
        assert spoken == sorted(spoken) and set(spoken) == set(range(5))
        assert all(spoken.count(place) <= 1.5 * letters[place] + 1 for place in range(5))
        others += sum(p != SILENCE and i != tokens[p] for i, p in zip(frames.ids, frames.places, strict=True))
    assert 0 < others < 60  # a few frames are misheard


def test_frames_without_noise_point_where_their_embedding_does():
    table = torch.randn(11, 32, generator=torch.Generator().manual_seed(0))
    rows = [Stretched([3, SILENCE, 4], [0, SILENCE, 1]), Stretched([7], [0])]
    speech = as_speech(rows, table, torch.ones(32) + table[0], noise=0.0)
    assert speech.frames.shape == (2, 3, 32)
    assert speech.lengths.tolist() == [3, 1] and speech.intervals == [[3], [1]]
    frames = layer_norm(speech.frames - CLOCK * table.square().mean().sqrt() * clock(3, 32), (32,))
    nearest = torch.nn.functional.cosine_similarity(frames[:, :, None], table, dim=-1).argmax(-1)
    assert (nearest[0, 0], nearest[0, 2], nearest[1, 0]) == (3, 4, 7)


def test_the_learning_rate_rises_stays_and_ends_at_nothing():
    rates = [learning_rate(step, step / 1000, 2e-3) for step in range(1001)]
    assert rates[0] == pytest.approx(2e-5) and rates[100] == rates[600] == pytest.approx(2e-3)
    assert rates[1000] == pytest.approx(0.0, abs=1e-9) and rates[800] == pytest.approx(1e-3)


def test_texts_grow_from_short_to_the_longest():
    lengths = [longest_words(step / 1000, 80) for step in range(1000)]
    assert lengths[0] == lengths[100] == 16 and lengths[600] == lengths[999] == 80
    assert lengths == sorted(lengths)


def test_what_layers_without_rope_attend_to_passes_through():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    start_copying(llm)
    for layer in (llm.decoder.layers[number] for number in layers_without_rope(llm)):
        through = layer.self_attn.o_proj.weight @ layer.self_attn.v_proj.weight
        torch.testing.assert_close(through, 0.5 * torch.eye(llm.width), atol=1e-5, rtol=0)


def test_guidance_is_what_a_head_misses_of_the_words_frames():
    """Queries and keys set by hand: the last layer's head looks where it should, the other one everywhere."""
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    guidance = Guidance(llm)
    reading = Reading("i met", [(ASR_INSTRUCTION, "i met")])
    row = Stretched([3, SILENCE, 4, 4], [0, SILENCE, 1, 1])
    prefix, asked = len(llm.prompt.prefix), len(llm.prompt.question(ASR_INSTRUCTION))
    first, total = prefix + 4 + asked - 1, prefix + 4 + asked + 2
    assert guidance.layers == [2, 4]
    for layer in guidance.layers:
        queries, keys = torch.zeros(1, total, llm.width), torch.zeros(1, total, llm.width)
        if layer == 4:
            queries[0, first, 0] = queries[0, first + 1, 1] = 1e3
            keys[0, prefix, 0] = keys[0, prefix + 2, 1] = 1e3  # one of the second word's two frames is enough
        guidance.seen |= {(layer, "q_proj"): queries, (layer, "k_proj"): keys}
    everywhere = [math.log(prefix + 4), math.log((prefix + 4) / 2)]
    assert guidance([row], [reading]).item() == pytest.approx(sum(everywhere) / 4, abs=1e-4)
    assert guidance([row], [Reading("i met", [("who spoke first", "ann")])]).item() == 0.0


def test_guidance_reads_the_latest_pass():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    guidance, rng = Guidance(llm), random.Random(0)
    reading = Reading("i met peter", [(ASR_INSTRUCTION, "i met peter")])
    row = stretched(llm, reading.text, rng)
    speech = as_speech([row], llm.embedding.weight, torch.zeros(llm.width), 0.1)
    SpeechLLM(Encoder(), Adapter(), llm)(speech, [[None]], [llm.prompt.training(reading.turns)])
    guidance([row], [reading]).backward()
    attentions = [llm.decoder.layers[number].self_attn for number in guidance.layers]
    for projection in (p for a in attentions for p in (a.q_proj, a.k_proj)):
        heads = projection.weight.grad.unflatten(0, (-1, guidance.head)).abs().sum((1, 2))
        assert heads[0] > 0
    assert attentions[1].q_proj.weight.grad[guidance.head :].abs().max() == 0  # the last layer's other heads are free


def test_weights_are_written_where_from_pretrained_finds_them(tmp_path):
    folder = tmp_path / "llm"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    trained = pretrain(folder, steps=3, frames=60, longest=12, highest=1e-3, seed=0)
    loaded = LLM(str(folder))
    loaded.build()
    for name, weight in trained.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight.half().float(), msg=name)


@pytest.mark.parametrize(("pretrained", "reads"), [(True, True), (False, False)])
@pytest.mark.parametrize("words", [8, 40])
def test_the_weights_that_come_along_read_sentences_of_another_split(pretrained, reads, words):
    llm = LLM(str(TINY), pretrained=pretrained)
    llm.build()
    loss = held_out(SpeechLLM(Encoder(), Adapter(), llm), words)  # a word of the grammar at random costs 5.5
    assert (loss < 1.0) == reads
    assert math.isfinite(loss)
