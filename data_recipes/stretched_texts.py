"""What the tiny LLM reads: utterances stretched over frames as speech is, and what is asked about them.

Texts of one split of the grammar, and random words. Nothing is heard: a frame is the id of a word's token or silence.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from data_recipes.grammar import Sentence, draw_cast, draw_turns, make_caption, make_questions, vocabulary
from speech_xl.data.tasks import CAPTION_INSTRUCTION, TIMED_ASR_INSTRUCTION
from speech_xl.data.time_marks import time_mark

SILENCE = -1  # where a frame holds no word
RANDOM = 0.25  # share of transcripts that are random words
MOST_QUESTIONS = 8  # a sample's, about one text
LONGEST_UTTERANCE = 14  # words
FRAME_RATE = 12.5  # Hz
MISUNDERSTOOD = 0.12  # share of words, at most, that sound like another one or like nothing from begin to end
SECONDS_HEARD = 190  # where the latest frame may be


@dataclass(frozen=True)
class Asked:
    """A question or a caption about a reading, its answer, and for each word of the answer the words of the text that
    tell it, counted through; no words where nothing does by itself."""

    instruction: str
    answer: str
    evidence: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """What is spoken, an utterance each, and what is asked about it: nothing means a transcript."""

    utterances: list[str]
    asked: list[Asked] = field(default_factory=list)

    @property
    def words(self) -> int:
        return sum(len(text.split()) for text in self.utterances)


@dataclass(frozen=True)
class Stretched:
    """Utterances as frames: the token id of every frame or `SILENCE`, which of all tokens it is or `SILENCE`, and for
    each utterance the frame at which it begins and the place of its first token."""

    ids: list[int]
    places: list[int]
    begins: list[int]
    firsts: list[int]
    offset: int = 0  # frame of the whole audio at which these begin

    def __len__(self) -> int:
        return len(self.ids)

    def transcript(self, utterances: list[str]) -> Asked:
        """The timed transcript. A time mark is told by its utterance's first word."""
        texts, evidence = [], []
        lasts = [*self.firsts[1:], max(self.places) + 1]
        for text, begin, first, last in zip(utterances, self.begins, self.firsts, lasts, strict=True):
            texts += [time_mark((self.offset + begin) / FRAME_RATE), text]
            evidence += [[first], [first], *([place] for place in range(first, last))]  # a mark is two tokens
        return Asked(TIMED_ASR_INSTRUCTION, " ".join(texts), evidence)


def transcripts(rng: random.Random, words: int, split: str = "train") -> Iterator[Reading]:
    """Random words and pieces of sessions to be transcribed, half to all of `words` long."""
    known = vocabulary()
    while True:
        length = rng.randint(-(-words // 2), words)
        if rng.random() < RANDOM:
            yield Reading(cut_up(rng, rng.choices(known, k=length)))
            continue
        spoken = [s.text for s in session(rng, words // 8, split)]
        yield Reading(piece(spoken, rng.randrange(len(spoken)), length))


def dialogues(rng: random.Random, turns: int, split: str = "train") -> Iterator[Reading]:
    """Whole sessions of up to eight and `turns` utterances, with questions about them or a caption."""
    while True:
        sentences = session(rng, turns, split)
        if rng.random() < 0.15:
            asked = [Asked(CAPTION_INSTRUCTION, make_caption(sentences))]
        else:
            questions = [Asked(q["question"], q["answer"], told(q, sentences)) for q in make_questions(sentences, rng)]
            asked = rng.sample(questions, min(MOST_QUESTIONS, len(questions)))
        yield Reading([s.text for s in sentences], asked)


def session(rng: random.Random, more: int, split: str) -> list[Sentence]:
    """Sentences of one to four people, two each and up to `more`."""
    cast = draw_cast(rng, rng.randint(1, 4))
    return draw_turns(rng, cast, 2 * len(cast) + rng.randint(0, more), split)


def told(question: dict[str, str], sentences: list[Sentence]) -> list[list[int]]:
    """For each word of the answer the places of the words that tell it; none where it takes counting or absence."""
    words = [word for sentence in sentences for word in sentence.text.split()]
    if question["kind"] == "number":
        name = question["question"].split()[3]
        number = next(i for i, s in enumerate(sentences) if s.kind == "number" and s.speaker == name)
        begin = sum(len(s.text.split()) for s in sentences[:number])
        while words[begin - 2 : begin] != ["number", "is"]:
            begin += 1
        return [[begin + place] for place in range(len(question["answer"].split()))]
    if question["kind"] == "first":
        return [[words.index(question["answer"])]]
    if question["answer"] == "yes":
        asked = question["question"].split()[-2]
        return [[place for place, word in enumerate(words) if word == asked]]
    return []


def cut_up(rng: random.Random, words: list[str]) -> list[str]:
    """Words as utterances of one to 14, or of three at most: then every other token is a time mark's."""
    utterances = []
    longest = rng.choice([3, LONGEST_UTTERANCE])
    while words:
        size = rng.randint(1, longest)
        utterances.append(" ".join(words[:size]))
        words = words[size:]
    return utterances


def piece(spoken: list[str], first: int, words: int) -> list[str]:
    """Whole utterances from `first` on, no more than `words` in all; of one that is too long its beginning."""
    taken, left = [], words
    for text in spoken[first:]:
        left -= len(text.split())
        if left < 0:
            break
        taken.append(text)
    return taken or [" ".join(spoken[first].split()[:words])]


def stretch(utterances: list[tuple[list[int], list[int]]], rng: random.Random) -> Stretched:
    """Tokens over about as many frames as they have letters, some silent; utterances are (tokens [N], letters [N])."""
    peaked = rng.random()  # from steady frames to one frame a word, as CTC likes them
    whole = sum(sum(letters) for _, letters in utterances)
    pause = sum(len(letters) for _, letters in utterances) * 0.2 + len(utterances) * 7.5  # frames, about
    pace = min(rng.uniform(0.6, 1.2), (0.9 * SECONDS_HEARD * FRAME_RATE - pause) / whole)  # frames a letter
    places = [SILENCE] * rng.randint(0, 10)
    begins, firsts, place = [], [], 0
    for _, letters in utterances:
        begins.append(len(places))
        firsts.append(place)
        for long in letters:
            length = max(1, round(long * pace * rng.uniform(0.8, 1.2)))
            sure = rng.randrange(length)
            places += [place if i == sure or rng.random() > peaked else SILENCE for i in range(length)]
            if rng.random() < 0.1:
                places += [SILENCE] * rng.randint(1, 3)
            place += 1
        places += [SILENCE] * rng.randint(3, 12)
    spoken = [token for tokens, _ in utterances for token in tokens]
    misheard = rng.uniform(0.0, 0.04)  # share of frames that sound like another word
    heard = misunderstood(spoken, rng.uniform(0.0, MISUNDERSTOOD), rng)
    ids = [SILENCE if p == SILENCE else rng.choice(spoken) if rng.random() < misheard else heard[p] for p in places]
    room = max(0, round(SECONDS_HEARD * FRAME_RATE) - len(ids))
    return Stretched(ids, places, begins, firsts, rng.randint(0, room) if rng.random() < 0.5 else 0)


def misunderstood(spoken: list[int], share: float, rng: random.Random) -> list[int]:
    """Tokens as a recogniser hands them on: some are another one of the text, some `SILENCE`. What was meant has to be
    read out of the words around them."""
    return [token if rng.random() >= share else rng.choice([rng.choice(spoken), SILENCE]) for token in spoken]
