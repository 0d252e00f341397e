"""Transcriber: a transcript of audio of any length, part by part, each from a memory of its own that is dropped."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from speech_xl import SAMPLE_RATE
from speech_xl.checks import number, whole
from speech_xl.data.channels import SHORTEST_SOUND, SILENT
from speech_xl.data.transcript import Transcript
from speech_xl.inference.audio_input import Audio, Intake, Progress, heard_chunks
from speech_xl.inference.freed_memory import give_back
from speech_xl.inference.memory import HELD, PART, Memory
from speech_xl.inference.parts import part_seconds, quietest, search_samples
from speech_xl.inference.segments import Segment, as_srt, as_vtt, segments_of, words_of
from speech_xl.inference.windows import answered
from speech_xl.model.generation import StepWatch
from speech_xl.model.listener import STATE
from speech_xl.model.memory_file import MEND, MemoryFileError, read_memory

if TYPE_CHECKING:
    from speech_xl.inference.model import ListeningModel

SILENT_END = 30.0  # seconds without a timestamp at the end of a part: longer than an utterance


@dataclass
class Transcription:
    """What was said.

    text                 all of it
    segments             what was said when; of a model without timestamps one a part
    words                (start in seconds, word), where the model times words
    audio_seconds_heard  seconds of audio, all of them heard
    ratio                speech frames that an SST stands for
    parts                how many parts the audio was heard in
    kept_kv_bytes        bytes of keys and values in the cache, the most of any part
    full_kv_bytes        bytes that full attention would have held of that part
    finished             False where a part's text was cut at the limit of tokens, or the audio hasn't ended
    remarks              what who reads it should know, a sentence each
    """

    text: str
    segments: list[Segment]
    words: list[tuple[float, str]]
    audio_seconds_heard: float
    ratio: int
    parts: int
    kept_kv_bytes: int
    full_kv_bytes: int
    finished: bool
    remarks: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        words = [{"start_seconds": start, "word": word} for start, word in self.words]
        return {**asdict(self), "words": words}

    def as_text(self) -> str:
        """The text, and the end of its line."""
        return f"{self.text}\n"

    def as_srt(self) -> str:
        """Its segments as SubRip subtitles."""
        return as_srt(self.segments)

    def as_vtt(self) -> str:
        """Its segments as WebVTT subtitles."""
        return as_vtt(self.segments)


@dataclass(frozen=True)
class PartResult:
    """A part that was transcribed: its end, text without timestamps, KV bytes, and whether the text is whole."""

    end_seconds: float
    text: str
    kept_kv_bytes: int
    full_kv_bytes: int
    finished: bool


class Transcriber:
    """Hears audio and writes down what is said, part by part; memory stays the same however long it is.

    ratio         speech frames that one SST stands for; None: the model's default
    part_seconds  longest part; None: as long as the LLM's context and its timestamps allow. A part ends at the quietest
                  moment of its last 5 s

    on_step, where it is set, is called at every token that is written, and says whether to go on writing.

    The result is the same, bit by bit, whatever chunks the audio comes in. Raises ValueError for a ratio or a length
    that the model has no room for.
    """

    def __init__(self, model: ListeningModel, ratio: int | None = None, part_seconds: float | None = None) -> None:
        self.model, self.asked_seconds = model, part_seconds
        self.intake, self.memory = Intake(), model.listen(ratio=ratio)
        self.start = 0  # sample of the audio at which this part begins
        self.held = torch.zeros(0)  # [S] of its end, in which it may be cut; the memory hasn't heard it
        self.sounding = 0  # samples of this part that are louder than silence
        self.ended = False
        self.results: list[PartResult] = []
        self.segments: list[Segment] = []
        self.words: list[tuple[float, str]] = []
        self.remarks: list[str] = []
        self.on_step: Callable[[], bool] | None = None
        self._limit_part()

    @property
    def ratio(self) -> int:
        """Speech frames that one SST stands for. A new one holds for intervals that end later."""
        return self.memory.ratio

    @ratio.setter
    def ratio(self, ratio: int) -> None:
        before = self.memory.ratio
        self.memory.ratio = ratio
        try:
            self._limit_part()
        except ValueError:
            self.memory.ratio = before
            raise

    def _limit_part(self) -> None:
        """Set the longest samples of this part, and from which on a cut is looked for."""
        self.longest = round(part_seconds(self.model, self.ratio, self.asked_seconds) * SAMPLE_RATE)
        self.search = search_samples(self.longest)

    @property
    def seconds(self) -> float:
        """Of audio pushed."""
        return (self.start + self.memory.listener.samples + len(self.held)) / SAMPLE_RATE

    def push(self, audio: Audio, rate: float | None = None, progress: Progress | None = None) -> list[Segment]:
        """Hear more, as `Memory.push` does; the segments that are new, of parts that are over.

        Raises ValueError where the audio has ended (`finish`).
        """
        if self.ended:
            raise ValueError("the audio has ended (finish): begin another transcriber")
        before = len(self.segments)
        for chunk in heard_chunks(audio, rate, self.intake, progress):
            self._hear(chunk)
            give_back()
        return self.segments[before:]

    def finish(self) -> list[Segment]:
        """The audio has ended: the segments of its last part."""
        before = len(self.segments)
        if not self.ended:
            self._hear(self.intake.flush())
            self._give(self.held)
            if self.memory.listener.samples:
                self._end_part()
            self.held, self.ended = torch.zeros(0), True
        return self.segments[before:]

    @property
    def transcription(self) -> Transcription:
        """What was said in all parts that are over."""
        largest = max(self.results, key=lambda one: one.full_kv_bytes, default=PartResult(0, "", 0, 0, True))
        return Transcription(
            text=" ".join(one.text for one in self.results if one.text),
            segments=list(self.segments),
            words=list(self.words),
            audio_seconds_heard=self.seconds,
            ratio=self.ratio,
            parts=len(self.results),
            kept_kv_bytes=max((one.kept_kv_bytes for one in self.results), default=0),
            full_kv_bytes=largest.full_kv_bytes,
            finished=self.ended and all(one.finished for one in self.results),
            remarks=list(self.remarks),
        )

    def _hear(self, chunk: Tensor) -> None:
        """Audio [S] at 16 kHz: the memory hears what lies before any cut; the rest is held until the cut is known."""
        while len(chunk):
            free = self.longest - self.search - self.memory.listener.samples
            if free > 0 and not len(self.held):
                self._give(chunk[:free])
                chunk = chunk[free:]
                continue
            # One sample more than the longest part: else the audio may end with it, and needs no cut.
            most = max(self.longest - self.memory.listener.samples, self.search) + 1
            missing = most - len(self.held)
            self.held, chunk = torch.cat([self.held, chunk[:missing]]), chunk[missing:]
            if len(self.held) == most:
                self._cut()

    def _cut(self) -> None:
        """End this part where it is quietest; the next begins with what is held after that."""
        place = quietest(self.held[:-1])
        before, after = self.held[:place], self.held[place:]
        self.held = torch.zeros(0)
        self._give(before)
        self._end_part()
        self._hear(after)

    def _give(self, samples: Tensor) -> None:
        self.sounding += int((samples.abs() > SILENT).sum())
        self.memory.listener.push(samples)

    def _end_part(self) -> None:
        """Write down what was said in this part, and begin the next with an empty memory."""
        model, memory = self.model, self.memory
        offset, number = self.start / SAMPLE_RATE, len(self.results) + 1
        end = offset + memory.seconds
        instruction = model.transcript.instruction
        memory.finish()
        text, finished = "", True
        sounding = self.sounding / SAMPLE_RATE
        if sounding >= SHORTEST_SOUND:
            limit, watch = model.answer_limit(instruction, memory.seconds), self.on_step and StepWatch(self.on_step)
            said = answered(model, memory.listener, instruction, limit, watch)
            text, finished = said.text, said.finished
            part = f"part {number} ({offset:.1f} to {end:.1f} s)"
            if not finished:
                self.remarks.append(f"{part} was cut at {limit} tokens: the model went on for too long")
            elif (late := silent_end(model.transcript, text, memory.seconds)) is not None:
                self.remarks.append(f"{part}: {late}")
        else:
            what = f"holds {sounding:.4f} s of sound, a click" if sounding else "is digital silence"
            self.remarks.append(f"{offset:.1f} to {end:.1f} s {what}; nothing was written for it")
        words = " ".join(model.transcript.words(text).split())
        self.segments += segments_of(model.transcript, text, offset, end)
        self.words += words_of(model.transcript, text, offset, end)
        self.results.append(PartResult(end, words, memory.kept_kv_bytes, memory.full_kv_bytes, finished))
        self.start += memory.listener.samples
        self.memory, self.sounding = model.listen(ratio=memory.ratio), 0
        self._limit_part()

    def fork(self) -> Transcriber:
        """A transcriber that has heard and written the same and goes on alone."""
        other = copy(self)
        other.intake, other.memory = self.intake.copy(), self.memory.fork()
        for name in ("results", "segments", "words", "remarks"):
            setattr(other, name, list(getattr(self, name)))
        return other

    # On disk

    def save(self, path: str | Path) -> None:
        """Write all of it to a file (safetensors) from which `load` goes on. Raises FileError."""
        held, counts = self.intake.state()
        state = {
            "start": self.start,
            "sounding": self.sounding,
            "ended": self.ended,
            "part_seconds": self.asked_seconds,
            "results": [astuple(one) for one in self.results],
            "segments": [astuple(one) for one in self.segments],
            "words": self.words,
            "remarks": self.remarks,
        }
        self.memory.listener.save(path, {HELD: held, PART: self.held}, intake=counts, transcriber=state)

    @classmethod
    def load(cls, path: str | Path, model: ListeningModel) -> Transcriber:
        """The transcriber that `save` wrote, going on where it was. Raises as `ListeningModel.load_memory` does."""
        tensors, about = read_memory(Path(path), model.backbone, STATE, (HELD, PART))
        if PART not in tensors or not isinstance(state := about.get("transcriber"), dict):
            raise MemoryFileError(f"{path}: no transcriber's file (Transcriber.save writes them)")
        memory = Memory.restored(path, model, tensors, about)
        try:
            made = cls(model, memory.ratio, state["part_seconds"])
            made.start, made.held = whole("start", state["start"]), tensors[PART].cpu()
            made.sounding, made.ended = whole("sounding", state["sounding"]), bool(state["ended"])
            made.results = [PartResult(*row) for row in state["results"]]
            made.segments = [_segment(*row) for row in state["segments"]]
            made.words = [(number("words", start, least=0), str(word)) for start, word in state["words"]]
            made.remarks = [str(remark) for remark in state["remarks"]]
        except (KeyError, TypeError, ValueError) as error:
            raise MemoryFileError(f"{path}: its transcript was changed by hand ({error}); {MEND}") from error
        made.memory, made.intake = memory, memory.intake
        memory.intake = Intake()  # the transcriber's own
        return made


def silent_end(transcript: Transcript, text: str, seconds: float) -> str | None:
    """A sentence where the last timestamp of a transcript's text is long before the end of its audio; None where it
    isn't, or transcripts have no timestamps."""
    if transcript.step_seconds is None:
        return None
    last = transcript.last_second(text) or 0.0
    if seconds - last <= SILENT_END:
        return None
    return f"the last timestamp is {last:.1f} s, {seconds - last:.1f} s before the end; was nothing said after it?"


def _segment(start: Any, end: Any, text: Any) -> Segment:
    return Segment(number("segments", start, least=0), number("segments", end, least=0), str(text))
