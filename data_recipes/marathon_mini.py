"""marathon_mini: a small benchmark with tasks named as AudioMarathon's (arXiv 2510.07293), from corpora people have.

It is no part of AudioMarathon: its sessions are a minute and a half at most, and its scores are not comparable with
published ones. It is there to be run where AudioMarathon's 59 GB are not.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile

from data_recipes.grammar import Sentence, draw_sentence, number_words
from data_recipes.librispeech_utterances import LibriSpeechUtterance
from data_recipes.longspeech_mini import TURN_SECONDS, spoken
from data_recipes.mini_benchmark import (
    SHORT_TOKENS,
    TRANSCRIPTION_TOKENS,
    MiniBenchmark,
    MiniPlan,
    Part,
    choice_prompt,
    choices_of,
)
from data_recipes.mini_librispeech import MiniLibriSpeech
from data_recipes.session_plan import draw_people, line_of
from data_recipes.spoken_digits import MEN, SpokenDigits, split_files
from data_recipes.voice_corpora import CORPORA, Clip, split_speakers
from data_recipes.voice_pool import in_turns
from speech_xl.data.items import Item
from speech_xl.data.sessions import draw_pauses

DIGIT_SECONDS = 1.0  # of a spoken digit with its pause, about
PAUSES = (0.2, 0.8)  # seconds around an utterance
EMOTIONS = ("anger", "happiness", "neutral", "sadness")  # of which EmoDB has most
AGES = {"child": "child up to fourteen", "adult": "adult of eighteen or more"}
SEXES = {"M": "man", "F": "woman"}
ENTITIES = (2, 5, 8, 11)  # names of people and cities in a session
TIMES = (1, 4, 7, 10)  # how often the digit asked for is said
FEWEST = 12  # sentences or digits, so that a session's length doesn't tell a count
ASKED = {
    "ER": "what emotion does the speaker show",
    "SAR": "how old are the speakers",
    "SGR": "is the speaker a man or a woman",
    "SER": "how many names of people and cities are mentioned",
}


class MarathonMini(MiniBenchmark):
    """Five kinds of sessions, as many of each:

    digits      spoken digits (FSDD, CC BY-SA 4.0): ASR, and digit_count, how often one of them is said
    entities    one voice tells facts (espeak-ng): SER, how many names of people and cities
    emotion     one emotion (EmoDB, CC0): ER
    age         children or adults (speechocean762, CC BY 4.0): SAR
    gender      one reader (LibriSpeech, CC BY 4.0): SGR

    All but ASR are questions with choices, which are in the prompt; the answer is a letter, each equally often.
    Recordings of digits, and the speakers of all else, are disjoint between the splits. Where a split has too few
    utterances of an emotion or an age to fill a session, they come again, in another order. Transcripts stand in the
    supervisions of digits alone.

    Args:
        root: where sessions are written.
        fsdd_dir: Free Spoken Digit Dataset; null: without digits.
        emodb_dir: EmoDB; null: without emotions.
        speechocean_dir: speechocean762; null: without ages.
        librispeech_dir: LibriSpeech or Mini LibriSpeech; null: without genders.
        train_sessions: of each kind; dev_sessions, test_sessions: likewise.
        min_seconds, max_seconds: of a session of dev and test, about.
        seed: draws the sessions.
    """

    name = "marathon_mini"
    version = 1

    def __init__(
        self,
        root: str = "data/marathon_mini",
        fsdd_dir: str | None = None,
        emodb_dir: str | None = None,
        speechocean_dir: str | None = None,
        librispeech_dir: str | None = None,
        train_sessions: int = 48,
        dev_sessions: int = 3,
        test_sessions: int = 10,
        min_seconds: float = 40.0,
        max_seconds: float = 70.0,
        seed: int = 0,
    ) -> None:
        folders = {
            "fsdd_dir": fsdd_dir,
            "emodb_dir": emodb_dir,
            "speechocean_dir": speechocean_dir,
            "librispeech_dir": librispeech_dir,
        }
        sessions = {"train": train_sessions, "dev": dev_sessions, "test": test_sessions}
        super().__init__(root, folders, sessions, min_seconds, max_seconds, seed)
        self.digits: dict[str, dict[int, dict[str, list[Path]]]] = {}
        self.clips: dict[str, dict[str, list[Clip]]] = {}
        self.readers: dict[str, dict[str, list[LibriSpeechUtterance]]] = {}

    def kinds(self) -> Mapping[str, Sequence[tuple[str, str]]]:
        return {
            "digits": [("fsdd_dir", "ASR"), ("fsdd_dir", "digit_count")],
            "entities": [],
            "emotion": [("emodb_dir", "ER")],
            "age": [("speechocean_dir", "SAR")],
            "gender": [("librispeech_dir", "SGR")],
        }

    def read(self) -> None:
        if (folder := self.folders["fsdd_dir"]) is not None:
            for split, files in split_files(SpokenDigits(corpus_dir=str(folder)).recordings_folder()).items():
                digits = self.digits.setdefault(split, {})
                for digit, speaker, path in files:
                    digits.setdefault(digit, {}).setdefault(speaker, []).append(path)
        for name, argument in (("emodb", "emodb_dir"), ("speechocean", "speechocean_dir")):
            if (folder := self.folders[argument]) is not None:
                known = CORPORA[name]
                self.clips[name] = split_speakers(known.title, known.read(folder), known.strata)
        if (folder := self.folders["librispeech_dir"]) is not None:
            for split, utterances in MiniLibriSpeech(corpus_dir=str(folder)).utterances()[0].items():
                readers = self.readers.setdefault(split, {})
                for one in utterances:
                    if one.gender in SEXES:
                        readers.setdefault(one.speaker, []).append(one)

    def plan(self, kind: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        name = f"{kind}-{split}-{place:04d}"
        if kind == "digits":
            return self._digits(name, split, place, seconds, rng)
        if kind == "entities":
            return self._entities(name, split, place, seconds, rng)
        if kind == "gender":
            return self._gender(name, split, place, seconds, rng)
        return self._clips(kind, name, split, place, seconds, rng)

    def _turn(self, values: Sequence, what: str, split: str, place: int):
        return in_turns(values, place, f"{self.seed}-{split}-{what}")

    def _digits(self, name: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        times = self._turn(TIMES, "times", split, place)
        length = max(FEWEST, round(seconds / DIGIT_SECONDS))
        asked = rng.randrange(10)
        others = [digit for digit in range(10) if digit != asked]
        drawn = [asked] * times + rng.choices(others, k=length - times)
        rng.shuffle(drawn)
        speaker = rng.choice(sorted(self.digits[split][asked]))
        parts = [
            Part(
                rng.choice(self.digits[split][digit][speaker]),
                number_words(digit),
                speaker,
                "M" if speaker in MEN else None,
            )
            for digit in drawn
        ]
        choices = choices_of([number_words(count) for count in TIMES])
        question = f"how many times was {number_words(asked)} said"
        text = " ".join(part.text for part in parts)
        items = [
            item("ASR", name, None, text, TRANSCRIPTION_TOKENS),
            chosen_item("digit_count", name, question, choices, number_words(times)),
        ]
        return MiniPlan(name, parts, draw_pauses(rng, length, 0.2, 0.9), items, words=True)

    def _entities(self, name: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        count = self._turn(ENTITIES, "entities", split, place)
        people = draw_people(rng, 1, split)
        ((speaker, person),) = people.items()
        sentences = sentences_with(rng, max(FEWEST, round(seconds / TURN_SECONDS)), count, speaker, split)
        parts = spoken([line_of(rng, person, one) for one in sentences])
        asked = chosen_item(
            "SER", name, ASKED["SER"], choices_of([number_words(n) for n in ENTITIES]), number_words(count)
        )
        return MiniPlan(name, parts, draw_pauses(rng, len(parts)), [asked], words=False)

    def _clips(self, kind: str, name: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        """One emotion, or one age; speakers take turns at random."""
        if kind == "emotion":
            clips, answer = self.clips["emodb"][split], self._turn(EMOTIONS, kind, split, place)
            own = [clip for clip in clips if clip.emotion == answer]
            choices, task = choices_of(EMOTIONS), "ER"
        else:
            clips, age = self.clips["speechocean"][split], self._turn(sorted(AGES), kind, split, place)
            own = [clip for clip in clips if clip.age == age]
            choices, task, answer = choices_of(list(AGES.values())), "SAR", AGES[age]
        if not own:
            raise ValueError(f"MarathonMini: {split} has no utterance with the {kind} {answer}; use the whole corpus")
        chosen = fill(own, seconds, rng)
        parts = [Part(one.path, one.text, one.speaker, one.gender, one.language) for one in chosen]
        asked = chosen_item(task, name, ASKED[task], choices, answer)
        return MiniPlan(name, parts, draw_pauses(rng, len(parts), *PAUSES), [asked], words=False)

    def _gender(self, name: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        gender = self._turn(sorted(SEXES), "gender", split, place)
        readers = self.readers[split]
        own = sorted(reader for reader, utterances in readers.items() if utterances[0].gender == gender)
        if not own:
            raise ValueError(
                f"MarathonMini: no reader of {split} is a {SEXES[gender]}; use the whole part of LibriSpeech"
            )
        parts, length = [], 0.0
        utterances = readers[rng.choice(own)]
        for one in rng.sample(utterances, len(utterances)):
            if parts and length + one.seconds > seconds:
                break
            parts.append(Part(one.recording, one.text, one.speaker, one.gender))
            length += one.seconds + sum(PAUSES) / 2
        asked = chosen_item("SGR", name, ASKED["SGR"], choices_of(list(SEXES.values())), SEXES[gender])
        return MiniPlan(name, parts, draw_pauses(rng, len(parts), *PAUSES), [asked], words=False)


def item(task: str, name: str, prompt: str | None, answer: str, tokens: int = SHORT_TOKENS, **more) -> Item:
    """An item about the session of this name."""
    return Item(
        benchmark=MarathonMini.name,
        id=f"{task}/{name}",
        task=task,
        prompt=prompt,
        answer=answer,
        max_tokens=tokens,
        language="en",
        **more,
    )


def chosen_item(task: str, name: str, question: str, choices: Mapping[str, str], answer: str) -> Item:
    """One with choices, whose answer is a letter."""
    letter = next(letter for letter, text in choices.items() if text == answer)
    return item(task, name, choice_prompt(question, choices), letter, choices=choices)


def fill(clips: Sequence[Clip], seconds: float, rng: random.Random) -> list[Clip]:
    """Clips in a random order, and again in another, until they last so long with their pauses."""
    chosen: list[Clip] = []
    length = 0.0
    while True:
        for clip in rng.sample(list(clips), len(clips)):
            length += soundfile.info(str(clip.path)).duration + sum(PAUSES) / 2
            if chosen and length > seconds:
                return chosen
            chosen.append(clip)


def entities_in(sentence: Sentence) -> int:
    """Names of people and cities in a fact."""
    return sum(slot in ("name", "city") for slot in sentence.slots)


def sentences_with(rng: random.Random, length: int, entities: int, speaker: str, split: str) -> list[Sentence]:
    """So many facts with so many names of people and cities in all, none of them said twice."""
    counts = [0] * length
    for _ in range(entities):
        place = rng.choice([place for place, count in enumerate(counts) if count < 2])
        counts[place] += 1
    drawn: list[Sentence] = []
    while len(drawn) < length:
        one = draw_sentence(rng, "fact", speaker, split)
        if entities_in(one) == counts[len(drawn)] and one.text not in {other.text for other in drawn}:
            drawn.append(one)
    return drawn
