"""Questions and captions about sessions of read speech, with exact truth from transcripts and speakers' genders."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lhotse import SupervisionSegment

from data_recipes.grammar import number_words

RARE = 0.05  # a word asked for occurs in at most this share of a split's sessions, or in one
LETTERS = 4  # and has at least so many letters
NOWHERE = -2  # evidence of what was not said
SEX = {"F": "woman", "M": "man"}
PLURALS = {"man": "men", "woman": "women", "child": "children", "speaker": "speakers"}


@dataclass(frozen=True)
class Asked:
    """A question or a caption about a text, its answer, and its evidence: for each word of the answer the places of the
    words in the text that give it away, or `NOWHERE`; no places where no word does by itself. `via` holds the places of
    the words that lead to the first of these, where there are such."""

    instruction: str
    answer: str
    evidence: list[list[int]] = field(default_factory=list)
    via: list[int] = field(default_factory=list)


def question(kind: str, text: str, answer: str) -> dict[str, str]:
    """One entry of a cut's `custom["questions"]`."""
    return {"task": "qa", "question": text, "answer": answer, "kind": kind}


def reading_truths(
    sessions: Mapping[str, Sequence[SupervisionSegment]], rng: random.Random, ask_count: bool, mentions: int = 2
) -> dict[str, dict]:
    """`custom` of each session of one split, by session id.

    Kinds of question: "gender" (the first speaker's), "count" (of speakers, if `ask_count`) and "mention" (was a word
    said: up to `mentions` with the answer yes, and as many with no).
    """
    mention = mention_questions(
        {i: [s.text or "" for s in supervisions] for i, supervisions in sessions.items()}, rng, mentions
    )
    truths = {}
    for session_id, supervisions in sessions.items():
        questions = []
        if supervisions[0].gender in SEX:
            questions.append(question("gender", "was the first speaker a man or a woman", SEX[supervisions[0].gender]))
        if ask_count:
            speakers = number_words(len({s.speaker for s in supervisions}))
            questions.append(question("count", "how many speakers are there", speakers))
        truths[session_id] = {"questions": questions + mention[session_id], "caption": caption(supervisions)}
    return truths


def caption(supervisions: Sequence[SupervisionSegment]) -> str:
    """Who reads, for example "one woman reads aloud" or "one man and two women read aloud"."""
    genders = {s.speaker: s.gender for s in supervisions}
    if any(gender not in SEX for gender in genders.values()):
        readers = people(["speaker"] * len(genders))
    else:
        readers = people([SEX[str(gender)] for gender in genders.values()])
    return f"{readers} {'reads' if len(genders) == 1 else 'read'} aloud"


def people(nouns: Sequence[str]) -> str:
    """How many of each, for example "one man and two women"; a noun for each person, out of `PLURALS`."""
    counts = Counter(nouns)
    parts = [f"{number_words(counts[n])} {PLURALS[n] if counts[n] > 1 else n}" for n in PLURALS if counts[n]]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def mention_questions(
    texts: Mapping[str, Sequence[str]], rng: random.Random, per_session: int
) -> dict[str, list[dict[str, str]]]:
    """Was a rather rare word said: as many yes as no, over the split and for every single word.

    The words asked with the answer no are the words asked with yes, handed out to other sessions: a word by itself says
    nothing about the answer. What cannot be handed out (a tiny split) is left out on both sides.
    """
    words = {i: {w for text in lines for w in text.split()} for i, lines in texts.items()}
    sessions_with = Counter(w for spoken in words.values() for w in spoken)
    limit = max(1, int(RARE * len(texts)))
    yes = []  # (session, word said in it)
    for i, spoken in words.items():
        rare = sorted(w for w in spoken if len(w) >= LETTERS and w.isalpha() and sessions_with[w] <= limit)
        yes += [(i, w) for w in rng.sample(rare, min(per_session, len(rare)))]
    no = _hand_out(yes, words, rng)
    asked = Counter(w for _, w in no)
    questions: dict[str, list[dict[str, str]]] = {i: [] for i in texts}
    for i, word in yes:
        if asked[word] > 0:  # as many yes as no of this word
            asked[word] -= 1
            questions[i].append(_mention(word, "yes"))
    for i, word in no:
        questions[i].append(_mention(word, "no"))
    for entries in questions.values():
        rng.shuffle(entries)
    return questions


def mention_text(word: str) -> str:
    """The question whether a word was said."""
    return f"was the word {word} said"


def _mention(word: str, answer: str) -> dict[str, str]:
    return question("mention", mention_text(word), answer)


def _hand_out(yes: list[tuple[str, str]], words: Mapping[str, set[str]], rng: random.Random) -> list[tuple[str, str]]:
    """The same words among the same sessions, each in a session that does not say it and is not asked it twice."""
    owners = [i for i, _ in yes]
    handed = [w for _, w in yes]
    rng.shuffle(handed)
    slots: dict[str, list[int]] = {}
    for slot, owner in enumerate(owners):
        slots.setdefault(owner, []).append(slot)

    def fits(slot: int, word: str) -> bool:
        owner = owners[slot]
        return word not in words[owner] and all(handed[other] != word for other in slots[owner] if other != slot)

    for slot in range(len(handed)):
        for _ in range(50):
            if fits(slot, handed[slot]):
                break
            other = rng.randrange(len(handed))
            if fits(slot, handed[other]) and fits(other, handed[slot]):
                handed[slot], handed[other] = handed[other], handed[slot]
    fitting = [(owner, w) for owner, w in zip(owners, handed, strict=True) if w not in words[owner]]
    return list(dict.fromkeys(fitting))
