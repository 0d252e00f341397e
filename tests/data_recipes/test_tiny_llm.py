"""Pretraining of the tiny LLM: what it reads is true and of the train split, and its weights come back as they were."""

import itertools
import random
import shutil
from pathlib import Path

import pytest
import torch

from data_recipes.grammar import split_of
from data_recipes.tiny_llm import (
    SILENCE,
    as_speech,
    learning_rate,
    longest_words,
    pretrain,
    readings,
    start_copying,
    stretch,
)
from speech_xl.data.tasks import ASR_INSTRUCTION, CAPTION_INSTRUCTION
from speech_xl.model import LLM, Adapter, Encoder, SpeechLLM

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


def test_stretching_keeps_every_token_in_order_and_only_adds_silence():
    ids = [5, 9, 9, 7, 5]
    for seed in range(50):
        frames = stretch(ids, random.Random(seed))
        heard = [token for token in frames if token != SILENCE]
        assert 2 * len(ids) <= len(frames)
        assert [token for token, _ in itertools.groupby(heard)] == [5, 9, 7, 5]  # two nines touch or not: one run


def test_frames_without_noise_point_where_their_embedding_does():
    table = torch.randn(11, 32, generator=torch.Generator().manual_seed(0))
    speech = as_speech([[3, SILENCE, 4], [7]], table, torch.ones(32) + table[0], noise=0.0)
    assert speech.frames.shape == (2, 3, 32)
    assert speech.lengths.tolist() == [3, 1] and speech.intervals == [[3], [1]]
    nearest = torch.nn.functional.cosine_similarity(speech.frames[:, :, None], table, dim=-1).argmax(-1)
    assert (nearest[0, 0], nearest[0, 2], nearest[1, 0]) == (3, 4, 7)


def test_the_learning_rate_rises_stays_and_ends_at_nothing():
    rates = [learning_rate(step, 1000, 2e-3) for step in range(1001)]
    assert rates[0] == pytest.approx(2e-5) and rates[100] == rates[600] == pytest.approx(2e-3)
    assert rates[1000] == pytest.approx(0.0, abs=1e-9) and rates[800] == pytest.approx(1e-3)


def test_texts_grow_from_short_to_the_longest():
    lengths = [longest_words(step, 1000, 80) for step in range(1000)]
    assert lengths[0] == lengths[100] == 16 and lengths[600] == lengths[999] == 80
    assert lengths == sorted(lengths)


def test_what_the_last_layers_attend_to_passes_through():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    start_copying(llm)
    for layer in llm.decoder.layers[-2:]:
        through = layer.self_attn.o_proj.weight @ layer.self_attn.v_proj.weight
        torch.testing.assert_close(through, 0.5 * torch.eye(llm.width), atol=1e-5, rtol=0)


def test_weights_are_written_where_from_pretrained_finds_them(tmp_path):
    folder = tmp_path / "llm"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    trained = pretrain(folder, steps=3, frames=60, longest=12, highest=1e-3, seed=0)
    loaded = LLM(str(folder))
    loaded.build()
    for name, weight in trained.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight.half().float(), msg=name)


@pytest.mark.parametrize(("pretrained", "reads"), [(True, True), (False, False)])
def test_the_weights_that_come_along_read_sentences_of_another_split(pretrained, reads):
    torch.manual_seed(0)
    rng = random.Random(3)
    llm = LLM(str(TINY), pretrained=pretrained)
    llm.build()
    drawn = list(itertools.islice(readings(rng, 8, split="dev"), 24))
    ids = [llm.prompt.tokenizer(reading.text, add_special_tokens=False)["input_ids"] for reading in drawn]
    silence = 0.5 * llm.embedding.weight.detach().std() * torch.randn(llm.width)
    with torch.no_grad():
        speech = as_speech([stretch(row, rng) for row in ids], llm.embedding.weight, silence, noise=0.1)
        backbone = SpeechLLM(Encoder(), Adapter(), llm)
        out = backbone(speech, [[None]] * len(ids), [llm.prompt.training(reading.turns) for reading in drawn])
    loss = out.loss_sum / out.label_tokens  # a word of the grammar at random costs 5.5
    assert (loss < 1.5) == reads
    assert torch.isfinite(loss)
