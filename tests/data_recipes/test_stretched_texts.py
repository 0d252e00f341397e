"""Texts for the tiny LLM: true, of the train split, and stretched so that every word is where they say it is."""

import itertools
import random

from data_recipes.grammar import split_of
from data_recipes.stretched_texts import (
    FRAME_RATE,
    SECONDS_HEARD,
    SILENCE,
    Asked,
    Stretched,
    cut_up,
    dialogues,
    misunderstood,
    piece,
    stretch,
    transcripts,
)
from data_recipes.tokenizer import SECONDS
from speech_xl.data.tasks import CAPTION_INSTRUCTION, TIMED_ASR_INSTRUCTION


def test_transcripts_are_no_longer_than_asked_and_have_no_questions():
    for words in (2, 12, 120):
        drawn = list(itertools.islice(transcripts(random.Random(0), words), 100))
        assert all(0 < reading.words <= words and all(reading.utterances) and not reading.asked for reading in drawn)
    assert {len(reading.utterances) for reading in drawn} > set(range(5, 10))


def test_dialogues_ask_about_whole_sessions_and_their_evidence_says_the_answer():
    drawn = list(itertools.islice(dialogues(random.Random(0), 8), 300))
    asked = {turn.instruction for reading in drawn for turn in reading.asked}
    assert {CAPTION_INSTRUCTION, "who spoke first", "how many speakers are there"} <= asked
    for reading in drawn:
        words = " ".join(reading.utterances).split()
        for turn in reading.asked:
            assert all(0 <= place < len(words) for places in turn.evidence for place in places)
            told = [{words[place] for place in places} for places in turn.evidence]
            if turn.instruction.startswith("what number did"):
                said = " ".join(word for (word,) in told)
                name = turn.instruction.split()[3]
                assert said == turn.answer and f"{name} here" in " ".join(words)
                here = [i for i in range(turn.evidence[0][0]) if words[i : i + 2] == [name, "here"]]
                assert " ".join(words[here[-1] : turn.evidence[0][0]]).endswith("number is")
            elif turn.instruction == "who spoke first":
                assert told == [{turn.answer}] and turn.evidence[0][0] < len(reading.utterances[0].split())
            elif turn.answer == "yes":
                assert told == [{turn.instruction.split()[-2]}]
            else:
                assert told == []


def test_pieces_are_whole_utterances():
    spoken = ["a b c", "d e", "f g h i", "j"]
    assert piece(spoken, 1, 6) == ["d e", "f g h i"]
    assert piece(spoken, 1, 5) == ["d e"]
    assert piece(spoken, 2, 2) == ["f g"]
    assert " ".join(cut_up(random.Random(0), list("abcdefgh") * 9)).split() == list("abcdefgh") * 9


def test_sessions_are_of_the_train_split(monkeypatch):
    import data_recipes.stretched_texts as module

    seen = []
    original = module.draw_turns

    def spy(*args):
        sentences = original(*args)
        seen.extend(sentences)
        return sentences

    monkeypatch.setattr(module, "draw_turns", spy)
    list(itertools.islice(transcripts(random.Random(2), 60), 30))
    list(itertools.islice(dialogues(random.Random(2), 8), 30))
    assert seen and {split_of(sentence.text) for sentence in seen} == {"train"}


def test_stretching_keeps_every_token_in_order_and_says_where_each_is():
    tokens, letters = [5, 9, 9, 7, 5], [3, 1, 8, 12, 4]
    others = told = late = 0
    for seed in range(100):
        frames = stretch([(tokens[:2], letters[:2]), (tokens[2:], letters[2:])], random.Random(seed))
        assert len(frames.ids) == len(frames.places)
        assert all(i == SILENCE for i, p in zip(frames.ids, frames.places, strict=True) if p == SILENCE)
        spoken = [place for place in frames.places if place != SILENCE]
        assert spoken == sorted(spoken) and set(spoken) == set(range(5))
        assert all(spoken.count(place) <= 1.5 * letters[place] + 1 for place in range(5))
        assert frames.firsts == [0, 2]
        assert frames.begins[0] <= frames.places.index(0)
        assert set(frames.places[: frames.begins[1]]) <= {SILENCE, 0, 1}
        assert set(frames.places[frames.begins[1] :]) <= {SILENCE, 2, 3, 4}
        assert (frames.offset + len(frames)) / FRAME_RATE <= SECONDS_HEARD < SECONDS
        told += len(spoken)
        others += sum(p != SILENCE and i != tokens[p] for i, p in zip(frames.ids, frames.places, strict=True))
        late += frames.offset > 0
    assert 0.02 < others / told < 0.12  # a few frames are misheard, and a few words misunderstood
    assert 30 < late < 70  # half of them far from the start


def test_the_longest_texts_end_before_the_last_second_that_has_a_mark():
    for seed in range(30):
        frames = stretch([([5] * 9, [6] * 9)] * 45, random.Random(seed))  # 405 words of six letters
        assert len(frames) / FRAME_RATE < SECONDS_HEARD


def test_transcripts_say_when_utterances_begin():
    timed = Stretched([3, 4, 5], [0, 1, 2], [0, 26], [0, 2], offset=25).transcript(["i met", "peter"])
    assert timed == Asked(TIMED_ASR_INSTRUCTION, "[2] i met [4] peter", [[0], [0], [0], [1], [2], [2], [2]])


def test_misunderstood_words_are_others_of_the_text_or_nothing():
    spoken = list(range(1000))
    assert misunderstood(spoken, 0.0, random.Random(0)) == spoken
    heard = misunderstood(spoken, 0.2, random.Random(0))
    wrong = [h for h, s in zip(heard, spoken, strict=True) if h != s]
    assert 150 < len(wrong) < 250
    assert 0.4 < wrong.count(SILENCE) / len(wrong) < 0.6 and set(wrong) <= {SILENCE, *spoken}
