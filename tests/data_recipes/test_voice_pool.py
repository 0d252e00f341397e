"""VoicePool: answers take turns, speakers too, and few utterances are enough where they suffice."""

import random
from collections import Counter
from pathlib import Path

from data_recipes.voice_corpora import Clip
from data_recipes.voice_pool import VoicePool, in_turns, order_speakers


def test_turns_hold_every_speaker_and_the_end_that_was_asked_for():
    for seed in range(300):
        rng = random.Random(seed)
        left = dict.fromkeys("abc"[: rng.randint(2, 3)], rng.randint(2, 5))
        length, same = rng.randint(len(left) + 1, 8), rng.random() < 0.5
        turns = order_speakers(left, length, same, rng)
        assert len(turns) == min(length, sum(left.values())) and set(turns) == set(left)
        assert turns[0] == "a" and (turns[-1] == "a") == same
        assert all(count <= left[speaker] for speaker, count in Counter(turns).items())


def test_each_choice_comes_once_a_round():
    row = [in_turns("abc", place, "key") for place in range(30)]
    assert all(sorted(row[i : i + 3]) == ["a", "b", "c"] for i in range(0, 30, 3))
    assert len({tuple(row[i : i + 3]) for i in range(0, 30, 3)}) > 2


def test_speakers_with_few_utterances_are_drawn_where_they_suffice():
    counts = {("F", "a"): 1, ("F", "b"): 5, ("M", "c"): 2, ("M", "d"): 6}
    clips = [
        Clip(Path(f"{speaker}{i}"), "x", speaker, gender, "adult", "German", emotion)
        for (gender, speaker), count in counts.items()
        for emotion in ("anger", "fear")
        for i in range(count)
    ]
    pool = VoicePool("x", clips, "emotion")
    assert pool.longest_alone(6) == 5 and list(pool.mixed_lengths(6)) == [4, 5, 6]
    alone = [pool.draw_alone(place, "key", 6, random.Random(place)) for place in range(100)]
    mixed = [pool.draw_mixed(place, "key", 6, random.Random(place)) for place in range(180)]
    assert Counter(len(said) for said in alone) == dict.fromkeys(range(1, 6), 20)
    assert {clip.speaker for said in alone for clip in said} == set("abcd")
    assert Counter(len(said) for said in mixed if len({c.speaker for c in said}) == 1) == dict.fromkeys((4, 5, 6), 20)
