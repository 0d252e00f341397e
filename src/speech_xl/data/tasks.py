"""Tasks: the turns (instruction and answer) a session offers, and the mixture a training sample is drawn from."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lhotse.cut import Cut

from speech_xl.checks import number, whole
from speech_xl.data.cut_checks import check_caption, check_questions
from speech_xl.data.items import Item, items_of
from speech_xl.data.transcript import PLAIN, Transcript

TASKS = ("asr", "caption", "qa")
SCORED = ("asr", "qa")  # tasks whose answers have an error rate
CAPTION_INSTRUCTION = "describe the speech"


@dataclass(frozen=True)
class Turn:
    """One instruction about a session's audio with its true answer.

    kind        the sort of question, for reports
    occurrence  which of the session's turns with this instruction it is, from 1: their answers are told apart by it
    timestamps  the step in seconds of the timestamps in the corpus's transcripts, None where they have none
    item        of a benchmark, where it is one
    """

    task: str
    instruction: str
    answer: str
    kind: str = ""
    occurrence: int = 1
    timestamps: float | None = None
    item: Item | None = None


def asr_turn(cut: Cut, transcript: Transcript = PLAIN) -> Turn:
    """Transcribe the whole cut.

    A cut without supervisions has no speech, and its answer is the empty text. Raises ValueError where a supervision's
    text is None: something is said there and nobody knows what.
    """
    unknown = [s.id for s in sorted(cut.supervisions, key=lambda s: s.start) if s.text is None]
    if unknown:
        raise ValueError(
            f"cut {cut.id}: no ASR truth, supervision {unknown[0]} has no text; give every supervision its text, take "
            "the supervisions out where there is no speech, or leave asr out"
        )
    return Turn("asr", transcript.instruction, transcript.text(cut), "asr")


def caption_turn(cut: Cut) -> Turn | None:
    """Describe the whole cut; None where the corpus has no caption for it."""
    caption = getattr(cut, "caption", None)  # lhotse looks in custom, for a MixedCut in its tracks
    _refuse(cut, check_caption, caption)
    return Turn("caption", CAPTION_INSTRUCTION, caption, "caption") if caption else None


def qa_turns(cut: Cut) -> list[Turn]:
    """Every question the corpus knows the answer to, in the corpus's order; the same one may be there several times."""
    turns: list[Turn] = []
    asked: Counter[str] = Counter()
    questions = getattr(cut, "questions", None)
    _refuse(cut, check_questions, questions)
    for entry in questions or []:
        question = entry["question"]
        asked[question] += 1
        turns.append(Turn("qa", question, entry["answer"], entry.get("kind", ""), asked[question]))
    return turns


def item_turns(cut: Cut, transcript: Transcript = PLAIN) -> list[Turn]:
    """The benchmark items of a cut, in their order: "asr" where an item is asked with the model's own instruction,
    else "qa". The same prompt may be there several times."""
    turns: list[Turn] = []
    asked: Counter[str] = Counter()
    for item in items_of(cut):
        prompt = transcript.instruction if item.prompt is None else item.prompt
        asked[prompt] += 1
        task = "asr" if item.prompt is None else "qa"
        turns.append(Turn(task, prompt, item.answer, item.task, asked[prompt], item=item))
    return turns


def _refuse(cut: Cut, check: Callable[[Any], None], truth: Any) -> None:
    """A check's ValueError with the cut it is about."""
    try:
        check(truth)
    except ValueError as error:
        raise ValueError(f"cut {cut.id}: {error}") from error


def _has_asr_truth(cut: Cut) -> bool:
    return bool(cut.supervisions) and all(s.text for s in cut.supervisions)


class TaskMixture:
    """Draws which turns a training sample carries.

    Args:
        weights: task -> weight (not negative, not all zero); tasks are "asr", "caption" and "qa". A cut without truth
            for a task is drawn among the others.
        turns: the most questions one "qa" sample carries; they share one audio, as a dialogue.
        transcript: how transcripts are written.
    """

    def __init__(self, weights: Mapping[str, float], turns: int = 4, transcript: Transcript = PLAIN) -> None:
        unknown = sorted(set(weights) - set(TASKS))
        if unknown:
            raise ValueError(f"tasks: unknown task {unknown[0]!r}; use {', '.join(TASKS)}")
        for task, weight in weights.items():
            number(f"data.tasks.{task}", weight, least=0)
        if not any(weights.values()):
            raise ValueError("tasks: no task has a weight above 0; give at least one, for example {asr: 1.0}")
        whole("data.turns", turns, least=1)
        self.weights = {task: float(weights[task]) for task in TASKS if weights.get(task, 0) > 0}
        self.turns = turns
        self.transcript = transcript

    def offers(self, cut: Cut) -> dict[str, list[Turn]]:
        """Task -> what may be asked of a cut. Raises ValueError where that is nothing."""
        offers: dict[str, list[Turn]] = {}
        if "asr" in self.weights and _has_asr_truth(cut):
            offers["asr"] = [asr_turn(cut, self.transcript)]
        if "caption" in self.weights and (caption := caption_turn(cut)):
            offers["caption"] = [caption]
        if "qa" in self.weights and (questions := [*qa_turns(cut), *self._asked_items(cut)]):
            offers["qa"] = questions
        if not offers:
            raise ValueError(
                f"cut {cut.id}: has no truth for any of the tasks {', '.join(self.weights)}; "
                "add a task it has truth for: asr needs text, caption and qa the corpus's custom fields"
            )
        return offers

    def _asked_items(self, cut: Cut) -> list[Turn]:
        """Items with a prompt of their own; the others are the task asr."""
        return [turn for turn in item_turns(cut) if turn.task == "qa"]

    def draw(self, cut: Cut, rng: random.Random) -> list[Turn]:
        """The turns of one sample; the same for the same cut and generator state."""
        offers = self.offers(cut)
        tasks = list(offers)
        task = rng.choices(tasks, weights=[self.weights[t] for t in tasks])[0]
        if task != "qa":
            return offers[task]
        return rng.sample(offers["qa"], min(self.turns, len(offers["qa"])))
