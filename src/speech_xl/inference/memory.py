"""Memory: what a model has heard of one stream of audio, and its answers about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from torch import Tensor

from speech_xl.checks import whole
from speech_xl.inference.answers import Answer, AnswerStream
from speech_xl.inference.audio_input import Audio, Intake, Progress, heard_chunks
from speech_xl.inference.freed_memory import give_back
from speech_xl.inference.windows import answered
from speech_xl.model.context import check_question
from speech_xl.model.generation import TokenWatch
from speech_xl.model.listener import STATE, Listener
from speech_xl.model.memory_file import MEND, MemoryFileError, read_memory
from speech_xl.storage.files import check_target

if TYPE_CHECKING:
    from speech_xl.inference.model import ListeningModel

HELD, PART = "held_samples", "part_samples"  # tensors of a file: what the intake holds back, and a transcriber


@dataclass(frozen=True)
class HeardInterval:
    """An interval that was heard.

    frames          speech frames in it
    kept_kv_tokens  KV tokens that stay of it: its SSTs, or its frames where the ratio is 1
    kept_kv_bytes   bytes of their keys and values
    full_kv_bytes   bytes that all its frames would hold
    """

    start_seconds: float
    end_seconds: float
    ratio: int
    frames: int
    kept_kv_tokens: int
    kept_kv_bytes: int
    full_kv_bytes: int


class Memory:
    """One stream of audio as its model remembers it; `ListeningModel.listen` makes one.

    Audio is heard in intervals. An interval is heard once its end is known and its frames are there, up to a window of
    the encoder later (30 s for Whisper); questions are answered from all of it, at once, and leave no trace.

    Threads may share a memory: one pushes while others ask, each of what was heard when it asked.
    """

    def __init__(self, model: ListeningModel, listener: Listener, intake: Intake | None = None) -> None:
        self.model, self.listener, self.intake = model, listener, intake or Intake()
        self._lock = RLock()  # while it changes or is copied; answers are written from a copy, without it
        self._pushing = RLock()  # one push after another: the chunks of two files don't mix

    # Hearing

    @property
    def ratio(self) -> int:
        """Speech frames that one SST stands for, 1: uncompressed. A new one holds for intervals that end later."""
        return self.listener.ratio

    @ratio.setter
    def ratio(self, ratio: int) -> None:
        with self._lock:
            self.listener.ratio = ratio

    def push(self, audio: Audio, rate: float | None = None, progress: Progress | None = None) -> None:
        """Hear more: a live chunk, or a whole file, behind what was heard before.

        audio     a path, the bytes of a file, or an array or tensor [samples] or [channels, samples], from -1 to 1 (or
                  int16, int32), whose channels are averaged; chunks may be of any size
        rate      samples a second of an array, in Hz
        progress  called with the seconds heard, and of a file how many it has

        Raises AudioError where a file is missing, damaged or no audio, ValueError where an array can't be used, and
        where the audio has ended (`finish`).
        """
        with self._pushing:
            chunks = heard_chunks(audio, rate, self.intake, progress)
            with self._lock:  # what the intake gives up the listener takes, in one step
                for chunk in islice(chunks, 1):
                    self.listener.push(chunk)
            for chunk in chunks:  # of a file
                with self._lock:
                    self.listener.push(chunk)
                give_back()

    def end_interval(self) -> None:
        """The open interval ends here, where somebody pauses, say."""
        with self._lock:
            self.listener.end_interval()

    def finish(self) -> None:
        """The audio has ended: what was held back is heard. More can be pushed to a `fork` made before."""
        with self._lock:
            if not self.listener.ended:
                self.listener.push(self.intake.flush())
                self.listener.flush()

    # Asking

    def ask(
        self, question: str, max_new_tokens: int | None = None, on_token: Callable[[int], bool] | None = None
    ) -> Answer:
        """An answer about all of the audio so far, which goes on as if nobody had asked.

        max_new_tokens  tokens it may have; None: 512, or for a transcript as many as so much speech may need
        on_token        called with every token as it is written; says whether to go on writing

        A transcript is asked for window by window where the model was trained to (`Transcript.windows`); its tokens
        come when all windows are written.

        Raises ValueError where nothing was heard yet, or the question is blank or too long.
        """
        heard, limit = self._asked(question, max_new_tokens)
        return heard._answer(question, limit, None if on_token is None else TokenWatch(on_token))

    def ask_stream(self, question: str, max_new_tokens: int | None = None) -> AnswerStream:
        """As `ask`, a piece of text at a time as its tokens come. What is pushed meanwhile isn't in the answer."""
        heard, limit = self._asked(question, max_new_tokens)
        return AnswerStream(lambda watch: heard._answer(question, limit, watch), self.model.backbone.llm.prompt.text)

    def _asked(self, question: str, max_new_tokens: int | None) -> tuple[Memory, int]:
        """This memory with the audio's end heard, for its eyes alone, and the limit of the answer."""
        check_text(self.model, question)
        if max_new_tokens is not None:
            whole("max_new_tokens", max_new_tokens, least=1)
        with self._lock:
            if not self.seconds:
                raise ValueError("nothing was heard yet: push audio before asking")
            now = self if self.listener.ended else self.fork()  # what has ended stays as it is
        now.finish()
        return now, max_new_tokens or self.model.answer_limit(question, now.seconds)

    def _answer(self, question: str, limit: int, watch: TokenWatch | None = None) -> Answer:
        said = answered(self.model, self.listener, question, limit, watch)
        return Answer(
            text=said.text,
            audio_seconds_heard=self.seconds,
            ratio=self.ratio,
            kept_kv_tokens=self.kept_kv_tokens,
            kept_kv_bytes=self.kept_kv_bytes,
            full_kv_bytes=self.full_kv_bytes,
            new_tokens=said.new_tokens,
            finished=said.finished,
            reached_seconds=said.reached_seconds,
        )

    # What is kept

    @property
    def seconds(self) -> float:
        """Of audio pushed."""
        with self._lock:
            return self.listener.seconds

    @property
    def kept_kv_tokens(self) -> int:
        """KV tokens that stay of the intervals that were heard: their SSTs, and the frames of uncompressed ones."""
        with self._lock:
            return self.listener.kept

    @property
    def kept_kv_bytes(self) -> int:
        """Bytes of their keys and values, measured on the cache's tensors."""
        with self._lock:
            return self.listener.memory.audio_bytes(len(self.model.backbone.llm.prompt.prefix))[0]

    @property
    def full_kv_bytes(self) -> int:
        """Bytes that all frames of these intervals would hold, as full attention needs them."""
        with self._lock:
            return self.listener.frames * self.listener.memory.token_bytes

    @property
    def intervals(self) -> list[HeardInterval]:
        """Those that were heard, in order."""
        with self._lock:
            heard, size = list(self.listener.intervals), self.listener.memory.token_bytes
        found, start = [], 0.0
        for end, ratio, frames, kept in heard:
            found.append(HeardInterval(start, end, ratio, frames, kept, kept * size, frames * size))
            start = end
        return found

    # Copies and files

    def fork(self) -> Memory:
        """A memory that remembers the same and goes on alone."""
        with self._lock:
            return Memory(self.model, self.listener.fork(), self.intake.copy())

    def save(self, path: str | Path) -> None:
        """Write it to a file (safetensors) from which `ListeningModel.load_memory` goes on.

        Raises FileError, as where the file's folder is missing.
        """
        check_target(path, "path")
        now = self.fork()  # as it is now, while others may push
        held, counts = now.intake.state()
        now.listener.save(path, {HELD: held}, intake=counts)

    @classmethod
    def load(cls, path: str | Path, model: ListeningModel) -> Memory:
        """See `ListeningModel.load_memory`."""
        tensors, about = read_memory(Path(path), model.backbone, STATE, (HELD, PART))
        if PART in tensors:
            raise MemoryFileError(f"{path}: a transcript that isn't finished; load it with Transcriber.load")
        return cls.restored(path, model, tensors, about)

    @classmethod
    def restored(
        cls, path: str | Path, model: ListeningModel, tensors: dict[str, Tensor], about: dict[str, Any]
    ) -> Memory:
        """A memory from what `read_memory` has read. Raises MemoryFileError."""
        listener = Listener.restored(path, model.backbone, tensors, about)
        if "intake" not in about or HELD not in tensors:
            raise MemoryFileError(f"{path}: written by another version (it has no intake); {MEND}")
        try:
            intake = Intake.from_state(tensors[HELD], about["intake"])
        except (KeyError, TypeError, ValueError) as error:
            raise MemoryFileError(f"{path}: its held samples were changed by hand ({error}); {MEND}") from error
        return cls(model, listener, intake)


def check_text(model: ListeningModel, question: str) -> None:
    """Raises ValueError where a question is blank, or too long for the LLM."""
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"question: got {question!r:.80}; give a text")
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"question: character {error.start} is half of one (a lone surrogate); take it out") from error
    llm = model.backbone.llm
    check_question(llm, len(llm.prompt.question(question)))
