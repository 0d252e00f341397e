"""Utterances stretched over frames as speech is, and what is asked about them: what a tiny LLM reads.

Nothing is heard: a frame is the id of a word's token or silence. `pretraining_texts.py` says where the texts come from.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from data_recipes.session_truths import Asked
from speech_xl.data.windows import TICK, Span
from speech_xl.extensions.timestamps.marks import TIMED_ASR_INSTRUCTION, time_mark

SILENCE = -1  # where a frame holds no word
LONGEST_UTTERANCE = 14  # words
FRAME_RATE = 12.5  # Hz, unless another is given
MISUNDERSTOOD = 0.12  # share of words, at most, that sound like another one or like nothing from begin to end


@dataclass(frozen=True)
class Reading:
    """What is spoken, an utterance each, and what is asked about it: nothing means a transcript, with a time mark for
    each utterance or for each word."""

    utterances: list[str]
    asked: list[Asked] = field(default_factory=list)
    by_words: bool = False
    links: dict[int, int] = field(default_factory=dict)  # from a number's words to who gives it, as places of words

    @property
    def marked(self) -> list[str]:
        """What may have a time mark of its own."""
        return " ".join(self.utterances).split() if self.by_words else self.utterances

    @property
    def words(self) -> int:
        return sum(len(text.split()) for text in self.utterances)


@dataclass(frozen=True)
class Stretched:
    """Utterances as frames: the token id of every frame or `SILENCE`, which of all tokens it is or `SILENCE`; the frame
    at which each token begins; and the first token of whatever may have a time mark, utterances or words."""

    ids: list[int]
    places: list[int]
    begins: list[int]
    firsts: list[int]
    offset: int = 0  # frame of the whole audio at which these begin
    rate: float = FRAME_RATE  # Hz
    links: dict[int, int] = field(default_factory=dict)  # as in `Reading`, places of tokens

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def seconds(self) -> Span:
        """The seconds of the whole audio at which these frames begin and end."""
        return self.offset / self.rate, (self.offset + len(self)) / self.rate

    def transcript(self, marked: list[str], step: float, span: Span = (0.0, math.inf)) -> Asked:
        """The transcript with time marks in steps of `step` seconds before the texts that may have one, told by their
        first tokens; of a span of seconds, what begins in it."""
        texts, evidence = [], []
        lasts = [*self.firsts[1:], max(len(self.begins), max(self.places, default=0) + 1)]
        before = ""
        for text, first, last in zip(marked, self.firsts, lasts, strict=True):
            mark = time_mark((self.offset + self.begins[first]) / self.rate, step)
            if not span[0] - TICK <= float(mark[1:-1]) < span[1] - TICK:
                continue
            if mark != before:
                texts.append(mark)
                evidence += [[first], [first]]  # a mark is two tokens
            texts.append(text)
            evidence += [[place] for place in range(first, last)]
            before = mark
        return Asked(TIMED_ASR_INSTRUCTION, " ".join(texts), evidence)


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


def stretch(
    utterances: list[tuple[list[int], list[int]]], rng: random.Random, seconds: float, rate: float = FRAME_RATE
) -> Stretched:
    """Tokens over about as many frames as they have letters, some silent; utterances are (tokens [N], letters [N]).

    seconds: where the latest frame may be; rate: frames a second, at twice `FRAME_RATE` twice as many for a letter.
    """
    many = rate / FRAME_RATE

    def silence(fewest: int, most: int) -> list[int]:
        return [SILENCE] * rng.randint(round(many * fewest), round(many * most))

    peaked = rng.random()  # from steady frames to one frame a word, as CTC likes them
    whole = sum(sum(letters) for _, letters in utterances)
    pause = many * (sum(len(letters) for _, letters in utterances) * 0.2 + len(utterances) * 7.5)  # frames, about
    pace = min(many * rng.uniform(0.6, 1.2), (0.9 * seconds * rate - pause) / whole)  # frames a letter
    places = silence(0, 10)
    begins, firsts, place = [], [], 0
    for _, letters in utterances:
        firsts.append(place)
        for long in letters:
            begins.append(len(places))
            length = max(1, round(long * pace * rng.uniform(0.8, 1.2)))
            sure = rng.randrange(length)
            places += [place if i == sure or rng.random() > peaked else SILENCE for i in range(length)]
            if rng.random() < 0.1:
                places += silence(1, 3)
            place += 1
        places += silence(3, 12)
    spoken = [token for tokens, _ in utterances for token in tokens]
    misheard = rng.uniform(0.0, 0.04)  # share of frames that sound like another word
    heard = misunderstood(spoken, rng.uniform(0.0, MISUNDERSTOOD), rng)
    ids = [SILENCE if p == SILENCE else rng.choice(spoken) if rng.random() < misheard else heard[p] for p in places]
    room = max(0, round(seconds * rate) - len(ids))
    return Stretched(ids, places, begins, firsts, rng.randint(0, room) if rng.random() < 0.5 else 0, rate)


def misunderstood(spoken: list[int], share: float, rng: random.Random) -> list[int]:
    """Tokens as a recogniser hands them on: some are another one of the text, some `SILENCE`. What was meant has to be
    read out of the words around them."""
    return [token if rng.random() >= share else rng.choice([rng.choice(spoken), SILENCE]) for token in spoken]
