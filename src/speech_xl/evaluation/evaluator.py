"""Evaluator: the one loop that asks a model about sessions, of validate, test, predict and every comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from lhotse.cut import Cut

from speech_xl.data.session_part import session_offset
from speech_xl.data.tasks import Turn, Window
from speech_xl.evaluation.compressors.compressor import Compressor
from speech_xl.evaluation.prediction import Prediction, turn_id
from speech_xl.evaluation.prediction_file import PredictionWriter
from speech_xl.evaluation.timing import name_of, now
from speech_xl.model import SpeechLLM
from speech_xl.model.context import context_of
from speech_xl.model.decoding_rules import DecodingRules
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.ratios import check_ratios
from speech_xl.model.speech import GeneratedText, Speech

HEARD_FRAMES = 2  # frames by which what is heard may differ from the audio: encoders round at its end
QUESTIONS_AT_ONCE = 64  # rows of one generate call; a memory row is copied for each question

Asked = list[tuple[int, Turn]]  # a row of the batch, and what is asked about it


@dataclass(frozen=True)
class Evaluator:
    """What is asked of a model, and through which KV memory it answers.

    model       hears and answers
    compressor  how its KV memory is made
    ratios      speech frames per KV token kept; every question is asked at each
    split       that the sessions are of, for the predictions
    tasks       of the turns given, those that are asked; None: all
    decoding    what an answer may be; None: the model's own rules

    Raises ValueError for ratios that are none, or ratios above 1 of a compressor that doesn't compress.
    """

    model: SpeechLLM
    compressor: Compressor
    ratios: Sequence[int]
    split: str = ""
    tasks: Collection[str] | None = None
    decoding: DecodingRules | None = None

    def __post_init__(self) -> None:
        ratios = check_ratios(self.ratios, "eval_ratios")
        if not self.compressor.compresses and set(ratios) != {1}:
            raise ValueError(f"eval_ratios: got {list(ratios)}, and {self.compressor.name} doesn't compress; give [1]")

    def write(
        self,
        writer: PredictionWriter,
        cuts: Sequence[Cut],
        turns: Sequence[Sequence[Turn]],
        speech: Callable[[], Speech],
    ) -> None:
        """Write the predictions about a batch that the file doesn't have; speech is asked for only if there are any."""
        every = [(cut, turn) for cut, some in zip(cuts, turns, strict=True) for turn in self._wanted(some)]
        if not all(writer.done(turn_id(cut.id, turn, ratio)) for cut, turn in every for ratio in self.ratios):
            for prediction in self(cuts, turns, speech(), writer.done):
                writer.write(prediction)

    def write_failure(self, writer: PredictionWriter, cut: Cut, turns: Sequence[Turn], reason: str) -> None:
        """Write that nothing could be answered about a session, and why, for every turn and ratio not answered yet."""
        for turn in self._wanted(turns):
            for ratio in self.ratios:
                about = {"split": self.split, "compressor": self.compressor.name, "finished": False, "failed": reason}
                writer.write(Prediction.of(cut, turn, ratio, "", **about))

    @torch.no_grad()
    def __call__(
        self,
        cuts: Sequence[Cut],
        turns: Sequence[Sequence[Turn]],
        speech: Speech,
        done: Callable[[str], bool] = lambda _: False,
    ) -> Iterator[Prediction]:
        """A prediction per turn and ratio: all of a ratio before the next, and in the order of rows and turns.

        cuts, turns, speech: of each session of a batch. done: whether the answer of an `answer_id` is known already;
        a ratio at which all are is left out.
        """
        asked = [(row, turn) for row, some in enumerate(turns) for turn in self._wanted(some)]
        together = self.compressor.takes_rows or len(cuts) == 1
        batches = [range(len(cuts))] if together else [range(row, row + 1) for row in range(len(cuts))]
        for ratio in self.ratios:
            for rows in batches:
                part = [(row - rows.start, turn) for row, turn in asked if row in rows]
                own = [cuts[row] for row in rows]
                if not all(done(turn_id(own[row].id, turn, ratio)) for row, turn in part):
                    yield from self._batch(own, part, speech if together else _row(speech, rows.start), ratio)

    def _wanted(self, turns: Sequence[Turn]) -> list[Turn]:
        return [turn for turn in turns if self.tasks is None or turn.task in self.tasks]

    def _batch(self, cuts: Sequence[Cut], asked: Asked, speech: Speech, ratio: int) -> Iterator[Prediction]:
        """The predictions about sessions that are heard at once."""
        device, found = self.model.device, {}
        memory, heard = None, {}
        for group in self._groups(asked):
            start = now(device)
            if memory is None or self.compressor.needs_question:
                memory = self.compressor.prefill(self.model, speech, ratio, asked[group[0]][1].instruction)
                heard = self._costs(memory, cuts, speech, now(device) - start)
                start = now(device)
            if self.compressor.needs_question and asked[group[0]][1].windows:
                answers = [self._windows_anew(cuts, speech, ratio, *asked[group[0]])]
            else:
                answers = self._answers(memory, cuts, speech, [asked[place] for place in group])
            spent = (now(device) - start) / len(group)
            for place, answer in zip(group, answers, strict=True):
                row, turn = asked[place]
                costs = heard[row] | ({"decode_seconds": spent} if len(cuts) == 1 else {})
                found[place] = self._prediction(cuts[row], turn, ratio, answer, costs)
        for place in range(len(asked)):
            yield found[place]

    def _windows_anew(self, cuts: Sequence[Cut], speech: Speech, ratio: int, row: int, turn: Turn) -> GeneratedText:
        """A transcript in windows by a compressor that must know the question: it hears the session for each."""
        texts = []
        for window in self._writable(turn, cuts[row]):
            memory = self.compressor.prefill(self.model, speech, ratio, window.instruction)
            texts += self._answers(memory, cuts, speech, [(row, replace(turn, windows=(window,)))])
        return (self.decoding or self.model.decoding).joined(texts)

    def _groups(self, asked: Asked) -> Iterator[list[int]]:
        """Places of what is answered at once. Long and short answers are generated apart: a batch runs until its
        longest answer ends."""
        size = 1 if self.compressor.needs_question else QUESTIONS_AT_ONCE
        kinds = [(turn.task, _item_limit(turn) or 0) for _, turn in asked]
        for kind in sorted(set(kinds)):
            places = [place for place, other in enumerate(kinds) if other == kind]
            for start in range(0, len(places), size):
                yield places[start : start + size]

    def _writable(self, turn: Turn, cut: Cut) -> Sequence[Window]:
        """A turn's windows that begin by the last second that can be written down; what is later can't be answered."""
        if not turn.windows:
            return ()
        decoding = self.decoding or self.model.decoding
        reach = decoding.reach(self.model.llm.prompt, turn.instruction, cut.duration, self.model.device)
        last = math.inf if reach is None else reach + session_offset(cut)
        return [window for window in turn.windows if window.span[0] <= last]

    def _answers(self, memory: KVMemory, cuts: Sequence[Cut], speech: Speech, asked: Asked) -> list[GeneratedText]:
        """An answer a turn, of its windows where it has any, joined."""
        decoding, questions = self.decoding or self.model.decoding, []
        for row, turn in asked:
            seconds, offset = cuts[row].duration, session_offset(cuts[row])
            limit = _item_limit(turn) or decoding.limit(turn.task, seconds)
            windows = []
            for window in self._writable(turn, cuts[row]):
                view = decoding.view(window.span, speech.intervals[row], self.model.frame_rate, offset)
                limited = min(limit, decoding.window_limit(window.span))
                windows.append((row, window.instruction, limited, seconds, view))
            questions.append(windows or [(row, turn.instruction, limit, seconds, None)])
        flat, texts = [one for some in questions for one in some], []
        for first in range(0, len(flat), QUESTIONS_AT_ONCE):
            rows, instructions, limits, seconds, views = zip(*flat[first : first + QUESTIONS_AT_ONCE], strict=True)
            rules = decoding.processors(self.model.llm.prompt, instructions, seconds, self.model.device)
            texts += self.compressor.generate(self.model, memory, instructions, limits, rules, rows, views)
        answers = iter(texts)
        found = [[next(answers) for _ in some] for some in questions]
        return [
            decoding.joined(some) if turn.windows else some[0] for some, (_, turn) in zip(found, asked, strict=True)
        ]

    def _costs(self, memory: KVMemory, cuts: Sequence[Cut], speech: Speech, seconds: float) -> list[dict[str, Any]]:
        """Of each row of a memory that has heard and was asked nothing yet, the costs that `Prediction` explains."""
        prefix, token = len(self.model.llm.prompt.prefix), memory.token_bytes
        context = context_of(self.model.llm.model.config)
        alone = (
            {"peak_kv_bytes": (memory.peak - prefix) * token, "prefill_seconds": seconds} if len(speech) == 1 else {}
        )
        return [
            {
                "kept_kv_bytes": size,
                "kept_kv_tokens": round(size / token) if token else 0,
                "total_kv_tokens": int(frames),
                "audio_seconds_heard": self._heard(cut, int(frames)),
                "beyond_context": None if context is None else position > context,
                "device": name_of(self.model.device),
            }
            | alone
            for cut, size, frames, position in zip(
                cuts, memory.audio_bytes(prefix), speech.lengths.tolist(), memory.position.tolist(), strict=True
            )
        ]

    def _heard(self, cut: Cut, frames: int) -> float | None:
        """Seconds of a session that the LLM is given frames of; None of a model without an encoder, to which frames
        come from elsewhere. Raises RuntimeError where that isn't all of it."""
        if self.model.encoder is None:
            return None
        seconds = frames / self.model.frame_rate
        if abs(seconds - cut.duration) * self.model.frame_rate > HEARD_FRAMES:
            raise RuntimeError(
                f"session {cut.id} lasts {cut.duration:.2f} s, and {seconds:.2f} s of it are heard: the encoder gave "
                f"{frames} frames at {self.model.frame_rate:g} a second; its answers would be about another audio"
            )
        return round(min(seconds, cut.duration), 4)

    def _prediction(self, cut: Cut, turn: Turn, ratio: int, answer: GeneratedText, costs: dict[str, Any]) -> Prediction:
        return Prediction.of(
            cut,
            turn,
            ratio,
            answer.text,
            split=self.split,
            compressor=self.compressor.name,
            finished=answer.finished,
            reached_seconds=answer.reached_seconds,
            **costs,
        )


def _item_limit(turn: Turn) -> int | None:
    """The most tokens of an answer to a benchmark's own prompt; None where the model's own rules say it."""
    return None if turn.item is None or turn.item.prompt is None else turn.item.max_tokens


def _row(speech: Speech, row: int) -> Speech:
    """One session of a batch."""
    length = int(speech.lengths[row])
    return Speech(speech.frames[row : row + 1, :length], speech.lengths[row : row + 1], [speech.intervals[row]])
