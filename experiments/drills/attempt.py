"""Run a command in this process under limits of time and memory, and say how it ended."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Literal

WAITING = 8
Ending = Literal["exited", "traceback", "endless"]


class _TimeIsUp(BaseException):
    """Not an Exception, so that no handler of the command can take it for a failure of its own."""


@dataclass(frozen=True)
class Attempt:
    """How a command ended.

    status     its exit status; 0 where it returned
    ending     exited; traceback: an exception came through; endless: it was stopped when its time was up
    output     all it wrote to stdout and stderr, warnings among it
    exception  the exception's last line and the places that it came through
    """

    status: int
    ending: Ending
    output: str
    exception: str = ""

    @property
    def message(self) -> str:
        """The error message that it ended with; empty where there is none."""
        _, mark, message = self.output.rpartition("error: ")
        return (mark + message).strip()


def attempt(command: Callable[[], None], seconds: float = 90, memory_bytes: int | None = None) -> Attempt:
    """Call `command` and say how it ended.

    It is stopped after so many seconds of computing, and may take `memory_bytes` beyond what this process has now.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as out:
        status, ending, exception = _called(command, out, seconds, memory_bytes)
        out.seek(0)
        return Attempt(status, ending, out.read(), exception)


def _called(
    command: Callable[[], None], out: IO[str], seconds: float, memory_bytes: int | None
) -> tuple[int, Ending, str]:
    """Exit status, ending and exception of a command whose output goes to `out`."""
    try:
        with _captured(out), warnings.catch_warnings(), _seconds(seconds), _memory(memory_bytes):
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show  # whatever this process shows warnings with
            command()
        return 0, "exited", ""
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else int(exit.code is not None), "exited", ""
    except _TimeIsUp:
        return -1, "endless", ""
    except BaseException as error:  # whatever it is: a drill reports it
        return 1, "traceback", _places(error)


def _show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: object) -> None:
    """A warning on stderr, as Python shows it."""
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


@contextlib.contextmanager
def _captured(out: IO[str]) -> Iterator[None]:
    """Send to `out` what Python writes, and what loggers and workers write to the streams they were made with."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(number) for number in (1, 2)]
    try:
        for number in (1, 2):
            os.dup2(out.fileno(), number)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            yield
    finally:
        out.flush()
        for number, own in zip((1, 2), kept, strict=True):
            os.dup2(own, number)
            os.close(own)


def _places(error: BaseException) -> str:
    last = traceback.format_exception_only(error)[-1].strip().splitlines()[0][:200]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "speech_xl" in frame.filename]
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in [*own[-1:], *frames[-1:]]]
    return f"{last} ({', '.join(places)})"


@contextlib.contextmanager
def _seconds(limit: float) -> Iterator[None]:
    """Raise _TimeIsUp inside the block after so many seconds of computing, or `WAITING` times as many in all.

    The first is for what runs without end, and is the same on a busy machine; the second for what waits without end.
    """

    def up(signum: int, frame: FrameType | None) -> None:
        raise _TimeIsUp

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, limit), signal.SIGALRM: (signal.ITIMER_REAL, WAITING * limit)}
    before = {number: signal.signal(number, up) for number in timers}
    for which, length in timers.values():
        signal.setitimer(which, length)
    try:
        yield
    finally:
        for number, (which, _) in timers.items():
            signal.setitimer(which, 0)
            signal.signal(number, before[number])


@contextlib.contextmanager
def _memory(limit: int | None) -> Iterator[None]:
    """Let the process take so many bytes more of address space: others use this machine too."""
    if limit is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
