"""The page of `speech-xl serve` in a headless Chromium, used as a person would: for its pictures and its tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
HEARD = "() => /^[0-9:]+ heard$/.test(document.querySelector('#progress-text').textContent)"
ANSWERED = "() => document.querySelector('.answer') && !document.querySelector('.answer[aria-busy]')"
START_SECONDS = 90  # that a server may take


class Server:
    """A server in a process of its own, at a free port; `url` ends with a slash."""

    def __init__(self, command: Sequence[str], folder: Path, token: str | None = None) -> None:
        """command: what serves; ``--port`` and ``--sessions-dir`` are added. Its log goes into `folder`."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.log, self.token = f"http://127.0.0.1:{port}/", folder / "server.log", token
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "SPEECH_XL_TOKEN": token or ""}
        whole = [*command, "--port", str(port), "--sessions-dir", str(folder / "sessions")]
        self.how: dict[str, Any] = {"args": whole, "env": environment, "cwd": folder}
        self.process = self.start()

    def start(self) -> subprocess.Popen[Any]:
        """The process of the server; one that was killed starts again, with its sessions."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(**self.how, stdout=log, stderr=log)
        return self.process

    def get(self, path: str) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=5) as answer:
            return answer.read()

    def wait(self) -> Server:
        """Until it answers."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self.get("health")
                return self
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"the server doesn't answer:\n{self.log.read_text()}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def launch(playwright: Any, *arguments: str) -> Any:
    """The browser."""
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required", *arguments]
    return playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


def visit(page: Any, url: str, token: str | None = None) -> None:
    """Open the page, and give it the server's token."""
    page.goto(url)
    if token is not None:
        page.fill("#token", token)
        page.press("#token", "Enter")
    page.wait_for_selector("#record:enabled")


def hear(page: Any, file: Path, timeout_seconds: float = 60) -> None:
    """Give the page a file and wait until all of it was heard by every session."""
    page.set_input_files("#file", file)
    page.wait_for_selector("#source:not([hidden])")
    wait_until_heard(page, timeout_seconds)


def wait_until_heard(page: Any, timeout_seconds: float = 60) -> None:
    page.wait_for_function(HEARD, timeout=timeout_seconds * 1000)


def choose(page: Any, letter: str, ratio: int) -> None:
    """The ratio of session A or B."""
    page.check(f"input[name=ratio-{letter}][value='{ratio}']")


def ask(page: Any, question: str, timeout_seconds: float = 60) -> list[str]:
    """Ask and return the answers, A's first."""
    turns = page.locator(".turn").count()
    page.fill("#question", question)
    page.wait_for_selector("#ask-button:enabled")
    page.press("#question", "Enter")
    page.wait_for_function(f"() => document.querySelectorAll('.turn').length > {turns}")
    page.wait_for_function(ANSWERED, timeout=timeout_seconds * 1000)
    return page.locator(".turn").last.locator(".text").all_inner_texts()
