"""A server of `speech-xl serve` as a process of its own: started, asked, killed, measured."""

from __future__ import annotations

import http.client
import json
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from experiments.drills.runs import end_group, environment
from experiments.measurements.record import ROOT

LONGEST = 300.0  # seconds that an answer may take before the server counts as hung
Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Json:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """Of an error; empty where the body is none in the API's form."""
        try:
            return self.json["error"]["message"]
        except (ValueError, KeyError, TypeError):
            return ""


@dataclass
class Served:
    """One server, whose sessions lie in `place`.

    stage  the folder of a trained stage
    flags  of `speech-xl serve`
    """

    place: Path
    stage: str
    flags: Sequence[str] = ()
    port: int = 0
    process: subprocess.Popen[str] | None = field(default=None, init=False)

    def start(self) -> Served:
        """Start it and wait until it answers. Raises RuntimeError with its output where it doesn't."""
        self.place.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "speech_xl.commands.main", "serve", "--model", self.stage]
        command += ["--port", str(self.port), "--sessions-dir", str(self.place / "sessions"), "--device", "cpu"]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--threads", "1", *self.flags],
                cwd=ROOT,
                env=environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        until = time.monotonic() + LONGEST
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if self.ask("GET", "/health").status == 200:
                    return self
            except OSError:
                time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"the server doesn't start: {self.log.read_text()[-2000:]}")

    @property
    def log(self) -> Path:
        return self.place / "server.log"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Json | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = LONGEST,
    ) -> Reply:
        """One request on a connection of its own; a mapping is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        sent = dict(headers or {})
        if isinstance(body, dict):
            body, sent = json.dumps(body).encode(), {"Content-Type": "application/json", **sent}
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()})
        finally:
            connection.close()

    def raw(self, *parts: bytes, pause: float = 0.0, seconds: float = 30.0) -> bytes:
        """Send bytes as they are, with a pause between, until something comes back; that, up to the server's close."""
        found = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as sock, suppress(OSError):
            for part in parts:
                sock.sendall(part)
                if select.select([sock], [], [], pause)[0]:
                    break
            while piece := sock.recv(65536):
                found += piece
                if b"\r\n\r\n" in found:
                    break
        return found

    # Its process

    def kill(self) -> None:
        """At once, as without power."""
        if self.process is not None:
            end_group(self.process)
            self.process.wait()

    def stop(self) -> tuple[int, float]:
        """With SIGTERM; exit status and seconds that it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            status = -9
        return status, time.monotonic() - began

    def holds(self) -> Json:
        """What it holds of the system's: descriptors, threads, bytes of memory, files of uploads."""
        assert self.process is not None
        process = psutil.Process(self.process.pid)
        uploads = self.place / "sessions" / "uploads"
        return {
            "descriptors": process.num_fds(),
            "threads": process.num_threads(),
            "resident_mib": round(process.memory_info().rss / 2**20, 1),
            "upload_files": sum(1 for _ in uploads.rglob("*")),
            "connections": len(process.net_connections("tcp")),
        }

    def idle(self, seconds: float = 60.0) -> bool:
        """Wait until nothing is at work; whether that came about."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            about = self.ask("GET", "/health").json
            if not about["requests_at_work"] and not about["uploads"]:
                return True
            time.sleep(0.1)
        return False
