"""Stretched texts: every word is where they say it is."""

import random

from experiments.tiny_models.pseudo_frames import (
    FRAME_RATE,
    SILENCE,
    Asked,
    Stretched,
    cut_up,
    misunderstood,
    piece,
    stretch,
)
from speech_xl.extensions.timestamps.marks import TIMED_ASR_INSTRUCTION


def test_pieces_are_whole_utterances():
    spoken = ["a b c", "d e", "f g h i", "j"]
    assert piece(spoken, 1, 6) == ["d e", "f g h i"]
    assert piece(spoken, 1, 5) == ["d e"]
    assert piece(spoken, 2, 2) == ["f g"]
    assert " ".join(cut_up(random.Random(0), list("abcdefgh") * 9)).split() == list("abcdefgh") * 9


def test_stretching_keeps_every_token_in_order_and_says_where_each_is():
    tokens, letters = [5, 9, 9, 7, 5], [3, 1, 8, 12, 4]
    others = told = late = 0
    for seed in range(100):
        frames = stretch([(tokens[:2], letters[:2]), (tokens[2:], letters[2:])], random.Random(seed), 190)
        assert len(frames.ids) == len(frames.places)
        assert all(i == SILENCE for i, p in zip(frames.ids, frames.places, strict=True) if p == SILENCE)
        spoken = [place for place in frames.places if place != SILENCE]
        assert spoken == sorted(spoken) and set(spoken) == set(range(5))
        assert all(spoken.count(place) <= 1.5 * letters[place] + 1 for place in range(5))
        assert frames.firsts == [0, 2]
        for token, begin in enumerate(frames.begins):
            assert set(frames.places[:begin]) <= {SILENCE, *range(token)}
            assert set(frames.places[begin:]) <= {SILENCE, *range(token, 5)}
        assert (frames.offset + len(frames)) / FRAME_RATE <= 190
        told += len(spoken)
        others += sum(p != SILENCE and i != tokens[p] for i, p in zip(frames.ids, frames.places, strict=True))
        late += frames.offset > 0
    assert 0.02 < others / told < 0.12  # a few frames are misheard, and a few words misunderstood
    assert 30 < late < 70  # half of them far from the start


def test_the_longest_texts_end_before_the_last_second_that_has_a_mark():
    for seed in range(30):
        frames = stretch([([5] * 9, [6] * 9)] * 45, random.Random(seed), 190)  # 405 words of six letters
        assert len(frames) / FRAME_RATE < 190


def test_twice_the_frame_rate_takes_twice_the_frames_and_tells_the_same_seconds():
    def frames(rate: float) -> int:
        rows = [stretch([([5] * 9, [6] * 9)] * 9, random.Random(seed), 190, rate) for seed in range(60)]
        assert all((row.offset + len(row)) / rate <= 190 for row in rows)
        return sum(map(len, rows))

    assert 1.9 < frames(2 * FRAME_RATE) / frames(FRAME_RATE) < 2.1
    row = Stretched([3, 4, 5], [0, 1, 2], [0, 9, 26], [0, 2], offset=25, rate=25.0)
    assert row.transcript(["i met", "peter"], 0.4).answer == "[0.8] i met [2.0] peter"


def test_transcripts_say_when_utterances_begin():
    timed = Stretched([3, 4, 5], [0, 1, 2], [0, 9, 26], [0, 2], offset=25).transcript(["i met", "peter"], 1.0)
    assert timed == Asked(TIMED_ASR_INSTRUCTION, "[2] i met [4] peter", [[0], [0], [0], [1], [2], [2], [2]])


def test_transcripts_say_a_second_once():
    stretched, words = Stretched([3, 4, 5], [0, 1, 2], [0, 5, 13], [0, 1, 2]), ["one", "two", "six"]
    timed = stretched.transcript(words, 1.0)
    assert timed == Asked(TIMED_ASR_INSTRUCTION, "[0] one two [1] six", [[0], [0], [0], [1], [2], [2], [2]])
    assert stretched.transcript(words, 0.2).answer == "[0.0] one [0.4] two [1.0] six"


def test_misunderstood_words_are_others_of_the_text_or_nothing():
    spoken = list(range(1000))
    assert misunderstood(spoken, 0.0, random.Random(0)) == spoken
    heard = misunderstood(spoken, 0.2, random.Random(0))
    wrong = [h for h, s in zip(heard, spoken, strict=True) if h != s]
    assert 150 < len(wrong) < 250
    assert 0.4 < wrong.count(SILENCE) / len(wrong) < 0.6 and set(wrong) <= {SILENCE, *spoken}
