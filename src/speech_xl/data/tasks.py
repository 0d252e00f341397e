"""Tasks: the turns (instruction and answer) a session offers, and the mixture a training sample is drawn from."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lhotse.cut import Cut

from speech_xl.checks import number, whole
from speech_xl.data.cut_checks import check_caption, check_questions
from speech_xl.data.items import Item, items_of
from speech_xl.data.session_part import session_offset
from speech_xl.data.transcript import PLAIN, Transcript
from speech_xl.data.windows import Span

TASKS = ("asr", "caption", "qa")
SCORED = ("asr", "qa")  # tasks whose answers have an error rate
CAPTION_INSTRUCTION = "describe the speech"


@dataclass(frozen=True)
class Window:
    """A stretch of the audio: what asks for its transcript, its true answer, and its seconds."""

    instruction: str
    answer: str
    span: Span


@dataclass(frozen=True)
class Turn:
    """One instruction about a session's audio with its true answer.

    kind        the sort of question, for reports
    occurrence  which of the session's turns with this instruction it is, from 1: their answers are told apart by it
    timestamps  the step in seconds of the timestamps in the corpus's transcripts, None where they have none
    item        of a benchmark, where it is one
    windows     of a transcript that is asked for window by window in place of `instruction`; their answers joined are
                the answer
    apart       whether it is trained on its own, as it is asked in evaluation, rather than in a dialogue with the turns
                before it
    """

    task: str
    instruction: str
    answer: str
    kind: str = ""
    occurrence: int = 1
    timestamps: float | None = None
    item: Item | None = None
    windows: tuple[Window, ...] = ()
    apart: bool = False


@dataclass
class Dialogue:
    """(instruction, answer) pairs, each seeing those before it, about a span of the session's seconds; None: all of
    it. Dialogues about one audio don't see each other."""

    pairs: list[tuple[str, str]]
    span: Span | None = None


def dialogues(turns: Sequence[Turn]) -> list[Dialogue]:
    """A sample's turns as they are trained on: windows each for themselves, turns that are apart too, others as one."""
    found: list[Dialogue] = []
    for turn in turns:
        if turn.windows:
            found += [Dialogue([(window.instruction, window.answer)], window.span) for window in turn.windows]
        elif turn.apart or not found:
            found.append(Dialogue([(turn.instruction, turn.answer)]))
        else:
            found[-1].pairs.append((turn.instruction, turn.answer))
    return found


def asr_turn(cut: Cut, transcript: Transcript = PLAIN, spans: Sequence[Span] = ()) -> Turn:
    """Transcribe the whole cut.

    A cut without supervisions has no speech, and its answer is the empty text. Raises ValueError where a supervision's
    text is None: something is said there and nobody knows what.

    spans: the windows it is asked in; none: in one answer
    """
    unknown = [s.id for s in sorted(cut.supervisions, key=lambda s: s.start) if s.text is None]
    if unknown:
        raise ValueError(
            f"cut {cut.id}: no ASR truth, supervision {unknown[0]} has no text; give every supervision its text, take "
            "the supervisions out where there is no speech, or leave asr out"
        )
    windows = tuple(Window(transcript.asking_for(span), transcript.text(cut, span), span) for span in spans)
    return Turn("asr", transcript.instruction, transcript.text(cut), "asr", windows=windows)


def asked_windows(cut: Cut, transcript: Transcript) -> list[Span]:
    """The windows that evaluation asks for a cut's transcript in; none where it is one answer."""
    offset = session_offset(cut)
    windows = transcript.windows
    return [] if windows is None else windows.spans(offset, offset + cut.duration, transcript.grid)


def drawn_windows(cut: Cut, transcript: Transcript, rng: random.Random) -> list[Span]:
    """The windows that a training sample's transcript is asked in; none where it is one answer."""
    if transcript.windows is None:
        return []
    offset = session_offset(cut)
    return transcript.windows.drawn(offset, offset + cut.duration, transcript.grid, rng)


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
        spans = asked_windows(cut, transcript) if task == "asr" else []
        windows = tuple(Window(transcript.asking_for(span), "", span) for span in spans)  # whose answers nobody knows
        turns.append(Turn(task, prompt, item.answer, item.task, asked[prompt], item=item, windows=windows))
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
        dialogue: whether the questions of a sample are one dialogue, or each is asked on its own, as in evaluation.
    """

    def __init__(
        self, weights: Mapping[str, float], turns: int = 4, transcript: Transcript = PLAIN, dialogue: bool = True
    ) -> None:
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
        self.dialogue = dialogue

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

    def transcribed(self, cut: Cut, rng: random.Random) -> Turn:
        """The transcript of a training sample, asked in windows that are drawn where transcripts have windows."""
        return asr_turn(cut, self.transcript, drawn_windows(cut, self.transcript, rng))

    def _asked_items(self, cut: Cut) -> list[Turn]:
        """Items with a prompt of their own; the others are the task asr."""
        return [turn for turn in item_turns(cut) if turn.task == "qa"]

    def draw(self, cut: Cut, rng: random.Random) -> list[Turn]:
        """The turns of one sample; the same for the same cut and generator state."""
        offers = self.offers(cut)
        tasks = list(offers)
        task = rng.choices(tasks, weights=[self.weights[t] for t in tasks])[0]
        if task == "asr" and self.transcript.windows is not None:
            return [self.transcribed(cut, rng)]
        if task != "qa":
            return offers[task]
        drawn = rng.sample(offers["qa"], min(self.turns, len(offers["qa"])))
        return drawn if self.dialogue else [replace(turn, apart=True) for turn in drawn]
