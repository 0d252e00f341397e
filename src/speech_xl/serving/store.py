"""Sessions: found by a secret id, used by one request at a time, on disk when idle, and back at the next request."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from speech_xl.inference.model import ListeningModel
from speech_xl.serving.compute import Compute, Stop
from speech_xl.serving.errors import ApiError, busy, deleted
from speech_xl.serving.limits import Limits
from speech_xl.serving.session import ID, Session, folder_name, saved_session
from speech_xl.serving.state import Json, SessionState, remove
from speech_xl.storage.files import FileError, check_writable

LOG = logging.getLogger("speech_xl.serving")
SWEEP_SECONDS = 5.0
Result = TypeVar("Result")


class SessionStore:
    """All sessions of a server.

    folder   where they are kept, private to the user; one server at a time uses it
    durable  whether a request that changes a session is answered only when the session is on disk, so that what was
             acknowledged outlives a kill; else sessions are written when idle, on request, and when the server stops
    """

    def __init__(self, model: ListeningModel, compute: Compute, limits: Limits, folder: Path, durable: bool) -> None:
        """Raises FileError where the folder can't be used, or another server uses it."""
        self.model, self.compute, self.limits, self.durable = model, compute, limits, durable
        self.folder = folder
        self.identity = model.backbone.identity()
        check_writable(folder, "--sessions-dir")
        folder.chmod(0o700)
        self._lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            said = f"--sessions-dir: {folder} is used by another server; name another folder, or stop that server"
            raise FileError(error.errno, said) from error
        self.tasks: set[asyncio.Task[Any]] = set()
        self.sessions = {session.name: session for session in map(saved_session, sorted(folder.iterdir())) if session}

    # Opening, finding, ending

    async def open(self, ratio: int, transcribe: bool) -> tuple[str, Session]:
        """A new session that has heard nothing. Raises ApiError (429) where there are too many."""
        return await self._add(lambda: SessionState.new(self.model, ratio, transcribe))

    async def fork(self, session: Session) -> tuple[str, Session]:
        """A new session that has heard the same."""

        async def forked(stop: Stop) -> tuple[str, Session]:
            return await self._add((await self.loaded(session)).fork)

        return await self.then(session, forked)

    async def _add(self, make: Callable[[], SessionState]) -> tuple[str, Session]:
        if len(self.sessions) >= self.limits.max_sessions:
            raise busy("too_many_sessions", f"there are {len(self.sessions)} sessions already; delete one first")
        session_id, now = secrets.token_urlsafe(24), time.time()
        session = Session(folder_name(session_id), now, now)
        self.sessions[session.name] = session
        try:
            session.state = await self.compute.call(make)
            self.show(session, session.state.view())
            await self.changed(session)
        except BaseException:
            self._forget(session)
            raise
        await self.make_room()
        return session_id, session

    def find(self, session_id: str) -> Session:
        """The session of this id. Raises ApiError (404)."""
        found = self.sessions.get(folder_name(session_id)) if ID.fullmatch(session_id) else None
        if found is None:
            raise ApiError(404, "no_session", "there is no such session: it was deleted, or unused for too long", "id")
        return found

    async def delete(self, session: Session) -> None:
        """Stop what it does, and remove it with its files."""
        session.deleted = True
        session.stop(deleted())
        while session.last is not None and not session.last.done():
            await asyncio.wait({session.last})
        self._forget(session)

    def _forget(self, session: Session) -> None:
        session.deleted, session.state = True, None
        self.sessions.pop(session.name, None)
        session.events.end()
        remove(self.folder / session.name)

    # Using

    def start(self, work: Awaitable[Result]) -> asyncio.Task[Result]:
        """Run work as a task of the server's own, which no client's going away breaks off in the middle of a step."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task  # type: ignore[return-value]

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it is told to whoever waits; nobody may

    def then(
        self,
        session: Session,
        work: Callable[[Stop], Awaitable[Result]],
        status: str = "idle",
        stop: Stop | None = None,
    ) -> asyncio.Task[Result]:
        """Run work that uses a session, after all that was given before. `stop` asks it to stop."""
        before, stop = session.last, stop or Stop()

        async def in_turn() -> Result:
            try:
                if before is not None and not before.done():
                    await asyncio.wait({before})
                if session.deleted:
                    raise deleted()
                if stop.wanted:
                    raise stop.why
                session.stop, session.status = stop, status
                return await work(stop)
            finally:
                session.status, session.touched = "idle", time.time()
                session.waiting -= 1

        session.waiting += 1
        session.last = self.start(in_turn())
        return session.last

    async def loaded(self, session: Session) -> SessionState:
        """Its state, from the disk where it lies there. Raises as `SessionState.load` does."""
        if session.state is None:
            session.state = await self.compute.call(lambda: SessionState.load(self.folder / session.name, self.model))
            session.stale = False
            self.show(session, session.state.view())
            session.saved_seconds = session.view["audio_seconds_heard"]
        return session.state

    def show(self, session: Session, view: Json) -> None:
        """This is what clients see of it from now on."""
        session.view = view

    def check_memory(self, session: Session) -> None:
        """Raises ApiError where sessions in use hold too many keys and values: 413 where this one alone does."""
        most = self.limits.max_kv_bytes
        own = session.held
        if own > most:
            said = f"this session's keys and values have {own:,} bytes; at most {most:,} are kept. Use a higher ratio"
            raise ApiError(413, "memory", said)
        used = sum(one.held for one in self.sessions.values() if one.state and one.waiting)
        if used > most:
            raise busy("memory_busy", f"sessions in use hold {used:,} of {most:,} bytes of keys and values; try later")

    async def changed(self, session: Session, durable: bool | None = None) -> None:
        """Its state is another than on disk: write it, where sessions are durable."""
        session.stale = True
        if self.durable if durable is None else durable:
            await self.save(session)

    async def save(self, session: Session) -> None:
        """Write its state. Raises FileError."""
        if session.state is None or not session.stale:
            return
        state, folder = session.state, self.folder / session.name

        def write() -> None:
            with session.writing:
                state.save(folder, self.identity, session.created)

        await asyncio.to_thread(write)
        session.stale, session.saved_seconds = False, session.view["audio_seconds_heard"]

    # Keeping house

    async def make_room(self) -> None:
        """Take the longest unused sessions out of memory while all together hold too much."""
        held = sorted((one for one in self.sessions.values() if one.state), key=lambda one: one.touched)
        used = sum(one.held for one in held)
        for session in held:
            if used <= self.limits.max_kv_bytes:
                return
            if not session.waiting:
                used -= session.held
                await self._to_disk(session)

    async def sweep(self) -> None:
        """Write idle sessions to disk and drop them from memory; delete those that nobody has used for long."""
        now = time.time()
        for session in list(self.sessions.values()):
            unused = now - session.touched
            if session.waiting or session.streaming or session.events.queues:
                continue
            if unused > self.limits.expire_seconds:
                await self.delete(session)
            elif unused > self.limits.idle_seconds and session.state is not None:
                await self._to_disk(session)

    async def _to_disk(self, session: Session) -> None:
        touched = session.touched

        async def away(stop: Stop) -> None:
            await self.save(session)
            session.state = None

        await self.then(session, away)
        session.touched = touched

    async def keep_house(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except Exception as error:
                LOG.error("idle sessions can't be written: %s", error)

    def end_streams(self) -> None:
        """The server stops: no more events."""
        for session in self.sessions.values():
            session.events.end()

    async def close(self) -> None:
        """Stop what runs, write every session that the disk lacks, and let go of the folder."""
        self.end_streams()
        self.compute.end()
        if self.tasks:
            await asyncio.wait(set(self.tasks), timeout=self.limits.shutdown_seconds)
        for session in self.sessions.values():
            try:
                await self.save(session)
            except OSError as error:
                LOG.error("a session can't be written: %s", error)
        os.close(self._lock)
