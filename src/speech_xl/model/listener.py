"""Listening for hours: audio goes in as it comes, questions are answered from what was kept.

listener = Listener(model, ratio=4)
for piece in microphone:
    listener.push(piece)
print(listener.ask("what number did anna give").text)
"""

from collections.abc import Mapping, Sequence
from copy import copy
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from speech_xl import SAMPLE_RATE, SHORTEST_SECONDS
from speech_xl.checks import number, whole
from speech_xl.model.generation import StepWatch, TokenWatch
from speech_xl.model.interval_clock import IntervalClock
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.layout import View
from speech_xl.model.memory_file import COUNTS, MEND, MemoryFileError, read_memory, write_memory
from speech_xl.model.ratios import check_ratios, to_ratio
from speech_xl.model.speech import GeneratedText
from speech_xl.model.speech_llm import SpeechLLM
from speech_xl.model.stream import FrameStream

SAVED = ("frames", "samples", "ended")  # beside the clock and the intervals
STATE = (*SAVED, "clock", "intervals")  # what a file holds of a listener


class HeardFrames(NamedTuple):
    """An interval that was heard: the second at which it ended, its ratio and frames, and the KV tokens kept of it."""

    end: float
    ratio: int
    frames: int
    kept: int


class NextInterval(NamedTuple):
    """An interval that can be heard now: frames, ratio, and the second at which it ends."""

    frames: int
    ratio: int
    end: float


