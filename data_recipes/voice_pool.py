"""Which clips a session about voices is made of: answers take turns, and tell neither by length nor by each other."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from data_recipes.voice_corpora import Clip

logger = logging.getLogger(__name__)
T = TypeVar("T")
MOST_SPEAKERS = 3


class VoicePool:
    """The clips of one corpus in one split, and sessions drawn from them with every answer in its turn.

    Args:
        title: corpus and split, for warnings.
        clips: all there are.
        attribute: "emotion" or "age", what a speaker alone is asked.
    """

    def __init__(self, title: str, clips: Sequence[Clip], attribute: str) -> None:
        self.title, self.attribute = title, attribute
        self.by_speaker: dict[str, list[Clip]] = {}
        self.cells: dict[str, dict[str, dict[str, list[Clip]]]] = {}
        """attribute's value -> gender -> speaker -> clips"""
        for clip in clips:
            self.by_speaker.setdefault(clip.speaker, []).append(clip)
            genders = self.cells.setdefault(getattr(clip, attribute), {})
            genders.setdefault(clip.gender, {}).setdefault(clip.speaker, []).append(clip)
        if _most(self.by_speaker) < 2:
            raise ValueError(f"{title}: no speaker has two utterances, so none can come again; use the whole corpus")
        self.counts = range(1, min(MOST_SPEAKERS, len(self.by_speaker)) + 1)

    def longest_alone(self, limit: int) -> int:
        """Utterances that some speaker has for every value and gender, `limit` at most."""
        return min(limit, *(_most(speakers) for genders in self.cells.values() for speakers in genders.values()))

    def mixed_lengths(self, limit: int) -> range:
        """Utterances of a mixed session, the same whatever the answers.

        One more than speakers at least, so that the first can come again; as many as one speaker has at most.
        """
        shortest = self.counts[-1] + 1
        return range(shortest, max(shortest, min(limit, _most(self.by_speaker))) + 1)

    def warn_of_gaps(self, limit: int) -> None:
        """Say where there is too little material for `limit` utterances, and what comes of it."""
        if (longest := self.longest_alone(limit)) < limit:
            logger.warning(
                "%s: sessions of one speaker have at most %d utterances, not %d: no more for every %s and sex",
                self.title, longest, limit, self.attribute,
            )  # fmt: skip
        wanted, most = self.mixed_lengths(limit)[-1], _most(self.by_speaker)
        fewest = min(len(clips) for clips in self.by_speaker.values())
        if most < wanted or 2 * fewest < wanted:
            logger.warning(
                "%s: its %d speakers have %d to %d utterances each where a mixed session wants %d: those of few "
                "speakers are shorter, and length hints at the count",
                self.title, len(self.by_speaker), fewest, most, wanted,
            )  # fmt: skip

    def draw_alone(self, place: int, key: str, limit: int, rng: random.Random) -> list[Clip]:
        """One speaker, all with the same value of the attribute: every value, then either sex, in its turn."""
        values = sorted(self.cells)
        value = in_turns(values, place, key)
        genders = self.cells[value]
        speakers = genders[in_turns(sorted(genders), place // len(values), f"{key}-{value}")]
        length = in_turns(range(1, self.longest_alone(limit) + 1), place // len(values), f"{key}-length")
        return rng.sample(speakers[_draw_speaker(speakers, length, rng)], length)

    def draw_mixed(self, place: int, key: str, limit: int, rng: random.Random) -> list[Clip]:
        """One to three speakers: every number in its turn, and within it whether the first also speaks last."""
        count = in_turns(self.counts, place, key)
        # The same length for two rounds, in which every answer has its turn.
        length = in_turns(self.mixed_lengths(limit), place // (2 * len(self.counts)), f"{key}-length")
        if count == 1:
            clips = self.by_speaker[_draw_speaker(self.by_speaker, length, rng)]
            return rng.sample(clips, min(length, len(clips)))
        same = in_turns([True, False], place // len(self.counts), f"{key}-{count}")
        first = _draw_speaker(self.by_speaker, 2 if same else 1, rng)
        speakers = [first, *rng.sample(sorted(set(self.by_speaker) - {first}), count - 1)]
        clips = {speaker: rng.sample(self.by_speaker[speaker], len(self.by_speaker[speaker])) for speaker in speakers}
        turns = order_speakers({s: len(clips[s]) for s in speakers}, length, same, rng)
        return [clips[speaker].pop() for speaker in turns]


def _most(speakers: Mapping[str, Sequence[Clip]]) -> int:
    return max(len(clips) for clips in speakers.values())


def _draw_speaker(speakers: Mapping[str, Sequence[Clip]], length: int, rng: random.Random) -> str:
    """One with so many clips, or with the most there are."""
    enough = min(length, _most(speakers))
    return rng.choice(sorted(speaker for speaker, clips in speakers.items() if len(clips) >= enough))


def in_turns(choices: Sequence[T], place: int, key: str) -> T:
    """The choice at `place` of an endless row in which each comes once a round, in an order that `key` draws anew."""
    turn, position = divmod(place, len(choices))
    return random.Random(f"{key}-{turn}").sample(list(choices), len(choices))[position]


def order_speakers(left: Mapping[str, int], length: int, same: bool, rng: random.Random) -> list[str]:
    """Who says each of `length` utterances: the first of `left` begins, and also ends if `same`, else another does.

    All are heard, nobody more often than `left` says; where that is too little, there are fewer utterances.
    """
    first, *others = left
    last = first if same else rng.choice(others)
    middle = [speaker for speaker in others if speaker != last]
    drawn = Counter([first, last, *middle])
    spare = [speaker for speaker in left for _ in range(left[speaker] - drawn[speaker])]
    middle += rng.sample(spare, min(len(spare), length - drawn.total()))
    rng.shuffle(middle)
    return [first, *middle, last]
