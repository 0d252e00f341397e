"""Where the texts come from that a tiny LLM reads: the grammar, or the transcripts of any corpus.

Either offers transcripts, and dialogues with questions about what is said.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from jsonargparse import ArgumentParser
from lhotse import MonoCut
from omegaconf import OmegaConf

import data_recipes.corpora  # noqa: F401  (so that their plain class names are enough)
from data_recipes.grammar import Sentence, draw_cast, draw_turns, make_caption, make_questions, vocabulary
from data_recipes.session_truths import NOWHERE, Asked, mention_text
from experiments.tiny_models.pseudo_frames import Reading, cut_up, piece
from speech_xl.data.corpus import Corpus
from speech_xl.data.tasks import CAPTION_INSTRUCTION
from speech_xl.run.configs import ConfigError

RANDOM = 0.25  # share of transcripts that are random words
FEW = (3, 12)  # different words of a text that says the same few again and again
MOST_QUESTIONS = 16  # a sample's, about one text of a corpus
READ_PAIRS = 4  # words that were said, and as many that were not, that a text of the grammar is asked for at most
TWICE = ("number", "count")  # kinds of question that are asked again: they are learned last
FEWEST_ASKED = 4  # words of a text that a corpus asks about in its own way
WORDS_A_TURN = 16  # of the grammar's sessions, at least
HELD_OUT = 20  # one utterance in so many of a corpus is read by nobody but `held_out`


Ask = Callable[[list[str], random.Random], list[Asked]]


class Readings(Protocol):
    """Endless readings. `held_out` gives texts that are never trained on."""

    def transcripts(self, rng: random.Random, words: int, held_out: bool = False) -> Iterator[Reading]:
        """Random words and pieces of sessions to be transcribed, half to all of `words` long."""
        ...

    def dialogues(self, rng: random.Random, words: int) -> Iterator[Reading]:
        """Sessions of up to about `words` words, with questions about them or a caption."""
        ...


class GrammarReadings:
    """Sessions of the embedded corpus's grammar: the train split's sentences, or the dev split's.

    mark_words: words have time marks of their own, not utterances.
    few_words: share of transcripts that are the same few words again and again, so that only times tell the place.
    """

    def __init__(self, mark_words: bool = False, few_words: float = 0.0) -> None:
        self.mark_words, self.few_words = mark_words, few_words

    def transcripts(self, rng: random.Random, words: int, held_out: bool = False) -> Iterator[Reading]:
        known, split = vocabulary(), "dev" if held_out else "train"
        while True:
            length = rng.randint(-(-words // 2), words)
            drawn = rng.random()
            if drawn < RANDOM:
                chosen = cut_up(rng, rng.choices(known, k=length))
            elif drawn < RANDOM + (1 - RANDOM) * self.few_words:
                chosen = cut_up(rng, rng.choices(rng.sample(known, rng.randint(*FEW)), k=length))
            else:
                spoken = [s.text for s in session(rng, words // 8, split)]
                chosen = piece(spoken, rng.randrange(len(spoken)), length)
            yield Reading(chosen, by_words=self.mark_words)

    def dialogues(self, rng: random.Random, words: int) -> Iterator[Reading]:
        while True:
            sentences = session(rng, words // WORDS_A_TURN, "train")
            if rng.random() < 0.15:
                asked = [Asked(CAPTION_INSTRUCTION, make_caption(sentences))]
            else:
                drawn = make_questions(sentences, rng, READ_PAIRS)
                drawn += [q for q in drawn if q["kind"] in TWICE]
                asked = [Asked(q["question"], q["answer"], *evidence_of(q, sentences)) for q in drawn]
                rng.shuffle(asked)
            yield Reading([s.text for s in sentences], asked, links=links_of(sentences))


def session(rng: random.Random, more: int, split: str) -> list[Sentence]:
    """Sentences of one to four people, two each and up to `more`."""
    cast = draw_cast(rng, rng.randint(1, 4))
    return draw_turns(rng, cast, 2 * len(cast) + rng.randint(0, more), split)


def numbers_in(sentences: Sequence[Sentence]) -> dict[str, tuple[int, range]]:
    """Of who gives a number: the place where the sentence says the name, and those of the number's words."""
    found, begin = {}, 0
    for sentence in sentences:
        words = sentence.text.split()
        if sentence.kind == "number":
            at = begin + next(i for i in range(2, len(words)) if words[i - 2 : i] == ["number", "is"])
            found[sentence.speaker] = begin, range(at, at + len(sentence.slots["number"].split()))
        begin += len(words)
    return found


def links_of(sentences: Sequence[Sentence]) -> dict[int, int]:
    """From the words of each number to who gives it, the first word of the sentence."""
    return {place: giver for giver, places in numbers_in(sentences).values() for place in places}


def evidence_of(question: dict[str, str], sentences: list[Sentence]) -> tuple[list[list[int]], list[int]]:
    """For each word of the answer the places of the words that tell it, or `NOWHERE`, none where it takes counting; and
    the places of the words that lead to the first of these: to a number the name of who gives it."""
    words = [word for sentence in sentences for word in sentence.text.split()]
    if question["kind"] == "number":
        name = question["question"].split()[3]
        _, places = numbers_in(sentences)[name]
        return [[place] for place in places], [i for i, word in enumerate(words) if word == name]
    if question["kind"] == "first":
        return [[words.index(question["answer"])]], []
    if question["answer"] == "yes":
        asked = question["question"].split()[-2]
        return [[place for place, word in enumerate(words) if word == asked]], []
    return ([[NOWHERE]] if question["answer"] == "no" else []), []


