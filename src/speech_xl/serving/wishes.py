"""What is wanted of a session while it hears a file: done between two steps of hearing, which need not end first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, TypeVar

Value = TypeVar("Value")
Result = TypeVar("Result")


class Over(Exception):
    """Nothing is being heard, or hearing broke off: what was wanted is to be asked of the session itself."""


class Wishes:
    """Functions that wait for a session's draft. `want` is called on the event loop, `between` by worker threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hearing = 0  # works that hear, or wait to
        self._waiting: list[tuple[Callable[[Any], Any], Future[Any]]] = []

    def open(self) -> None:
        """Something will be heard. For each `open` there is a `close`."""
        with self._lock:
            self._hearing += 1

    def close(self) -> None:
        """It was, or won't be; where it was the last, what still waits is told so."""
        with self._lock:
            self._hearing -= 1
            if self._hearing:
                return
            waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            future.set_exception(Over())

    async def want(self, function: Callable[[Any], Result]) -> Result:
        """What the function gives of the draft after the present step of hearing. Raises Over, and as it does."""
        future: Future[Result] = Future()
        with self._lock:
            if not self._hearing:
                raise Over
            self._waiting.append((function, future))
        return await asyncio.shield(asyncio.wrap_future(future))

    def between(
        self, draft: object, steps: Generator[Callable[[], Value] | None, None, Result]
    ) -> Generator[Value | None, None, Result]:
        """These steps; after each of them what was wanted of `draft` meanwhile, then what the step's function gives:
        a view made after the wishes never shows less than was acknowledged."""
        try:
            while True:
                try:
                    made = next(steps)
                except StopIteration as end:
                    self._fulfil(draft)
                    return end.value
                self._fulfil(draft)
                yield None if made is None else made()
        finally:
            steps.close()

    def _fulfil(self, draft: Any) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for function, future in waiting:
            try:
                future.set_result(function(draft))
            except Exception as error:
                future.set_exception(error)