class Listener:
    """One stream into one memory.

    model             a backbone, as `TrainedStage.model` gives it
    ratio             frames an SST stands for, 1 for uncompressed; may be set anew at any time, and holds from that
                      second of the audio on: for the intervals that end after it, the open one included
    interval_seconds  length of an interval; `end_interval` ends one earlier

    What `push` has taken and what `ask` answers is the same, bit by bit, whatever the chunks the audio came in, and the
    same as if it had come at once, cut by the partition `FixedWindows`. An interval is heard once enough follows that
    its window can't be the last, and its frames are there. `intervals` lists what was heard.
    """

    def __init__(self, model: SpeechLLM, ratio: int = 4, interval_seconds: float = 4.0) -> None:
        self.model = model
        self.clock = IntervalClock(interval_seconds)
        self.frames = 0  # speech frames in ended intervals
        self.samples = 0  # of audio taken
        self.waiting = torch.zeros(0, model.llm.width, device=model.device)  # [N, D], frames of open intervals
        self.ratio = ratio
        with torch.no_grad():
            self.memory = model.start(1)
        self.stream = FrameStream(model)
        self.ended = False  # whether the audio is
        self.intervals: list[HeardFrames] = []

    @property
    def ratio(self) -> int:
        """The ratio of what comes from now on."""
        return self.clock.ratio

    @ratio.setter
    def ratio(self, ratio: int) -> None:
        (ratio,) = check_ratios([ratio], "ratio")
        if ratio > 1:
            self.model.check_ratios([[ratio]])
        self.clock.set_ratio(self.seconds, ratio)

    @property
    def interval_seconds(self) -> float:
        return self.clock.interval_seconds

    @property
    def seconds(self) -> float:
        """Of audio taken; of frames, where frames were given."""
        return self.samples / SAMPLE_RATE if self.samples else (self.frames + len(self.waiting)) / self.model.frame_rate

    @property
    def kept(self) -> int:
        """KV tokens of audio in memory: SSTs, and frames of uncompressed intervals."""
        return int(self.memory.kept[0]) - len(self.model.llm.prompt.prefix)

    def push(self, audio: Tensor) -> None:
        """Hear audio [S], float32 at 16 kHz, mono, from -1 to 1.

        Raises ValueError for another shape or type, samples that aren't finite, behind frames, or after `flush`.
        """
        self.take(audio)
        self._hear_ended()

    def take(self, audio: Tensor) -> None:
        """Encode audio as `push` does, and leave its intervals to be heard (`next_interval`)."""
        if audio.dim() != 1:
            raise ValueError(f"audio of shape {list(audio.shape)}: give one channel, [samples] at {SAMPLE_RATE} Hz")
        if not audio.is_floating_point():
            raise ValueError(f"audio of type {audio.dtype}: give numbers from -1 to 1, int16 divided by 32768, say")
        if not isfinite(audio.sum()) and not audio.isfinite().all():
            raise ValueError("audio with samples that are not finite numbers: leave them out, or set them to 0")
        self._check_open()
        if not self.samples and self.seconds:
            raise ValueError("audio behind frames: a listener hears audio (push) or frames (push_frames), not both")
        self.samples += len(audio)
        self._wait(self.stream.push(audio))

    def push_frames(self, frames: Tensor) -> None:
        """Hear speech frames [N, D] as the adapter makes them, for a source that has an encoder of its own: nothing is
        held back. Raises ValueError behind audio, or after `flush`."""
        self._check_open()
        if self.samples:
            raise ValueError("frames behind audio: a listener hears audio (push) or frames (push_frames), not both")
        self._wait(frames)
        self._hear_ended()

    def end_interval(self) -> None:
        """The open interval ends at this second of the audio, where somebody pauses, say; the next one begins with what
        follows. Of audio whose frames aren't there yet, it will."""
        self.clock.ask_end(self.seconds)
        self._hear_ended()

    def flush(self) -> None:
        """The audio has ended: hear what was held back, in a last interval that may be short."""
        if not self.ended:
            frames, self.ended = self.stream.flush(), True
            self._wait(frames)
            self._hear_ended()

    def _check_open(self) -> None:
        if self.ended:
            raise ValueError("the audio has ended (flush): fork a listener before, and push to the fork")

    def _wait(self, frames: Tensor) -> None:
        self.waiting = torch.cat([self.waiting, frames.detach().to(self.waiting)])

    def next_interval(self) -> NextInterval | None:
        """The first open interval, where its end is known and its frames are there."""
        least_rest = SHORTEST_SECONDS if self.samples else 0.0  # with frames alone nothing is held back
        while isfinite(end := self.clock.next_end(self.seconds, least_rest)):
            length = round(end * self.model.frame_rate) - self.frames
            if self.ended and end >= self.seconds:
                length = len(self.waiting)  # the last interval takes a started frame too
            if length > len(self.waiting):
                return None
            if length:
                return NextInterval(length, self.clock.ratio_of(end), end)
            self.clock.step(end)  # an interval without a frame vanishes
        if self.ended and len(self.waiting):
            return NextInterval(len(self.waiting), self.clock.ratio_of(self.seconds), self.seconds)
        return None

    def heard(self, interval: NextInterval, kept: int) -> None:
        """`next_interval` is in the memory now, with so many KV tokens."""
        if isfinite(end := self.clock.next_end(self.seconds, SHORTEST_SECONDS if self.samples else 0.0)):
            self.clock.step(end)
        self.waiting, self.frames = self.waiting[interval.frames :], self.frames + interval.frames
        self.intervals.append(HeardFrames(interval.end, interval.ratio, interval.frames, kept))

    @torch.no_grad()
    def _hear_ended(self) -> None:
        """Hear every interval whose end is known, as far as its frames are there."""
        while (interval := self.next_interval()) is not None:
            before, frames = self.kept, self.waiting[None, : interval.frames]
            self.model.compress_interval(self.memory, frames, [interval.frames], [to_ratio(interval.ratio)])
            self.heard(interval, self.kept - before)

    def ask(self, instruction: str, limit: int = 512) -> GeneratedText:
        """Answer from what was heard so far, the open interval included; listening goes on as if nobody had asked.

        limit: most tokens of the answer. Raises ValueError where nothing was heard yet.
        """
        now = self.fork()
        now.flush()
        return now.answer(instruction, limit)

    def answer(self, instruction: str, limit: int, watch: TokenWatch | StepWatch | None = None) -> GeneratedText:
        """Answer from the intervals heard; the memory is left as it was. `watch` is shown each token as it comes."""
        return self.answers([instruction], [limit], watch)[0]

    def answers(
        self,
        instructions: Sequence[str],
        limits: Sequence[int],
        watch: TokenWatch | StepWatch | None = None,
        views: Sequence[View | None] = (),
    ) -> list[GeneratedText]:
        """Answers to several questions, each as if it were the only one, generated as a batch of copies of the memory;
        limits: most tokens of each; views: first and last interval that each sees."""
        if not self.frames:
            raise ValueError("nothing was heard yet: push audio before asking")
        rules = self.model.processors(instructions, [self.seconds] * len(instructions))
        return self.model.generate(self.memory, [0] * len(instructions), instructions, limits, rules, watch, views)

    def reach(self, instruction: str) -> float | None:
        """The last second of the audio so far that an answer to this instruction can write down, where the audio goes
        on after it: a tokenizer has timestamps up to some second. None where nothing limits it."""
        prompt, device = self.model.llm.prompt, self.model.device
        return self.model.decoding.reach(prompt, instruction, self.seconds, device)

    def fork(self) -> "Listener":
        """A listener who remembers the same and goes on alone."""
        other = copy(self)
        other.memory, other.stream, other.clock = self.memory.fork(), copy(self.stream), self.clock.copy()
        other.intervals = list(self.intervals)
        return other

    # On disk: tensors as safetensors, the rest in their header

    def save(self, path: str | Path, tensors: Mapping[str, Tensor] | None = None, **notes: Any) -> None:
        """Write memory and open interval, so that `load` goes on from here.

        tensors  more of them [S], which `restored` leaves to the caller; notes: more plain data of its header
        """
        stream = self.stream
        own = {"waiting": self.waiting, "audio": stream.audio} | self.memory.tensors()
        if stream.frames is not None:
            own["encoder_frames"] = stream.frames
        counts = {name: getattr(stream, name) for name in COUNTS}
        state = {name: getattr(self, name) for name in SAVED}
        state |= {"clock": self.clock.state(), "intervals": self.intervals}
        about = {"peak": self.memory.peak, "stream": counts, "listener": state, "model": self.model.identity()}
        about["lineage"] = self.model.lineage
        write_memory(Path(path), {**own, **(tensors or {})}, {**about, **notes})

    @classmethod
    def load(cls, path: str | Path, model: SpeechLLM) -> "Listener":
        """A listener who remembers what `save` wrote, listening through `model`.

        Raises MemoryFileError where the file is no memory, of other weights or settings, or of another version, and
        TensorFileError where it is damaged.
        """
        return cls.restored(path, model, *read_memory(Path(path), model, STATE))

    @classmethod
    def restored(
        cls, path: str | Path, model: SpeechLLM, tensors: Mapping[str, Tensor], about: Mapping[str, Any]
    ) -> "Listener":
        """A listener from what `read_memory` has read, of `STATE` at least; raises as `load` does."""
        made = cls(model, ratio=1)
        vars(made).update({name: about["listener"][name] for name in SAVED})
        try:
            made.clock = IntervalClock.from_state(about["listener"]["clock"])
            made.intervals = [_checked(*row) for row in about["listener"]["intervals"]]
        except (KeyError, TypeError, ValueError) as error:
            raise MemoryFileError(f"{path}: its intervals were changed by hand ({error}); {MEND}") from error
        vars(made.stream).update(about["stream"], audio=tensors["audio"].cpu(), frames=tensors.get("encoder_frames"))
        made.waiting = tensors["waiting"]
        made.memory = KVMemory.from_tensors(dict(tensors), about["peak"])
        return made


def _checked(end: Any, ratio: Any, frames: Any, kept: Any) -> HeardFrames:
    """Raises ValueError where one of the numbers is out of range."""
    counts = whole("ratio", ratio, least=1), whole("frames", frames, least=1), whole("kept", kept, least=1)
    return HeardFrames(number("end", end, least=0, unit="seconds"), *counts)
