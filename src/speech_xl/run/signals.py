"""SIGINT (Ctrl-C), SIGTERM and SIGUSR1 end a command in order, with exit status 130, 143 or 138. Needs no torch.

Training stops after the optimizer step it is in, whose checkpoint is written first; all else stops at once. A second
Ctrl-C doesn't wait for the step.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
UNFINISHED = 3  # exit status of a training that trainer.max_time ended: not finished, and nothing wrong
EARLY = (UNFINISHED, *(128 + number for number in SIGNALS))  # statuses of a training that ended before its end
ONE_PRESS = 0.5  # seconds in which the same Ctrl-C may arrive twice: from the terminal, and passed on by a parent


class Stopped(SystemExit):
    """The command was stopped by a signal; its exit status is 128 and the signal's number.

    step: of the checkpoint that was written for it; None where none was.
    """

    def __init__(self, signum: int, step: int | None = None) -> None:
        self.signum, self.step, self.status = signum, step, 128 + signum
        super().__init__(self.status)

    @property
    def name(self) -> str:
        return signal.Signals(self.signum).name


class StopSignals:
    """Handlers of the three signals while it is entered: they raise `Stopped`, or after `wait` only set `signum`.

    A context of the main thread. Processes forked inside it (DataLoader workers) are left to their parent: a terminal
    sends Ctrl-C to all of them at once, and a worker that died of it would take the last checkpoint with it.
    """

    def __init__(self) -> None:
        self.signum = 0  # the first that came; 0: none
        self._waits, self._pid, self._came = False, os.getpid(), 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            # What is ignored, as Ctrl-C is by a shell's background jobs, stays so.
            kept = {number: signal.getsignal(number) for number in SIGNALS}
            self._before = {number: old for number, old in kept.items() if old is not signal.SIG_IGN}
            self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, old in self._before.items():
            signal.signal(number, old)
        self._before = {}

    def install(self) -> None:
        """Put the handlers in place again, where Lightning has put its own over them."""
        for number in self._before:
            signal.signal(number, self._handle)

    def wait(self, waits: bool = True) -> None:
        """From now on only note a signal in `signum`, because somebody asks for it after every step; or no longer."""
        self._waits = waits

    def _handle(self, signum: int, _frame: object) -> None:
        if os.getpid() != self._pid:
            # A worker. Of two SIGTERMs the second is its parent's, who has waited for it in vain.
            signal.signal(signum, signal.SIG_DFL if signum == signal.SIGTERM else signal.SIG_IGN)
            return
        now = time.monotonic()
        if self.signum:
            if signum == signal.SIGINT and now - self._came > ONE_PRESS:
                raise Stopped(signum)
            return
        self.signum, self._came = signum, now
        if not self._waits:
            raise Stopped(signum)
        # Not by print, which can't be entered twice.
        os.write(2, f"\n{signal.Signals(signum).name}: stopping after this step, with a checkpoint\n".encode())


@contextmanager
def forwarded(processes: list[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Inside, hand the three signals on to these processes instead of obeying them; gives those that came before there
    was a process."""
    early: list[int] = []

    def forward(signum: int, _frame: object) -> None:
        early.extend([] if processes else [signum])
        for process in processes:
            process.send_signal(signum)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, old in before.items():
        if old is not signal.SIG_IGN:
            signal.signal(number, forward)
    try:
        yield early
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def run_command(argv: list[str]) -> int:
    """Run a command that signals reach through this process; its exit status, 128 + the signal where it was killed."""
    processes: list[subprocess.Popen[bytes]] = []
    with forwarded(processes) as early:
        processes.append(subprocess.Popen(argv))
        for signum in early:
            processes[0].send_signal(signum)
        status = None
        while status is None:  # in seconds: Python runs no handler of a signal that came just before an endless wait
            with suppress(subprocess.TimeoutExpired):
                status = processes[0].wait(1.0)
    return status if status >= 0 else 128 - status
