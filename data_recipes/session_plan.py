"""What is said in the embedded corpus's sessions, before a sound is made: who, in which voice, when, how loud."""

from __future__ import annotations

import random
from dataclasses import dataclass

from data_recipes.espeak import Request
from data_recipes.grammar import MEN, WOMEN, Sentence, draw_sentence, draw_turns
from data_recipes.voices import voices

_SECONDS_PER_CHARACTER = 9.3  # of espeak-ng at one word a minute, over all clear voices; for planning only
MEAN_TURN_SECONDS = 3.6  # an utterance with its pause, for planning only
SHORTEST_SECONDS = 10.0  # one speaker's introduction and number
LOWEST_SPAN_SECONDS = 10.0  # between a session's bounds, so that leaving out one fact can't fall below the lower one


@dataclass(frozen=True)
class Line:
    """One planned utterance: the sentence, who says it, how espeak-ng speaks it, and its level."""

    sentence: Sentence
    speaker: str
    gender: str
    request: Request
    level_db: float
    """RMS in dB below full scale."""


@dataclass(frozen=True)
class SessionPlan:
    """The lines of one session in time order, and facts in reserve should the session turn out too short."""

    id: str
    lines: list[Line]
    reserve: list[Line]
    pauses: list[float]
    noise_rms: float

    @property
    def planned_seconds(self) -> float:
        """About how long the session will be, pauses included."""
        speech = sum(len(line.request.text) / line.request.rate for line in self.lines) * _SECONDS_PER_CHARACTER
        return speech + sum(self.pauses[: len(self.lines) + 1])


@dataclass(frozen=True)
class Person:
    """A voice of espeak-ng with a name, its speed in words a minute, and its level in dB below full scale."""

    id: str
    gender: str
    voice: str
    rate: int
    pitch: int
    level_db: float


def draw_duration(rng: random.Random, shortest: float, longest: float) -> float:
    """Seconds with a density falling as duration ** -1.5: most sessions short, a tail up to the longest."""
    u = rng.random()
    return (shortest**-0.5 + u * (longest**-0.5 - shortest**-0.5)) ** -2


def plan_session(session_id: str, split: str, seed: int, shortest: float, longest: float) -> SessionPlan:
    """Everything about one session, from its id, split and seed alone. Durations in seconds."""
    rng = random.Random(f"{seed}-{session_id}")
    target = draw_duration(rng, shortest + 1.0, longest - 3.0)
    most = min(4, int(target // (2 * MEAN_TURN_SECONDS + 1)))  # everyone says two things or more
    people = draw_people(rng, rng.randint(1, max(1, most)), split)
    turns = max(2 * len(people), round(target / MEAN_TURN_SECONDS))
    sentences = draw_turns(rng, list(people), turns, split)
    reserve = [draw_sentence(rng, "fact", rng.choice(list(people)), split) for _ in range(2 + turns // 8)]
    lines = [line_of(rng, people[s.speaker], s) for s in sentences + reserve]
    pauses = [rng.uniform(0.2, 0.8) for _ in range(len(lines) + 1)]
    noise_rms = 10 ** (rng.uniform(-70.0, -55.0) / 20)
    return SessionPlan(session_id, lines[:turns], lines[turns:], pauses, noise_rms)


def draw_people(rng: random.Random, count: int, split: str) -> dict[str, Person]:
    """First name -> person, each with a voice of the split's."""
    people: dict[str, Person] = {}
    pool = {gender: list(voiced) for gender, voiced in voices(split).items()}
    for _ in range(count):
        gender = rng.choice("FM")
        name = rng.choice([n for n in {"F": WOMEN, "M": MEN}[gender] if n not in people])
        voice = pool[gender].pop(rng.randrange(len(pool[gender])))
        person = f"{name}-{voice}"
        own = random.Random(person)  # a person sounds the same in every session
        people[name] = Person(
            id=person,
            gender=gender,
            voice=voice.espeak_name,
            rate=own.randint(135, 170),
            pitch=own.randint(35, 65),
            level_db=own.uniform(-27.0, -21.0),
        )
    return people


def line_of(rng: random.Random, person: Person, sentence: Sentence) -> Line:
    """A sentence as a person speaks it, about as fast, high and loud as always."""
    request = Request(person.voice, person.rate + rng.randint(-5, 5), person.pitch + rng.randint(-5, 5), sentence.text)
    return Line(sentence, person.id, person.gender, request, person.level_db + rng.uniform(-1.0, 1.0))
