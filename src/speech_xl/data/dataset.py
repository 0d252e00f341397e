"""SpeechDataset: cuts to batches of audio or cached frames, intervals and turns; Excerpt: stretches of sessions."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

from lhotse import CutSet
from lhotse.cut import Cut, MixedCut
from torch.utils.data import Dataset

from speech_xl.checks import number, whole
from speech_xl.data.audio import AudioError, load_audio
from speech_xl.data.batch import SpeechBatch
from speech_xl.data.frame_cache import FrameCache
from speech_xl.data.items import items_of
from speech_xl.data.partition import Partition
from speech_xl.data.session_part import SessionPart
from speech_xl.data.tasks import TASKS, TaskMixture, Turn, asked_windows, asr_turn, caption_turn, item_turns, qa_turns
from speech_xl.data.transcript import PLAIN, Transcript

TRUTHS = ("questions", "caption")  # custom fields about a whole session


class FillerId(str):
    """The id of a copy that an evaluation sampler made for a rank without a session of its own: nothing is asked."""


@dataclass
class EvaluationTurns:
    """Every turn a session is evaluated on, each asked on its own. A benchmark's session is asked its items alone.

    Args:
        tasks: tasks to ask, of "asr", "caption" and "qa".
        questions: the most "qa" questions a session; drawn by the session's id, so every run asks the same.
        transcript: how transcripts are written.
    """

    tasks: list[str]
    questions: int = 4
    transcript: Transcript = PLAIN

    def __post_init__(self) -> None:
        unknown = sorted(set(self.tasks) - set(TASKS))
        if unknown or not self.tasks:
            what = f"unknown task {unknown[0]!r}" if unknown else "no task"
            raise ValueError(f"eval_tasks: {what}; use some of {', '.join(TASKS)}")
        whole("data.eval_questions", self.questions, least=1)

    def __call__(self, cut: Cut) -> list[Turn]:
        if items := item_turns(cut, self.transcript):
            step = self.transcript.step_seconds
            return [dataclasses.replace(turn, timestamps=step) for turn in items if turn.task in self.tasks]
        spans = asked_windows(cut, self.transcript)
        turns = [asr_turn(cut, self.transcript, spans)] if "asr" in self.tasks else []
        if "caption" in self.tasks and (caption := caption_turn(cut)):
            turns.append(caption)
        if "qa" in self.tasks:
            questions = qa_turns(cut)
            if len(questions) > self.questions:
                chosen = random.Random(f"evaluation-{cut.id}").sample(range(len(questions)), self.questions)
                questions = [questions[i] for i in sorted(chosen)]
            turns += questions
        return [dataclasses.replace(turn, timestamps=self.transcript.step_seconds) for turn in turns]


@dataclass
class Excerpt:
    """Replace a training session by a random run of whole consecutive utterances. An utterance is never split.

    A session that fits whole stays as it is, with all its tasks; an excerpt has only the ASR task, because questions
    and captions are about the whole session. Under a frozen encoder, random excerpts are cut out of their session's
    cached frames; `fixed` ones are encoded and cached on their own.

    Args:
        min_seconds: shortest length to aim for.
        max_seconds: longest length to aim for; the length is drawn evenly between the two. An utterance that is longer
            makes an excerpt of its own.
        fixed: draw the same excerpt of a session in every epoch.
        per_session: excerpts of a session in an epoch.
        length_curriculum_epochs: begin with `min_seconds` and let the longest length grow to `max_seconds` over so many
            epochs: attention finds out where to look on short excerpts first. 0 is full length from the start.
        absolute_time: frames and timestamps of an excerpt count on from where it lies in its session, so that later
            seconds than `max_seconds` are learned too. By default every excerpt begins at 0.
    """

    min_seconds: float
    max_seconds: float
    fixed: bool = False
    per_session: int = 1
    length_curriculum_epochs: int = 0
    absolute_time: bool = False

    def __post_init__(self) -> None:
        number("data.excerpt.min_seconds", self.min_seconds, above=0)
        number("data.excerpt.max_seconds (not below min_seconds)", self.max_seconds, least=self.min_seconds)
        whole("data.excerpt.per_session", self.per_session, least=1)
        whole("data.excerpt.length_curriculum_epochs", self.length_curriculum_epochs)

    def longest(self, epoch: int) -> float:
        """Longest length to aim for in an epoch, in seconds."""
        grown = (
            1.0 if self.length_curriculum_epochs == 0 or self.fixed else min(1.0, epoch / self.length_curriculum_epochs)
        )
        return self.min_seconds + grown * (self.max_seconds - self.min_seconds)

    def __call__(self, cut: Cut, seed: int, epoch: int) -> Cut:
        """The excerpt of this epoch; the same for the same seed, epoch and cut id."""
        if isinstance(cut, MixedCut):
            raise ValueError(
                f"cut {cut.id}: excerpts need sessions of one recording and this one is mixed of {len(cut.tracks)}; "
                "let the corpus write sessions as audio files, or set excerpt to null"
            )
        supervisions = sorted(cut.supervisions, key=lambda s: s.start)
        if not supervisions:
            raise ValueError(f"cut {cut.id}: no supervisions to take an excerpt of; set excerpt to null")
        rng = random.Random(f"{seed}-{'fixed' if self.fixed else epoch}-excerpt-{cut.id}")
        seconds = rng.uniform(self.min_seconds, self.longest(epoch))
        # An anchor drawn evenly, then grown on both sides: every utterance is heard, also the first and the last.
        first = last = rng.randrange(len(supervisions))
        for forward in rng.sample([True, False], 2):
            while forward and last + 1 < len(supervisions) and _span(supervisions, first, last + 1) <= seconds:
                last += 1
            while not forward and first > 0 and _span(supervisions, first - 1, last) <= seconds:
                first -= 1
        if first == 0 and last == len(supervisions) - 1:
            return cut
        kept = {s.id for s in supervisions[first : last + 1]}
        start = max(0.0, supervisions[first].start)
        end = min(cut.duration, max(s.end for s in supervisions[first : last + 1]))
        part = cut.truncate(offset=start, duration=end - start)
        about = SessionPart(cut.start, cut.duration, self.fixed, start if self.absolute_time else 0.0)
        excerpt = dataclasses.replace(
            part,
            id=f"{cut.id}-{first}-{last}",
            supervisions=[s for s in part.supervisions if s.id in kept],  # by rounding a neighbour may touch the border
            custom={k: v for k, v in (getattr(cut, "custom", None) or {}).items() if k not in TRUTHS},
        )
        return about.written(excerpt)


def _span(supervisions: list, first: int, last: int) -> float:
    return max(s.end for s in supervisions[first : last + 1]) - supervisions[first].start


class SpeechDataset(Dataset):
    """Map-style dataset for lhotse's samplers: indexed by a CutSet, answers with a SpeechBatch.

    Args:
        turns: a TaskMixture to train on, or EvaluationTurns to evaluate.
        partition: where intervals end.
        seed: with the epoch and the cut's id it decides the turns, the same on every rank, worker and resume.
        cache: encoder frames to use instead of audio where they are stored.
    """

    def __init__(
        self,
        turns: TaskMixture | EvaluationTurns,
        partition: Partition,
        seed: int = 0,
        cache: FrameCache | None = None,
    ) -> None:
        self.turns = turns
        self.partition = partition
        self.seed = seed
        self.cache = cache
        self.epoch = 0

    def __getitem__(self, cuts: CutSet) -> SpeechBatch:
        rows, frames, audio, failed = [], [], [], []
        for cut in iter(cuts):
            kept = self.cache.load(cut) if self.cache else None
            try:
                audio.append(load_audio(cut) if kept is None else None)
            except AudioError as error:
                if not isinstance(self.turns, EvaluationTurns) or not items_of(cut):
                    raise
                failed.append((cut, self._turns(cut), str(error)))  # a benchmark goes on, and counts its failures
                continue
            rows.append(cut)
            frames.append(kept)
        return SpeechBatch(
            ids=[cut.id for cut in rows],
            cuts=rows,
            audio=audio,
            frames=frames,
            interval_ends=[self.partition(cut) for cut in rows],
            turns=[self._turns(cut) for cut in rows],
            epoch=self.epoch,
            failed=failed,
        )

    def _turns(self, cut: Cut) -> list[Turn]:
        if isinstance(self.turns, EvaluationTurns):
            return [] if isinstance(cut.id, FillerId) else self.turns(cut)
        rng = random.Random(f"{self.seed}-{self.epoch}-{cut.id}")
        return [self.turns.transcribed(cut, rng)] if SessionPart.of(cut) is not None else self.turns.draw(cut, rng)
