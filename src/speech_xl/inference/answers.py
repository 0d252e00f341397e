"""Answers, whole or as their tokens come."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Semaphore, Thread, current_thread

from speech_xl.model.generation import TokenWatch

UNFINISHED = "\ufffd"  # what tokenizers decode the beginning of a character to
_writing: dict[Thread, Callable[[], None]] = {}  # threads that write an answer, and what stops each


@atexit.register
def _stop_all() -> None:
    """Python may not end while torch runs in one of them: the process would abort."""
    for thread, stop in list(_writing.items()):
        stop()
        thread.join()


@dataclass(frozen=True)
class Answer:
    """An answer, and what it was given from.

    audio_seconds_heard  seconds of audio that it could draw on, all of them
    ratio                frames that an SST stands for, of the audio that came last
    kept_kv_tokens       KV tokens that were kept of the audio, without the prompt before it
    kept_kv_bytes        bytes of their keys and values, as they lie in the cache
    full_kv_bytes        bytes that all speech frames would have held
    new_tokens           tokens of the answer, the one that ends it included
    finished             False where the limit of tokens ended it, or its timestamps don't reach the audio's end
    reached_seconds      the last second that its timestamps reach, where the audio goes on after it; None: all of it
    """

    text: str
    audio_seconds_heard: float
    ratio: int
    kept_kv_tokens: int
    kept_kv_bytes: int
    full_kv_bytes: int
    new_tokens: int
    finished: bool
    reached_seconds: float | None = None


class AnswerStream(Iterator[str]):
    """Pieces of an answer's text as its tokens come; joined they are the answer's text, exactly.

    A piece ends between characters, and is written when it is asked for. `answer` waits for the rest and gives the
    whole. A stream that nobody reads any further should be closed (`close`, or use it in a `with`), else its thread
    waits for as long as somebody holds it, or until Python ends.
    """

    def __init__(self, write: Callable[[TokenWatch], Answer], text_of: Callable[[list[int]], str]) -> None:
        """write: writes the answer, showing its tokens to a watch; text_of: text of the tokens so far."""
        self._queue: SimpleQueue[str | Answer | BaseException] = SimpleQueue()
        self._stop, self._answer, self._failure = Event(), None, None
        self._asked, self._begun = Semaphore(0), False
        # Not self: a stream that nobody holds can be collected, and closes.
        queue, stop, asked = self._queue, self._stop, self._asked

        def run() -> None:
            tokens: list[int] = []
            given = ""

            def on_token(token: int) -> bool:
                nonlocal given
                tokens.append(token)
                sure = text_of(tokens).rstrip(UNFINISHED)
                if len(sure) > len(given) and sure.startswith(given):
                    queue.put(sure[len(given) :])
                    given = sure
                    if not stop.is_set():
                        asked.acquire()  # nothing is written ahead: who shares a machine decides when the next token is
                return not stop.is_set()

            try:
                answer = write(TokenWatch(on_token))
                if not answer.text.startswith(given):
                    raise RuntimeError("this tokenizer rewrites what it has decoded; ask without streaming")
                if rest := answer.text[len(given) :]:
                    queue.put(rest)
                queue.put(answer)
            except BaseException as error:  # is raised again where the stream is read
                queue.put(error)

        def end() -> None:
            stop.set()
            asked.release()

        self._end, self._thread = end, Thread(target=run, name="answer", daemon=True)
        self._thread.start()
        for gone in [thread for thread in list(_writing) if not thread.is_alive()]:
            _writing.pop(gone, None)
        _writing[self._thread] = end

    def __iter__(self) -> AnswerStream:
        return self

    def __next__(self) -> str:
        if self._answer is not None or self._failure is not None:
            raise StopIteration
        if self._begun:
            self._asked.release()
        self._begun = True
        found = self._queue.get()
        if isinstance(found, str):
            return found
        self._join()
        if isinstance(found, BaseException):
            self._failure = found
            raise found
        self._answer = found
        raise StopIteration

    @property
    def answer(self) -> Answer:
        """The whole answer, once it is written; of a closed stream what was written until then, unfinished."""
        for _ in self:
            pass
        if self._answer is None:
            raise RuntimeError("the answer failed; its stream has raised why") from self._failure
        return self._answer

    def close(self) -> None:
        """No more is wanted: the answer ends after the token that is being written, which this waits for."""
        self._end()
        self._join()

    def _join(self) -> None:
        if current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._end()  # without waiting: this may run in any thread, with any lock held