def add_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """`--corpus` and `--corpus_dir`, for `texts_of`."""
    parser.add_argument("--corpus", type=Path, metavar="YAML", help="overlay with the corpus to read the texts of")
    parser.add_argument("--corpus_dir", metavar="DIR", help="where that corpus lies, if it isn't to be downloaded")


def corpus_of(overlay: Path, corpus_dir: str | None) -> Corpus:
    """The corpus of an overlay such as experiments/digits.yaml, downloaded or made where it isn't
    there."""
    given = OmegaConf.load(overlay)
    corpus = OmegaConf.select(given, "data.corpus")
    if corpus is None:
        raise ConfigError(f"{overlay}: has no data.corpus; give an overlay such as experiments/data/spoken_digits.yaml")
    if corpus_dir is not None:
        OmegaConf.update(corpus, "init_args.corpus_dir", corpus_dir)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--corpus", type=Corpus)
    made = parser.instantiate(parser.parse_object({"corpus": OmegaConf.to_container(corpus)})).corpus
    made.prepare()
    return made


def texts_of(corpus: Corpus) -> list[str]:
    """Utterances of a corpus's train split, in their order."""
    cuts = cast(Iterable[MonoCut], corpus.cuts("train"))
    return [s.text for cut in cuts for s in sorted(cut.supervisions, key=lambda s: s.start) if s.text]


@runtime_checkable
class AsksAboutWords(Protocol):
    """A corpus with questions that the words of any utterances tell by themselves."""

    def ask(self, texts: list[str], rng: random.Random) -> list[Asked]: ...


class CorpusReadings:
    """The utterances of a corpus in their order, and questions whether a word was said.

    One utterance in `HELD_OUT` is kept back. Words are drawn by the types of the corpus where they are random, so rare
    ones come as often as others.

    mark_words: words have time marks of their own, not utterances.
    blends: share of the random words that are the head of one and the tail of another, for a corpus to whose words
            people will add theirs.
    ask: what to ask about utterances, if not whether a word was said.
    """

    def __init__(
        self, utterances: list[str], mark_words: bool = False, blends: float = 0.0, ask: Ask | None = None
    ) -> None:
        if len(utterances) < 2 * HELD_OUT:
            raise ConfigError(f"{len(utterances)} utterances; use a corpus with {2 * HELD_OUT} or more to train on")
        self.held_out = utterances[::HELD_OUT]
        self.utterances = [text for place, text in enumerate(utterances) if place % HELD_OUT]
        self.mark_words, self.blends, self.ask = mark_words, blends, ask
        self.words = sorted({word for text in self.utterances for word in text.split()})

    def transcripts(self, rng: random.Random, words: int, held_out: bool = False) -> Iterator[Reading]:
        spoken = self.held_out if held_out else self.utterances
        while True:
            length = rng.randint(-(-words // 2), words)
            if rng.random() < RANDOM and not held_out:
                chosen = cut_up(rng, [self.word(rng) for _ in range(length)])
            else:
                chosen = piece(spoken, rng.randrange(len(spoken)), length)
            yield Reading(chosen, by_words=self.mark_words)

    def word(self, rng: random.Random) -> str:
        """One of the corpus, or a blend of two."""
        if rng.random() >= self.blends:
            return rng.choice(self.words)
        head, tail = rng.choices(self.words, k=2)
        return head[: rng.randint(1, len(head))] + tail[rng.randrange(len(tail)) :]

    def dialogues(self, rng: random.Random, words: int) -> Iterator[Reading]:
        """What the corpus itself asks about texts; else was a word said, as often yes as no."""
        while True:
            begin = rng.randrange(len(self.utterances))
            if self.ask:
                spoken = piece(self.utterances, begin, round(FEWEST_ASKED * (words / FEWEST_ASKED) ** rng.random()))
                asked = self.ask(spoken, rng)
                yield Reading(spoken, rng.sample(asked, min(MOST_QUESTIONS, len(asked))))
            else:
                spoken = self.utterances[begin : begin + rng.randint(1, max(1, words // WORDS_A_TURN))]
                yield Reading(spoken, [mentioned(rng, spoken, self.words) for _ in range(MOST_QUESTIONS)])


def readings_of(corpus: Corpus, mark_words: bool, blends: float) -> CorpusReadings:
    """The texts of a corpus's train split to be read, with its own questions where it has any."""
    ask = corpus.ask if isinstance(corpus, AsksAboutWords) else None
    return CorpusReadings(texts_of(corpus), mark_words, blends, ask)


def mentioned(rng: random.Random, spoken: Sequence[str], known: Sequence[str]) -> Asked:
    """Was a word said: one of the text, or one of the corpus that it hasn't."""
    chosen = [word for text in spoken for word in text.split()]
    if rng.random() < 0.5:
        return Asked(mention_text(rng.choice(chosen)), "yes")
    word = rng.choice(known)
    return Asked(mention_text(word), "yes" if word in chosen else "no")
