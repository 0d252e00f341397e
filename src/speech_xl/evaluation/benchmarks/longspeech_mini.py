"""longspeech_mini: LongSpeech's scorers on sessions of a minute whose truth is known as facts."""

from __future__ import annotations

from collections.abc import Sequence

from speech_xl.evaluation.benchmarks.answers import counted, failed_note, hypothesis_of, language_of, reference_of
from speech_xl.evaluation.benchmarks.longspeech.profiles import PROFILES
from speech_xl.evaluation.benchmarks.profile import (
    Benchmark,
    Judgements,
    Profile,
    Score,
    TaskScorer,
    distinct_answers,
    ratio_score,
)
from speech_xl.evaluation.normaliser import NORMALISER_VERSION, units
from speech_xl.evaluation.prediction import Prediction

TASKS = ("ASR", "summary", "language_detection", "speaker_count", "content_separation", "Temporal_Relative_QA")
FACTS = "facts covered, %"
EXACT = "exact match, %"
NORMALISER = f"normaliser: this suite's, version {NORMALISER_VERSION}; {failed_note('empty')}"


def covers(summary: Sequence[str], fact: Sequence[str]) -> bool:
    """Whether a fact's words stand in a summary one after the other."""
    return any(list(summary[start : start + len(fact)]) == list(fact) for start in range(len(summary) - len(fact) + 1))


def summary_facts(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
    """How many of the facts that the sessions were made from the summaries hold: all facts of all items together.

    Raises ValueError, which names the item, where it has no facts.
    """
    answers, left_out = counted(predictions, "empty")
    held, known = [], []
    for one in answers:
        facts = ((one.item or {}).get("about") or {}).get("facts")
        if not facts:
            raise ValueError(
                f"item {(one.item or {}).get('id', one.id)}: has no facts, and the profile facts counts them; predict "
                "again with the recipe LongSpeechMini"
            )
        summary = units(hypothesis_of(one), language_of(one), False)
        held.append(sum(covers(summary, units(fact, language_of(one), False)) for fact in facts))
        known.append(len(facts))
    note = f"a fact is how many speak, a name, or one of the first two topics, word by word; {NORMALISER}"
    return [ratio_score(FACTS, answers, held, known, left_out=left_out, main=True, note=note)]


def exact_match(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
    """Share of answers that are the reference: every answer is one word, so no judge is needed."""
    answers, left_out = counted(predictions, "empty")
    right = [
        units(hypothesis_of(one), language_of(one), False) == units(reference_of(one), language_of(one), False)
        for one in answers
    ]
    ones = [1.0] * len(answers)
    return [ratio_score(EXACT, answers, right, ones, left_out=left_out, main=True, note=NORMALISER)]


def _of_longspeech(name: str) -> dict[str, TaskScorer]:
    """A profile of LongSpeech's, as far as this benchmark has its tasks."""
    profile = next(one for one in PROFILES if one.name == name)
    return {task: scorer for task, scorer in profile.tasks.items() if task in TASKS}


FACTS_PROFILE = Profile(
    "facts",
    "This suite's own, for sessions that are made from facts: summaries by the facts they hold, temporal questions by "
    "exact match, the other tasks as LongSpeech's profile strict",
    {
        **_of_longspeech("strict"),
        "summary": TaskScorer(summary_facts),
        "Temporal_Relative_QA": TaskScorer(exact_match, constants=distinct_answers),
    },
)
PAPER_WORDS = Profile(
    "paper-words",
    "The rules of LongSpeech's profile of this name; of temporal questions only what needs no judge without one",
    _of_longspeech("paper-words"),
)

BENCHMARK = Benchmark(
    name="longspeech_mini",
    title="LongSpeech mini",
    paper="Made by this suite. Tasks are named as in LongSpeech (arXiv 2601.13539); figures of the two are not "
    "comparable",
    tasks=TASKS,
    profiles=(FACTS_PROFILE, PAPER_WORDS),
    average={"facts": False, "paper-words": False},
)
