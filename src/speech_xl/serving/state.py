"""What a session has heard: its memory and, where it transcribes, its transcriber; as JSON, and on disk.

All of this runs as steps of `Compute`, never on the event loop.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from speech_xl.inference.answers import Answer
from speech_xl.inference.memory import HeardInterval, Memory
from speech_xl.inference.model import ListeningModel
from speech_xl.inference.transcription import Segment, Transcriber
from speech_xl.model.memory_file import MemoryFileError
from speech_xl.serving.turns import in_turns
from speech_xl.serving.wishes import Wishes
from speech_xl.storage.files import write_text

Json = dict[str, Any]
Steps = Generator[None, None, None]
VERSION = 1  # of ABOUT
ABOUT = "session.json"  # names the files that belong together; written last


class SessionState:
    """One session's ears.

    ended  whether its audio is: nothing more is heard, questions are answered
    """

    def __init__(self, memory: Memory, transcriber: Transcriber | None, ended: bool = False) -> None:
        self.memory, self.transcriber, self.ended = memory, transcriber, ended

    @classmethod
    def new(cls, model: ListeningModel, ratio: int, transcribe: bool) -> SessionState:
        return cls(model.listen(ratio=ratio), Transcriber(model, ratio) if transcribe else None)

    def fork(self) -> SessionState:
        """A copy that goes on alone."""
        transcriber = None if self.transcriber is None else self.transcriber.fork()
        return SessionState(self.memory.fork(), transcriber, self.ended)

    def pushing(self, audio: Tensor | np.ndarray, rate: int, stoppable: bool = True) -> Steps:
        """Hear one channel of audio [S], from -1 to 1, at `rate` Hz, in steps that take turns with other work."""
        self.memory.push(audio, rate)
        if (transcriber := self.transcriber) is not None:
            if stoppable:
                yield  # hearing for the transcript is a step of its own
            yield from writing(transcriber, lambda: transcriber.push(audio, rate), stoppable)

    def finishing(self) -> Steps:
        """The audio has ended: hear what was held back and write the last segments."""
        self.memory.finish()
        self.ended = True
        if self.transcriber is not None:
            yield
            yield from writing(self.transcriber, self.transcriber.finish)

    def set_ratio(self, ratio: int) -> None:
        """Raises ValueError, and changes nothing, where the transcriber has no room at this ratio."""
        if self.transcriber is not None:
            self.transcriber.ratio = ratio
        self.memory.ratio = ratio

    def view(self) -> Json:
        """As clients see it."""
        memory = self.memory
        return {
            "ratio": memory.ratio,
            "audio_seconds_heard": round(memory.seconds, 4),
            "kept_kv_tokens": memory.kept_kv_tokens,
            "kept_kv_bytes": memory.kept_kv_bytes,
            "full_kv_bytes": memory.full_kv_bytes,
            "transcriber_kv_bytes": 0 if self.transcriber is None else self.transcriber.memory.kept_kv_bytes,
            "ended": self.ended,
            "intervals": [interval_json(one) for one in memory.intervals],
            "segments": None if self.transcriber is None else [segment_json(one) for one in self.transcriber.segments],
            "words": None if self.transcriber is None else [word_json(*one) for one in self.transcriber.words],
        }

    # On disk

    def save(self, folder: Path, model: str, created: float) -> None:
        """Write all of it into `folder`, whole or not at all: what was there stays until ABOUT names the new files."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = 1 + max((int(path.suffixes[0][1:]) for path in folder.glob("memory.*.safetensors")), default=0)
        self.memory.save(folder / f"memory.{number}.safetensors")
        if self.transcriber is not None:
            self.transcriber.save(folder / f"transcriber.{number}.safetensors")
        about = {
            "version": VERSION,
            "model": model,
            "number": number,
            "created": created,
            "saved": time.time(),
            "ended": self.ended,
            "transcribe": self.transcriber is not None,
        }
        write_text(folder / ABOUT, json.dumps(about))
        remove_others(folder, number)

    @classmethod
    def load(cls, folder: Path, model: ListeningModel) -> SessionState:
        """What `save` wrote. Raises MemoryFileError where another model or version did, TensorFileError where it is
        damaged."""
        about = read_about(folder)
        if about is None or about["version"] != VERSION:
            raise MemoryFileError(f"{folder}: written by another version; hear the audio anew")
        memory = model.load_memory(folder / f"memory.{about['number']}.safetensors")
        transcriber = None
        if about["transcribe"]:
            transcriber = Transcriber.load(folder / f"transcriber.{about['number']}.safetensors", model)
        return cls(memory, transcriber, about["ended"])


