"""Long work that can't be cut into steps itself, such as writing a transcript: it runs in a thread and gives turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_turns(work: Callable[[Callable[[], bool]], Result], stoppable: bool = True) -> Generator[None, None, Result]:
    """Run ``work(turn)`` in a thread of its own, as a generator: only while the generator is asked does the thread run.

    `work` calls ``turn()`` where others may come between; it returns when it is this work's turn again, and says
    whether to go on. Where the generator is closed early, `work` is told not to go on; or, where it isn't `stoppable`,
    it is run to its end without further turns, so that what it changes is whole.
    """
    go, waits = threading.Semaphore(0), threading.Semaphore(0)
    state: dict[str, Any] = {"closed": False}

    def turn() -> bool:
        if not state["closed"]:
            waits.release()
            go.acquire()
        return not (state["closed"] and stoppable)

    def run() -> None:
        go.acquire()
        try:
            state["result"] = work(turn)
        except BaseException as error:  # is raised again where the generator is asked
            state["error"] = error
        state["over"] = True
        waits.release()

    thread = threading.Thread(target=run, name="speech-xl-turns", daemon=True)
    thread.start()
    try:
        while True:
            go.release()
            waits.acquire()
            if "over" in state:
                break
            yield
    finally:
        state["closed"] = True
        go.release()
        thread.join()
    if "error" in state:
        raise state["error"]
    return state["result"]
