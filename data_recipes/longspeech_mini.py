"""longspeech_mini: a small benchmark of espeak-ng and LibriSpeech, tasks named as LongSpeech's (arXiv 2601.13539).

It is no part of LongSpeech: its sessions are a minute and a half at most, its sentences are made, and its scores are
not comparable with published ones. It is there to be run where LongSpeech's 2 TB are not.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from data_recipes.espeak import Request
from data_recipes.grammar import Sentence, draw_sentence, draw_turns, make_caption, number_words
from data_recipes.languages import LANGUAGES, draw_text, draw_voice
from data_recipes.librispeech_utterances import LibriSpeechUtterance
from data_recipes.mini_benchmark import SHORT_TOKENS, TRANSCRIPTION_TOKENS, MiniBenchmark, MiniPlan, Part
from data_recipes.mini_librispeech import MiniLibriSpeech
from data_recipes.session_plan import Line, draw_people, line_of
from data_recipes.spoken_digits import draw_turns as take_turns
from data_recipes.voice_pool import in_turns
from speech_xl.data.items import Item
from speech_xl.data.sessions import draw_pauses

TURN_SECONDS = 3.4  # of a synthetic sentence with its pause, about
SUMMARY_TOKENS = 1024
SPEAKERS, READERS, TOPICS = (1, 2, 3, 4), (1, 2, 3), (1, 2, 3, 4)
FEWEST = 8  # sentences, so that a session's length doesn't tell how many speakers or topics it has
SUMMARIZE = "describe the speech: who speaks and about what"
COUNT_SPEAKERS = "how many speakers are there answer with a digit"
COUNT_TOPICS = "how many topics follow one another answer with a digit"
WHICH_LANGUAGE = f"which language is spoken {' '.join(sorted(LANGUAGES))}"


class LongSpeechMini(MiniBenchmark):
    """Four kinds of sessions, as many of each:

    conversation    one to four people tell facts (espeak-ng): ASR, summary, speaker_count, Temporal_Relative_QA
    language        one voice speaks one of six languages (espeak-ng): language_detection
    topics          one to four topics one after the other, in two voices (espeak-ng): content_separation
    reading         one to three people read (LibriSpeech, CC BY 4.0): speaker_count, ASR

    Sentences and voices, or readers, are disjoint between the splits. Answers of a closed set are the truth equally
    often. Transcripts stand in the supervisions of conversations alone, or in the train split of readings too if
    `transcribe_readings`: a small LLM that can't spell learns nothing from them.

    Args:
        root: where sessions are written.
        librispeech_dir: LibriSpeech or Mini LibriSpeech: the folder, or the one it lies in. Null: without readings.
        train_sessions: of each kind; dev_sessions, test_sessions: likewise.
        min_seconds, max_seconds: of a session of dev and test, about.
        transcribe_readings: whether training may ask for transcripts of readings.
        seed: draws the sessions.
    """

    name = "longspeech_mini"
    version = 1

    def __init__(
        self,
        root: str = "data/longspeech_mini",
        librispeech_dir: str | None = None,
        train_sessions: int = 48,
        dev_sessions: int = 3,
        test_sessions: int = 10,
        min_seconds: float = 60.0,
        max_seconds: float = 80.0,
        transcribe_readings: bool = True,
        seed: int = 0,
    ) -> None:
        sessions = {"train": train_sessions, "dev": dev_sessions, "test": test_sessions}
        super().__init__(root, {"librispeech_dir": librispeech_dir}, sessions, min_seconds, max_seconds, seed)
        self.transcribe_readings = transcribe_readings
        self.settings["transcribe_readings"] = transcribe_readings
        self.readers: dict[str, dict[str, list[LibriSpeechUtterance]]] = {}

    def kinds(self) -> Mapping[str, Sequence[tuple[str, str]]]:
        reading = [("librispeech_dir", "speaker_count"), ("librispeech_dir", "ASR")]
        return {"conversation": [], "language": [], "topics": [], "reading": reading}

    def read(self) -> None:
        folder = self.folders["librispeech_dir"]
        if folder is None:
            return
        for split, utterances in MiniLibriSpeech(corpus_dir=str(folder)).utterances()[0].items():
            readers = self.readers.setdefault(split, {})
            for one in utterances:
                readers.setdefault(one.speaker, []).append(one)

    def plan(self, kind: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        make = {
            "conversation": self._conversation,
            "language": self._language,
            "topics": self._topics,
            "reading": self._reading,
        }[kind]
        return make(f"{kind}-{split}-{place:04d}", split, place, seconds, rng)

    def _turn(self, values: Sequence, what: str, split: str, place: int):
        return in_turns(values, place, f"{self.seed}-{split}-{what}")

    def _conversation(self, name: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        count = self._turn(SPEAKERS, "speakers", split, place)
        people = draw_people(rng, count, split)
        turns = max(FEWEST, round(seconds / TURN_SECONDS))
        sentences = draw_turns(rng, list(people), turns, split)
        while len(topics := topics_of(sentences)) < 2:
            sentences = draw_turns(rng, list(people), turns, split)
        lines = [line_of(rng, people[one.speaker], one) for one in sentences]
        text = " ".join(one.text for one in sentences)
        items = [
            item("ASR", name, None, text, TRANSCRIPTION_TOKENS, source="espeak-ng"),
            item("summary", name, SUMMARIZE, make_caption(sentences), SUMMARY_TOKENS, facts=facts_of(sentences)),
            item("speaker_count", name, COUNT_SPEAKERS, str(count), source="espeak-ng"),
            *temporal_items(name, sentences, topics, rng),
        ]
        return MiniPlan(name, spoken(lines), draw_pauses(rng, turns), items, words=True)

    def _language(self, name: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        language = self._turn(sorted(LANGUAGES), "language", split, place)
        voice, gender = draw_voice(language, split, rng)
        rate, pitch = rng.randint(135, 170), rng.randint(35, 65)
        parts = []
        for _ in range(max(3, round(seconds / TURN_SECONDS))):
            text = draw_text(language, split, rng)
            parts.append(Part(Request(voice, rate, pitch, text), text, voice, gender, language, rng.uniform(-27, -21)))
        asked = item("language_detection", name, WHICH_LANGUAGE, language, code=LANGUAGES[language].code)
        return MiniPlan(name, parts, draw_pauses(rng, len(parts)), [asked], words=False)

    def _topics(self, name: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        count = self._turn(TOPICS, "topics", split, place)
        turns = max(FEWEST, round(seconds / TURN_SECONDS))
        people = draw_people(rng, 2, split)
        ends = sorted(rng.sample(range(2, turns - 1, 2), count - 1))  # two sentences or more of each
        topics: list[str] = []
        lines = []
        for start, end in zip([0, *ends], [*ends, turns], strict=True):
            speaker = rng.choice(sorted(people))
            block = sentences_about(rng, end - start, speaker, split, topics)
            lines += [line_of(rng, people[speaker], one) for one in block]
        asked = item("content_separation", name, COUNT_TOPICS, str(count), topics=topics)
        return MiniPlan(name, spoken(lines), draw_pauses(rng, turns), [asked], words=False)

    def _reading(self, name: str, split: str, place: int, seconds: float, rng: random.Random) -> MiniPlan:
        readers = self.readers[split]
        count = self._turn(READERS, "readers", split, place)
        spoken_seconds = [one.seconds for utterances in readers.values() for one in utterances]
        turns = max(READERS[-1], round(seconds * len(spoken_seconds) / sum(spoken_seconds)))
        enough = sorted(reader for reader, utterances in readers.items() if len(utterances) >= turns)
        if len(enough) < count:
            raise ValueError(
                f"LongSpeechMini: {len(enough)} readers of {split} have {turns} utterances or more, and {count} are "
                "needed; use the whole part of LibriSpeech, or shorter sessions (max_seconds)"
            )
        chosen = rng.sample(enough, count)
        heap = {reader: rng.sample(readers[reader], turns) for reader in chosen}
        read = [heap[reader].pop() for reader in take_turns(chosen, turns, rng)]
        parts = [Part(one.recording, one.text, one.speaker, one.gender) for one in read]
        text = " ".join(one.text for one in read)
        items = [
            item("ASR", name, None, text, TRANSCRIPTION_TOKENS, source="LibriSpeech"),
            item("speaker_count", name, COUNT_SPEAKERS, str(count), source="LibriSpeech"),
        ]
        words = split != "train" or self.transcribe_readings
        return MiniPlan(name, parts, draw_pauses(rng, turns), items, words)


def item(
    task: str, name: str, prompt: str | None, answer: str, tokens: int = SHORT_TOKENS, code: str = "en", **about
) -> Item:
    """An item about the session of this name. code: of the language that is spoken, as LongSpeech's rows have it."""
    return Item(
        benchmark=LongSpeechMini.name,
        id=f"{task}/{name}",
        task=task,
        prompt=prompt,
        answer=answer,
        max_tokens=tokens,
        language=code,
        about=about,
    )


