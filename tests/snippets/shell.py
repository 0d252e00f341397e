"""Runs a bash block for real, with its Python commands in forks of this process: importing torch takes seconds."""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).parent


class Run(Protocol):
    """Carries out a Python command."""

    def __call__(self, words: list[str], mode: str) -> int:
        """The exit status of a command, run as if this process were its own."""
        ...

    def only_looks(self, words: list[str], mode: str) -> bool:
        """Whether a command changes nothing, neither here nor on disk: it needs no fork."""
        ...


class Failed(AssertionError):
    """A block that ended with another status than 0; the message has its output."""


class Shell:
    """Bash blocks of one page in one folder.

    folder   where they run
    run      runs a Python command (`python ...`, `speech-xl ...`) in a fork
    mode     check or rehearse, as prelude.sh says
    """

    def __init__(self, folder: Path, run: Run, mode: str, **environment: str) -> None:
        self.folder, self.run, self.mode = folder, run, mode
        self.port = free_port()
        self.environment = os.environ | environment | {"SNIPPETS": mode, "SNIPPETS_PORT": str(self.port)}
        self.children: set[int] = set()
        self._socket_folder = tempfile.TemporaryDirectory(prefix="snippets")  # a short path: sockets allow 107 bytes
        self._listening = socket.socket(socket.AF_UNIX)
        address = str(Path(self._socket_folder.name) / "orders")
        self._listening.bind(address)
        self._listening.listen(64)
        self.environment |= {"SNIPPETS_SOCKET": address, "SNIPPETS_CLIENT": str(HERE / "client.py")}
        self.environment |= {"SNIPPETS_PYTHON": sys.executable, "BASH_ENV": ""}

    def block(self, text: str, timeout: float = 600) -> str:
        """Run a block; returns what it printed. Raises Failed where it fails, or takes longer than `timeout` s."""
        script = f"source {HERE / 'prelude.sh'}\n{text}"
        with tempfile.TemporaryFile("w+") as output:
            bash = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            until = time.monotonic() + timeout
            while bash.poll() is None:
                if time.monotonic() > until:
                    os.killpg(bash.pid, signal.SIGKILL)
                self._serve(0.02)
            output.seek(0)
            printed = output.read()
        if bash.returncode:
            raise Failed(f"status {bash.returncode}\n{printed[-6000:]}")
        return printed

    def close(self) -> None:
        """End the servers that blocks have started."""
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        for child in self.children:
            for _ in range(100):
                if os.waitpid(child, os.WNOHANG)[0]:
                    break
                time.sleep(0.1)
            else:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        self._listening.close()
        self._socket_folder.cleanup()

    def _serve(self, seconds: float) -> None:
        if select.select([self._listening], [], [], seconds)[0]:
            connection = self._listening.accept()[0]
            order = Order.received(connection)
            if self.run.only_looks(order.words, self.mode):
                order.answer(order.looked_at(self.run, self.mode))
            else:
                gc.freeze()  # a fork's collections then leave these objects' pages shared
                child = os.fork()
                if child == 0:
                    self._listening.close()
                    order.carry_out(self.run, self.mode)
                self.children.add(child)
            order.close()
        for child in list(self.children):
            if os.waitpid(child, os.WNOHANG)[0]:
                self.children.remove(child)


@dataclass
class Order:
    """A command that client.py has handed over: its words, folder, environment, and standard files."""

    connection: socket.socket
    files: list[int]
    words: list[str]
    folder: str
    environment: dict[str, str]

    @classmethod
    def received(cls, connection: socket.socket) -> "Order":
        head, files, _, _ = socket.recv_fds(connection, 4, 3)
        with connection.makefile("rb") as stream:
            return cls(connection, list(files), **json.loads(stream.read(int.from_bytes(head, "big"))))

    def answer(self, status: int) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(bytes([status & 255]))

    def close(self) -> None:
        self.connection.close()
        for file in self.files:
            os.close(file)

    def looked_at(self, run: Run, mode: str) -> int:
        """Run it within this process, its output to the client's."""
        with (
            working_in(Path(self.folder)),
            open(self.files[1], "w", closefd=False) as out,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            return _status(run, self.words, mode)

    def carry_out(self, run: Run, mode: str) -> None:
        """Run it in this process, a fork, as if it had been started with these files; then end the process."""
        status = 70
        try:
            for number, file in enumerate(self.files):
                os.dup2(file, number)
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 (until the end)
            os.environ.clear()
            os.environ.update(self.environment)
            os.chdir(self.folder)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            status = _status(run, self.words, mode)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            self.answer(status)
            os._exit(status)


def _status(run: Run, words: list[str], mode: str) -> int:
    try:
        return run(words, mode)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return 1
        return error.code or 0
    except BaseException:
        traceback.print_exc()
        return 1


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
