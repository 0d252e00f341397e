"""Questions about read speech: mentions are true and balanced word by word, captions count people."""

import random
from collections import Counter

import pytest
from lhotse import SupervisionSegment

from data_recipes.session_truths import caption, mention_questions, people

SHARED = ["apple", "bridge", "candle", "dragon", "engine", "forest"]


def texts_of(seed: int) -> dict[str, list[str]]:
    """From one session to eighty, some with words of their own only, some with words that others say too."""
    rng = random.Random(seed)
    sessions = rng.choice([1, 2, 3, 80])
    own = [
        [f"own{chr(97 + i // 26)}{chr(97 + i % 26)}{k}" for k in "abc"[: rng.randint(0, 3)]] for i in range(sessions)
    ]
    return {f"s{i}": [" ".join(rng.sample(SHARED, 1) + words + ["of", "it's"])] for i, words in enumerate(own)}


@pytest.mark.parametrize("seed", range(40))
def test_mentions_are_true_and_balanced_for_every_word(seed):
    texts = texts_of(seed)
    questions = mention_questions(texts, random.Random(seed), per_session=2)
    assert list(questions) == list(texts)
    answers: dict[str, Counter] = {}
    for session, entries in questions.items():
        assert len({q["question"] for q in entries}) == len(entries) <= 4
        for entry in entries:
            word = entry["question"].removeprefix("was the word ").removesuffix(" said")
            assert entry["answer"] == ("yes" if word in texts[session][0].split() else "no")
            assert entry["kind"] == "mention" and len(word) >= 4 and word.isalpha()
            answers.setdefault(word, Counter())[entry["answer"]] += 1
    assert all(c["yes"] == c["no"] for c in answers.values())
    if len(texts) == 1:
        assert not answers  # nobody else to be asked the word with the answer no


def test_most_words_find_a_place_in_a_large_split():
    texts = {
        f"s{i}": [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}x word{chr(97 + i // 26)}{chr(97 + i % 26)}y"]
        for i in range(100)
    }
    questions = mention_questions(texts, random.Random(0), per_session=2)
    assert sum(len(entries) for entries in questions.values()) >= 396


def test_common_words_are_not_asked_for():
    rare = {1: "rarity", 2: "oddity"}
    texts = {f"s{i}": [("common " if i % 2 else "usual ") + rare.get(i, "")] for i in range(30)}
    asked = {q["question"] for entries in mention_questions(texts, random.Random(0), 2).values() for q in entries}
    assert asked == {"was the word rarity said", "was the word oddity said"}


@pytest.mark.parametrize(
    ("genders", "expected"),
    [
        ("F", "one woman reads aloud"),
        ("MM", "two men read aloud"),
        ("FMF", "one man and two women read aloud"),
        ("F?", "two speakers read aloud"),
        ("?", "one speaker reads aloud"),
    ],
)
def test_captions(genders, expected):
    said = [
        SupervisionSegment(f"u{turn}-{i}", "r", 0.0, 1.0, speaker=str(i), gender=None if gender == "?" else gender)
        for turn in range(2)
        for i, gender in enumerate(genders)
    ]
    assert caption(said) == expected


def test_people_of_several_kinds_are_counted():
    assert people(["child", "woman", "child"]) == "one woman and two children"
    assert people(["child", "woman", "man"]) == "one man, one woman and one child"