def spoken(lines: Sequence[Line]) -> list[Part]:
    """Lines of espeak-ng as parts of a session."""
    return [Part(one.request, one.sentence.text, one.speaker, one.gender, level_db=one.level_db) for one in lines]


def topics_of(sentences: Sequence[Sentence]) -> list[tuple[int, str]]:
    """(sentence, object or event) in the order in which they are first mentioned; of a sentence's two the first."""
    known: set[str] = set()
    firsts: list[tuple[int, str]] = []
    for place, sentence in enumerate(sentences):
        words = [sentence.slots[slot] for slot in ("object", "event") if slot in sentence.slots]
        new = sorted((word for word in words if word not in known), key=sentence.text.find)
        known.update(words)
        firsts += [(place, word) for word in new[:1]]
    return firsts


def facts_of(sentences: Sequence[Sentence]) -> list[str]:
    """What a summary is to hold: how many speak, each name, the first two topics."""
    speakers = list(dict.fromkeys(one.speaker for one in sentences))
    count = f"{number_words(len(speakers))} speaker{'s' if len(speakers) > 1 else ''}"
    topics = make_caption(sentences).rpartition(" about ")[2].split(" and ")
    return [count, *speakers, *topics]


def temporal_items(
    name: str, sentences: Sequence[Sentence], topics: Sequence[tuple[int, str]], rng: random.Random
) -> list[Item]:
    """Which of two topics came first; and of several people, who spoke first."""
    (_, first), (_, second) = sorted(rng.sample(list(topics), 2))
    pair = [first, second] if rng.random() < 0.5 else [second, first]
    items = [item("Temporal_Relative_QA", name, f"what was mentioned first {pair[0]} or {pair[1]}", first)]
    if len({one.speaker for one in sentences}) > 1:
        asked = item("Temporal_Relative_QA", f"{name}/speaker", "who spoke first", sentences[0].speaker)
        items.append(asked)
    return items


def sentences_about(rng: random.Random, count: int, speaker: str, split: str, topics: list[str]) -> list[Sentence]:
    """Facts that name one object, which is none of `topics` and is added to them."""
    drawn: list[Sentence] = []
    while not drawn:
        one = draw_sentence(rng, "fact", speaker, split)
        if "object" in one.slots and one.slots["object"] not in topics:
            topics.append(one.slots["object"])
            drawn.append(one)
    while len(drawn) < count:
        one = draw_sentence(rng, "fact", speaker, split)
        if one.slots.get("object") == topics[-1] and one.text not in {other.text for other in drawn}:
            drawn.append(one)
    return drawn
