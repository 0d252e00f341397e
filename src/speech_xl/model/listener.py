"""Listening for hours: audio goes in as it comes, questions are answered from what was kept.

listener = Listener(model, ratio=4)
for piece in microphone:
    listener.push(piece)
print(listener.ask("what number did anna give").text)
"""

from copy import copy
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor
from transformers import LogitsProcessor

from speech_xl import SAMPLE_RATE, SHORTEST_SECONDS
from speech_xl.model.interval_clock import IntervalClock
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.memory_file import COUNTS, MEND, MemoryFileError, read_memory, write_memory
from speech_xl.model.ratios import check_ratios, to_ratio
from speech_xl.model.speech import Answer
from speech_xl.model.speech_llm import SpeechLLM
from speech_xl.model.stream import FrameStream

SAVED = ("frames", "samples", "ended")  # beside the clock


class Listener:
    """One stream into one memory.

    model             a backbone, as `load_model` gives it
    ratio             frames an SST stands for, 1 for uncompressed; may be set anew at any time, and holds from that
                      second of the audio on: for the intervals that end after it, the open one included
    interval_seconds  length of an interval; `end_interval` ends one earlier

    What `push` has taken and what `ask` answers is the same, bit by bit, whatever the chunks the audio came in, and the
    same as if it had come at once, cut by the partition `FixedWindows`. An interval is heard once enough follows that
    its window can't be the last, and its frames are there.
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
        self._take(self.stream.push(audio))

    def push_frames(self, frames: Tensor) -> None:
        """Hear speech frames [N, D] as the adapter makes them, for a source that has an encoder of its own: nothing is
        held back. Raises ValueError behind audio, or after `flush`."""
        self._check_open()
        if self.samples:
            raise ValueError("frames behind audio: a listener hears audio (push) or frames (push_frames), not both")
        self._take(frames)

    def end_interval(self) -> None:
        """The open interval ends at this second of the audio, where somebody pauses, say; the next one begins with what
        follows. Of audio whose frames aren't there yet, it will."""
        self.clock.ask_end(self.seconds)
        self._hear_ended()

    def flush(self) -> None:
        """The audio has ended: hear what was held back, in a last interval that may be short."""
        if not self.ended:
            frames, self.ended = self.stream.flush(), True
            self._take(frames)
            self._hear(len(self.waiting), self.clock.ratio_of(self.seconds))

    def _check_open(self) -> None:
        if self.ended:
            raise ValueError("the audio has ended (flush): fork a listener before, and push to the fork")

    @torch.no_grad()
    def _take(self, frames: Tensor) -> None:
        self.waiting = torch.cat([self.waiting, frames.to(self.waiting)])
        self._hear_ended()

    def _hear_ended(self) -> None:
        """Hear every interval whose end is known, as far as its frames are there."""
        least_rest = SHORTEST_SECONDS if self.samples else 0.0  # with frames alone nothing is held back
        while isfinite(end := self.clock.next_end(self.seconds, least_rest)):
            length = round(end * self.model.frame_rate) - self.frames
            if self.ended and end >= self.seconds:
                length = len(self.waiting)  # the last interval takes a started frame too
            if length > len(self.waiting):
                return
            self._hear(length, self.clock.ratio_of(end))
            self.clock.step(end)

    @torch.no_grad()
    def _hear(self, length: int, ratio: int) -> None:
        """The next `length` frames are an interval."""
        if length:
            self.model.compress_interval(self.memory, self.waiting[None, :length], [length], [to_ratio(ratio)])
            self.waiting, self.frames = self.waiting[length:], self.frames + length

    def ask(self, instruction: str, limit: int = 512) -> Answer:
        """Answer from what was heard so far, the open interval included; listening goes on as if nobody had asked.

        limit: most tokens of the answer. Raises ValueError where nothing was heard yet.
        """
        now = self.fork()
        now.flush()
        if not now.frames:
            raise ValueError("nothing was heard yet: push audio before asking")
        rules = self._rules(instruction)
        return self.model.generate(now.memory, [0], [instruction], [limit], rules)[0]

    def reach(self, instruction: str) -> float | None:
        """The last second of the audio so far that an answer to this instruction can write down, where the audio goes
        on after it: a tokenizer has timestamps up to some second. None where nothing limits it."""
        return next((rule.reached[0] for rule in self._rules(instruction) if hasattr(rule, "reached")), None)

    def _rules(self, instruction: str) -> list[LogitsProcessor]:
        return self.model.processors([instruction], [self.seconds])

    def fork(self) -> "Listener":
        """A listener who remembers the same and goes on alone."""
        other = copy(self)
        other.memory, other.stream, other.clock = self.memory.select([0]), copy(self.stream), self.clock.copy()
        return other

    # On disk: tensors as safetensors, the rest in their header

    def save(self, path: str | Path) -> None:
        """Write memory and open interval, so that `load` goes on from here."""
        stream = self.stream
        tensors = {"waiting": self.waiting, "audio": stream.audio} | self.memory.tensors()
        if stream.frames is not None:
            tensors["encoder_frames"] = stream.frames
        counts = {name: getattr(stream, name) for name in COUNTS}
        state = {name: getattr(self, name) for name in SAVED} | {"clock": self.clock.state()}
        about = {"peak": self.memory.peak, "stream": counts, "listener": state, "model": self.model.identity()}
        about["lineage"] = self.model.lineage
        write_memory(Path(path), tensors, about)

    @classmethod
    def load(cls, path: str | Path, model: SpeechLLM) -> "Listener":
        """A listener who remembers what `save` wrote, listening through `model`.

        Raises MemoryFileError where the file is no memory, of other weights or settings, or of another version, and
        TensorFileError where it is damaged.
        """
        tensors, about = read_memory(Path(path), model, (*SAVED, "clock"))
        made = cls(model, ratio=1)
        vars(made).update({name: about["listener"][name] for name in SAVED})
        try:
            made.clock = IntervalClock.from_state(about["listener"]["clock"])
        except (KeyError, TypeError, ValueError) as error:
            raise MemoryFileError(f"{path}: its intervals were changed by hand ({error}); {MEND}") from error
        vars(made.stream).update(about["stream"], audio=tensors["audio"].cpu(), frames=tensors.get("encoder_frames"))
        made.waiting = tensors["waiting"]
        made.memory = KVMemory.from_tensors(tensors, about["peak"])
        return made
