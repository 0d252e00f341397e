"""One session: its name on the disk, what it has heard, and who uses it now."""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speech_xl.serving.compute import Stop
from speech_xl.serving.events import Events
from speech_xl.serving.state import Json, SessionState, read_about, remove
from speech_xl.serving.wishes import Wishes

ID = re.compile(r"[A-Za-z0-9_-]{32}")
FOLDER = re.compile(r"[0-9a-f]{64}")


def folder_name(session_id: str) -> str:
    """Of a session's files: who reads the folder's names learns no id, and no path is made of what a client sent."""
    return hashlib.sha256(session_id.encode()).hexdigest()


@dataclass
class Session:
    """One session. Its state is touched by one task at a time: each waits for the one before (`SessionStore.then`).

    name           of its folder
    state          what it has heard; None while it lies on disk alone
    view           its JSON at the last step, without id and status
    status         idle, hearing or answering
    saved_seconds  of its audio on disk; None where it isn't there
    stale          whether the disk lacks what the state has
    """

    name: str
    created: float
    touched: float
    state: SessionState | None = None
    view: Json = field(default_factory=dict)
    status: str = "idle"
    saved_seconds: float | None = None
    stale: bool = True
    deleted: bool = False
    streaming: bool = False  # whether a WebSocket pushes into it
    waiting: int = 0  # tasks that use it or wait for it
    last: asyncio.Task[Any] | None = None
    stop: Stop = field(default_factory=Stop)  # of the task that uses it now
    events: Events = field(default_factory=Events)
    wishes: Wishes = field(default_factory=Wishes)  # of who can't wait until a file was heard
    writing: threading.Lock = field(default_factory=threading.Lock)  # a thread writes on where its task is cancelled

    @property
    def held(self) -> int:
        """Bytes of keys and values."""
        return self.view.get("kept_kv_bytes", 0) + self.view.get("transcriber_kv_bytes", 0)

    def json(self, session_id: str) -> Json:
        about = {"id": session_id, "status": self.status, "saved_seconds": self.saved_seconds}
        return {**about, **self.view}


def saved_session(folder: Path) -> Session | None:
    """The session whose files lie in a folder; None, and no folder any more, where none was written whole."""
    if not FOLDER.fullmatch(folder.name):
        return None
    about = read_about(folder)
    if about is None:
        remove(folder)
        return None
    return Session(folder.name, about["created"], about["saved"], stale=False)
