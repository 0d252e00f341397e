"""A grammar of facts with a closed vocabulary: sentences for the embedded corpus, and the exact truth about them.

Texts are lower case without punctuation, numbers are words. A sentence belongs to one split by a hash of its text.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field


def _words(text: str) -> list[str]:
    return text.split()


WOMEN = _words(
    "alice amanda barbara charlotte diana elizabeth emily hannah helen isabel "
    "karen laura margaret natalie olivia patricia rebecca sophie susan victoria"
)
MEN = _words(
    "albert benjamin charles daniel david edward frank gregory harold jacob "
    "kevin leonard martin nicholas oscar patrick peter robert thomas william"
)
CITIES = _words(
    "amsterdam athens baghdad bangkok barcelona berlin boston brussels budapest cairo "
    "chicago copenhagen dallas delhi denver dublin geneva hamburg havana helsinki "
    "istanbul jakarta lisbon london madrid manila miami moscow munich nairobi "
    "oslo paris prague rome seattle sydney tokyo toronto vienna warsaw"
)
OBJECTS = _words(
    "apples baskets bicycles blankets books bottles boxes brushes buttons cameras "
    "candles carpets chairs clocks coins curtains envelopes flowers forks guitars "
    "hammers helmets jackets ladders lamps magazines mirrors paintings pencils pianos "
    "pillows radios ribbons scissors shovels spoons tables tickets trumpets umbrellas"
)
EVENTS = _words("concert wedding festival lecture meeting party parade exhibition ceremony dinner")
PLACES = _words("kitchen garden office garage library station school market")
RELATIVES = _words("sister brother mother father uncle teacher doctor neighbor")
COLOURS = _words("red blue green yellow black white purple orange")
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
_ONES = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")

SPLIT_SHARES = {"train": 70, "dev": 10, "test": 20}
"""Percent of all sentences a split owns."""

TEMPLATES = {
    "introduction": (
        "this is {speaker} speaking from {city}",
        "hello my name is {speaker} and i live in {city}",
        "good morning i am {speaker} from {city}",
    ),
    "number": (
        "{speaker} here my number is {number} and i collect {object}",
        "{speaker} here i sell {object} in {city} and my number is {number}",
        "{speaker} here call me about the {object} on {day} my number is {number}",
    ),
    "fact": (
        "i gave {amount} {object} to {name} on {day}",
        "the {event} in {city} begins at {hour}",
        "we bought {amount} {object} in {city}",
        "{name} will travel to {city} on {day}",
        "there are {amount} {object} in the {place}",
        "{name} lost {amount} {object} at the {event}",
        "the train to {city} leaves on {day} at {hour}",
        "i met {name} at the {event} in {city}",
        "my {relative} found the {colour} {object} near the {place}",
        "{name} and my {relative} like {colour} {object}",
    ),
}
_MENTION = {
    "city": "was {} mentioned",
    "object": "were {} mentioned",
    "event": "was the {} mentioned",
    "day": "was {} mentioned",
}
MENTION_PAIRS = 2
"""How many words that were mentioned, and as many that were not, are asked about in a session."""


def number_words(number: int) -> str:
    """A number from 0 to 99 in words."""
    if not 0 <= number <= 99:
        raise ValueError(f"number_words: {number} has no words here; use 0 to 99")
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f" {_ONES[ones]}" if ones else "")


_SLOTS = {
    "name": WOMEN + MEN,
    "city": CITIES,
    "object": OBJECTS,
    "event": EVENTS,
    "place": PLACES,
    "relative": RELATIVES,
    "colour": COLOURS,
    "day": DAYS,
    "number": [number_words(n) for n in range(100)],
    "amount": [number_words(n) for n in range(2, 100)],
    "hour": [number_words(n) for n in range(1, 13)],
}


@dataclass(frozen=True)
class Sentence:
    """A sentence, its kind ("introduction", "number" or "fact"), who speaks it, and the words in its slots."""

    text: str
    kind: str
    speaker: str
    slots: dict[str, str] = field(default_factory=dict)


def split_of(text: str) -> str:
    """The one split a sentence may be spoken in, by a hash of its text."""
    share = zlib.crc32(text.encode()) % 100
    for split, size in SPLIT_SHARES.items():
        if share < size:
            return split
        share -= size
    raise AssertionError("SPLIT_SHARES must add up to 100")


def draw_sentence(rng: random.Random, kind: str, speaker: str, split: str) -> Sentence:
    """A random sentence of one kind that `split` owns; a fact never names the speaker."""
    while True:
        template = rng.choice(TEMPLATES[kind])
        slots = {slot: rng.choice(words) for slot, words in _SLOTS.items() if f"{{{slot}}}" in template}
        text = template.format(speaker=speaker, **slots)
        if slots.get("name") != speaker and split_of(text) == split:
            return Sentence(text, kind, speaker, slots)


def _join(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (" ".join(words[:-1]), words[-1])))


def make_questions(
    sentences: Sequence[Sentence], rng: random.Random, mention_pairs: int = MENTION_PAIRS
) -> list[dict[str, str]]:
    """Questions about a session with their true answers, by kind: number, first, count and mention.

    mention_pairs: words that were mentioned, and as many that were not, that are asked for at most.
    """
    speakers = list(dict.fromkeys(s.speaker for s in sentences))
    questions = [
        _question("number", f"what number did {s.speaker} give", s.slots["number"])
        for s in sentences
        if s.kind == "number"
    ]
    questions.append(_question("first", "who spoke first", speakers[0]))
    questions.append(_question("count", "how many speakers are there", number_words(len(speakers))))
    mentioned = list(
        dict.fromkeys((slot, word) for s in sentences for slot, word in s.slots.items() if slot in _MENTION)
    )
    rng.shuffle(mentioned)
    absent = {slot: [word for word in _SLOTS[slot] if (slot, word) not in mentioned] for slot in _MENTION}
    pairs = 0
    for slot, word in mentioned:
        if pairs < mention_pairs and absent[slot]:  # in a long session every day may be mentioned: then no pair of days
            other = absent[slot].pop(rng.randrange(len(absent[slot])))
            questions.append(_question("mention", _MENTION[slot].format(word), "yes"))
            questions.append(_question("mention", _MENTION[slot].format(other), "no"))
            pairs += 1
    return questions


def _question(kind: str, question: str, answer: str) -> dict[str, str]:
    return {"task": "qa", "question": question, "answer": answer, "kind": kind}


def make_caption(sentences: Sequence[Sentence]) -> str:
    """How many speak, who (in the order of their first words), and the first two topics (objects or events)."""
    speakers = list(dict.fromkeys(s.speaker for s in sentences))
    topics: list[str] = []
    for sentence in sentences:
        # in the order of the words within the sentence
        for slot in sorted(sentence.slots, key=lambda slot: sentence.text.find(sentence.slots[slot])):
            topic = {"object": "{}", "event": "the {}"}.get(slot, "").format(sentence.slots[slot])
            if topic and topic not in topics:
                topics.append(topic)
    count = f"{number_words(len(speakers))} speaker{'s' if len(speakers) > 1 else ''}"
    return f"{count} {_join(speakers)} talk{'' if len(speakers) > 1 else 's'} about {_join(topics[:2])}"


def draw_cast(rng: random.Random, size: int) -> list[str]:
    """Distinct first names."""
    return rng.sample(WOMEN + MEN, size)


def draw_turns(rng: random.Random, cast: Sequence[str], utterances: int, split: str) -> list[Sentence]:
    """A conversation: everyone introduces themselves, gives one number at some later turn, and tells facts between."""
    if utterances < 2 * len(cast):
        raise ValueError(f"{utterances} utterances for {len(cast)} speakers; everyone needs two or more")
    order = list(cast) * 2 + rng.choices(cast, k=utterances - 2 * len(cast))
    rng.shuffle(order)
    number_turn = {name: rng.randrange(1, order.count(name)) for name in cast}
    line_count = dict.fromkeys(cast, 0)
    sentences = []
    for name in order:
        kind = (
            "introduction" if line_count[name] == 0 else "number" if line_count[name] == number_turn[name] else "fact"
        )
        line_count[name] += 1
        sentences.append(draw_sentence(rng, kind, name, split))
    return sentences


def vocabulary() -> list[str]:
    """Every word of transcripts, captions, questions, answers and instructions, sorted."""
    texts = [text for templates in TEMPLATES.values() for text in templates]
    texts += [*_MENTION.values(), "what number did give", "who spoke first", "how many speakers are there", "yes no"]
    texts += ["speaker speakers talk talks about the and", "transcribe the speech", "describe the speech"]
    words = {word for text in texts for word in text.split() if "{" not in word}
    return sorted(words.union(*(word.split() for slot in _SLOTS.values() for word in slot)))


def sample_texts(n: int, seed: int = 0) -> list[str]:
    """`n` texts of the train split only, to train a tokenizer on: transcripts, captions, questions and answers."""
    rng = random.Random(f"texts-{seed}")
    texts: list[str] = []
    while len(texts) < n:
        cast = draw_cast(rng, rng.randint(1, 4))
        sentences = draw_turns(rng, cast, 2 * len(cast) + rng.randint(0, 12), "train")
        texts += [" ".join(s.text for s in sentences), make_caption(sentences)]
        texts += [q[key] for q in make_questions(sentences, rng) for key in ("question", "answer")]
    return texts[:n]