def read_about(folder: Path) -> Json | None:
    """What ABOUT says of a saved session; None where there is none that is whole."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(about, dict) and {"version", "model", "number", "created", "saved"} <= about.keys()
    return about if known else None


def remove_others(folder: Path, number: int) -> None:
    """Remove files of a session that ABOUT doesn't name: older ones, and what a kill left half written."""
    keep = {ABOUT, f"memory.{number}.safetensors", f"transcriber.{number}.safetensors"}
    for path in folder.iterdir():
        if path.name not in keep:
            path.unlink(missing_ok=True)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


# Work for `Compute`, a step at a time


def writing(transcriber: Transcriber, work: Callable[[], Any], stoppable: bool = True) -> Steps:
    """Work of a transcriber, with a turn for others after every token that it writes."""

    def run(turn: Callable[[], bool]) -> None:
        transcriber.on_step = turn
        try:
            work()
        finally:
            transcriber.on_step = None

    yield from in_turns(run, stoppable)


def hearing(
    state: SessionState, audio: Iterable[Tensor | np.ndarray], rate: int, wishes: Wishes
) -> Generator[Json | None, None, SessionState]:
    """Hear audio on a copy of the session, which is returned: whoever stops this leaves the session as it was."""
    draft = state.fork()

    def steps() -> Generator[Callable[[], Json] | None, None, SessionState]:
        for block in audio:
            yield from draft.pushing(block, rate)
            yield draft.view
        return draft

    return (yield from wishes.between(draft, steps()))


def hearing_live(
    state: SessionState, audio: np.ndarray, rate: int, end_interval: bool = False
) -> Generator[Json | None, None, Json]:
    """Hear a chunk with the session itself, which can't fail half-way; then, maybe, end its interval. Its view."""
    yield from state.pushing(audio, rate, stoppable=False)
    if end_interval:
        state.memory.end_interval()
    return state.view()


def ending(state: SessionState, wishes: Wishes) -> Generator[Json | None, None, SessionState]:
    """The audio of a copy of the session ends."""
    draft = state.fork()

    def steps() -> Generator[Callable[[], Json] | None, None, SessionState]:
        yield from draft.finishing()
        yield draft.view
        return draft

    return (yield from wishes.between(draft, steps()))


def answering(
    state: SessionState, question: str, max_new_tokens: int | None, pieces: bool = True
) -> Generator[str | None, None, Answer]:
    """Answer a question, a token a step; where `pieces` are wanted, text as it comes."""
    if not pieces:
        return (yield from in_turns(lambda turn: state.memory.ask(question, max_new_tokens, lambda token: turn())))
    with state.memory.ask_stream(question, max_new_tokens) as stream:
        yield from stream
        return stream.answer


def interval_json(one: HeardInterval) -> Json:
    """An interval, its seconds rounded to a tenth of a millisecond."""
    return {
        "start_seconds": round(one.start_seconds, 4),
        "end_seconds": round(one.end_seconds, 4),
        "ratio": one.ratio,
        "kept_kv_tokens": one.kept_kv_tokens,
        "kept_kv_bytes": one.kept_kv_bytes,
        "full_kv_bytes": one.full_kv_bytes,
    }


def word_json(start_seconds: float, word: str) -> Json:
    return {"start_seconds": start_seconds, "word": word}


def segment_json(one: Segment) -> Json:
    return {"start_seconds": one.start_seconds, "end_seconds": one.end_seconds, "text": one.text}


def answer_json(answer: Answer) -> Json:
    return {
        "text": answer.text,
        "audio_seconds_heard": round(answer.audio_seconds_heard, 4),
        "ratio": answer.ratio,
        "kept_kv_tokens": answer.kept_kv_tokens,
        "kept_kv_bytes": answer.kept_kv_bytes,
        "full_kv_bytes": answer.full_kv_bytes,
        "new_tokens": answer.new_tokens,
        "finished": answer.finished,
        "reached_seconds": answer.reached_seconds,
    }
