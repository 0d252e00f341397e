"""Whose turn it is: work is cut into steps, and the work that has used the model least gets the next one."""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import torch

from speech_xl.serving.errors import Stopped, busy

Value = TypeVar("Value")
Result = TypeVar("Result")

AHEAD_SECONDS = 3.0  # of the model that new work has before older work: a short question's whole answer, say


class Stop:
    """Asks work to stop before its next step; read by worker threads.

    why  what stopped work raises
    """

    def __init__(self) -> None:
        self.wanted = False
        self.why: Exception = Stopped("stopped")

    def __call__(self, why: Exception | None = None) -> None:
        self.why = why or self.why
        self.wanted = True


@dataclass(order=True)
class _Job:
    """Work in the queue, least used first.

    used   seconds of the model it has had, counted from the least used job at its start
    given  what its steps gave, for the event loop
    """

    used: float
    number: int
    steps: Generator[Any, None, Any] = field(compare=False)
    stop: Stop = field(compare=False)
    loop: asyncio.AbstractEventLoop = field(compare=False)
    given: asyncio.Queue[tuple[str, Any]] = field(compare=False, default_factory=asyncio.Queue)

    def give(self, kind: str, value: Any) -> None:
        self.loop.call_soon_threadsafe(self.given.put_nowait, (kind, value))


class Compute:
    """Worker threads that run generators step by step; the event loop never waits for a tensor.

    New work begins some seconds ahead. A short question so gets its tokens between the blocks of a long file. Work of
    one session must not be given twice at a time: a memory is touched by one step at a time.

    workers  threads that use the model at once
    threads  of torch within a step; None: as torch has them
    most     jobs that run or wait; more are refused with 429
    """

    def __init__(self, workers: int = 1, threads: int | None = None, most: int = 64) -> None:
        self.threads, self.most = threads, most
        self.jobs = 0
        self.seconds = 0.0  # of all steps
        self._queue: list[_Job] = []
        self._numbers = count()
        self._least = 0.0  # used by the job whose turn came last
        self._changed = threading.Condition()
        self._ending = False
        self._workers = [
            threading.Thread(target=self._work, name=f"speech-xl-{n}", daemon=True) for n in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def end(self) -> None:
        """Stop all jobs after their present steps, and take no more."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def close(self) -> None:
        """`end`, and wait for the threads."""
        self.end()
        for worker in self._workers:
            worker.join()

    async def run(
        self,
        steps: Generator[Value | None, None, Result],
        stop: Stop,
        each: Callable[[Value], None] = lambda value: None,
    ) -> Result:
        """Run a generator to its end and return what it returns; `each` gets, on the event loop, its values but None.

        Its steps end, and the generator is closed, before this returns: also where `each` raises, `stop` is set
        (its `why`), or it raises itself. Raises ApiError (429) where too much waits already.
        """
        if self._ending:
            raise Stopped("stopped")
        if self.jobs >= self.most:
            raise busy("server_busy", f"{self.jobs} requests wait for the model or use it; try again in some seconds")
        job = _Job(self._least - AHEAD_SECONDS, next(self._numbers), steps, stop, asyncio.get_running_loop())
        self.jobs += 1
        try:
            self._put(job)
            failure: Exception | None = None
            while True:
                kind, value = await job.given.get()
                if kind == "value":
                    try:
                        if value is not None and failure is None and not stop.wanted:
                            each(value)
                    except Exception as error:
                        failure = error
                        stop()
                elif failure is not None:
                    raise failure
                elif kind == "error":
                    raise value
                else:
                    return value
        except asyncio.CancelledError:
            stop()
            raise
        finally:
            self.jobs -= 1

    async def call(self, function: Callable[[], Result], stop: Stop | None = None) -> Result:
        """Run a function as one step."""

        def once() -> Generator[None, None, Result]:
            yield from ()
            return function()

        return await self.run(once(), stop or Stop())

    def _put(self, job: _Job) -> None:
        with self._changed:
            heapq.heappush(self._queue, job)
            self._changed.notify()

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._queue and not self._ending:
                self._changed.wait()
            if self._ending and not self._queue:
                return None
            job = heapq.heappop(self._queue)
            self._least = max(self._least, job.used)
            return job

    def _work(self) -> None:
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        while (job := self._next()) is not None:
            began = time.perf_counter()
            try:
                if job.stop.wanted or self._ending:
                    job.steps.close()
                    raise job.stop.why
                value = next(job.steps)
            except StopIteration as end:
                job.give("end", end.value)
            except Exception as error:
                job.give("error", error)
            else:
                job.give("value", value)
                took = time.perf_counter() - began
                job.used += took
                self.seconds += took
                self._put(job)
