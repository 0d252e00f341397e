"""The WebSocket of a session: PCM comes in as it is spoken, events go back."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from speech_xl.serving.compute import Stop
from speech_xl.serving.errors import ApiError, as_api_error, busy, deleted
from speech_xl.serving.pcm import check_even, checked_rate, samples
from speech_xl.serving.security import PROTOCOL
from speech_xl.serving.service import Service
from speech_xl.serving.session import Session
from speech_xl.serving.session_work import check_open, end_audio, hearing_in_turn
from speech_xl.serving.state import hearing_live

Json = dict[str, Any]
HANDOVER_SECONDS = (
    2.0  # that a new WebSocket waits for the end of the one before: its client left, its save is under way
)
CLOSED, POLICY, TOO_LATE = 1000, 1008, 1013  # codes of the WebSocket's close


def live_routes(service: Service) -> APIRouter:
    """``/v1/sessions/{id}/stream?rate=16000``."""
    routes = APIRouter()

    @routes.websocket("/v1/sessions/{session_id}/stream")
    async def stream(socket: WebSocket, session_id: str) -> None:
        try:
            session = service.store.find(session_id)
            rate = checked_rate(socket.query_params.get("rate"), "name the rate, as in ?rate=16000")
            service.check_streams()
            await let_go(session)
        except ApiError as error:
            await socket.send_denial_response(error.response())
            return
        offered = socket.scope.get("subprotocols", [])
        session.streaming = True
        try:
            await socket.accept(PROTOCOL if PROTOCOL in offered else None)
            with service.streaming():
                await Live(service, session, session_id, socket, rate).run()
        finally:
            session.streaming = False

    return routes


async def let_go(session: Session) -> None:
    """Wait until no WebSocket pushes into a session. Raises ApiError: 429 where one goes on, 404 after a DELETE."""
    until = time.monotonic() + HANDOVER_SECONDS
    while session.streaming:
        if time.monotonic() > until:
            raise busy("streaming", "another WebSocket pushes audio into this session; fork it, or close the other")
        await asyncio.sleep(0.02)
    if session.deleted:
        raise deleted()


class Live:
    """One open WebSocket.

    In: binary messages of PCM16 at `rate` Hz, and as JSON ``{"type": "end"}`` (the audio has ended) or
    ``{"type": "end_interval"}``. Out: JSON events, whose ``type`` is that of Server-Sent Events, then ``ended`` with
    the session. The client's messages wait while one is heard, so that nothing piles up here.
    """

    def __init__(self, service: Service, session: Session, session_id: str, socket: WebSocket, rate: int) -> None:
        self.service, self.session, self.session_id, self.socket, self.rate = service, session, session_id, socket, rate
        self.stop, self.saved_at = Stop(), time.monotonic()
        self.told: asyncio.Queue[Json] = asyncio.Queue()

    async def run(self) -> None:
        self.session.events.sinks.add(self.tell)
        sender = asyncio.create_task(self.send())
        code = CLOSED
        try:
            code = await self.receive()
        except ApiError as error:
            self.tell("error", error.body)
            code = POLICY
        except WebSocketDisconnect:
            code = 0
        except Exception as error:
            self.tell("error", as_api_error(error).body)
            code = TOO_LATE
        finally:
            self.session.events.sinks.discard(self.tell)
            if not code:
                self.stop()
            with suppress(Exception):
                await self.saved()
            self.told.put_nowait({})
            with suppress(Exception):
                await asyncio.wait_for(sender, 5)
            if code:
                with suppress(Exception):
                    await self.socket.close(code)

    def tell(self, name: str, data: Json) -> None:
        self.told.put_nowait({"type": name, **data})

    async def send(self) -> None:
        """Send events until the last."""
        while event := await self.told.get():
            await self.socket.send_json(event)

    async def receive(self) -> int:
        """Take messages until the audio ends; the code to close with."""
        idle = self.service.limits.stream_idle_seconds
        while True:
            try:
                message = await asyncio.wait_for(self.socket.receive(), idle)
            except (TimeoutError, asyncio.TimeoutError):
                raise ApiError(408, "too_slow", f"no message came for {idle} s; what was heard is kept") from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            if message.get("bytes") is not None:
                await self.hear(message["bytes"])
            elif await self.obey(message.get("text") or ""):
                return CLOSED

    async def hear(self, data: bytes, end_interval: bool = False) -> None:
        check_even(len(data))
        await self.service.store.then(self.session, partial(self.heard, data, end_interval), "hearing", self.stop)

    async def heard(self, data: bytes, end_interval: bool, stop: Stop) -> None:
        """A chunk can't fail half-way: it is heard by the session itself, not by a copy."""
        store, session = self.service.store, self.session
        state = await store.loaded(session)
        check_open(state)
        self.service.check_seconds(state.memory.seconds, len(data) / 2 / self.rate)
        self.service.store.check_memory(session)

        session.events.reset(session.view)
        work = hearing_live(state, samples(data), self.rate, end_interval)
        store.show(session, await self.service.compute.run(work, stop))
        session.stale = True
        if store.durable and time.monotonic() - self.saved_at > self.service.limits.save_seconds:
            await store.save(session)
            self.saved_at = time.monotonic()
        session.events.tell_news({**session.view, "saved_seconds": session.saved_seconds})

    async def saved(self) -> None:
        """The stream is over: what was heard goes to disk."""
        if self.service.store.durable and not self.session.deleted:
            await self.service.store.then(self.session, lambda stop: self.service.store.save(self.session))

    async def obey(self, text: str) -> bool:
        """Do what a JSON message says; whether it was the last."""
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, RecursionError, TypeError, KeyError) as error:
            raise ApiError(400, "bad_message", 'a text message is JSON with a type: {"type": "end"}') from error
        if kind == "end":
            work = partial(end_audio, self.service, self.session)
            await hearing_in_turn(self.service, self.session, work, self.stop)
            self.tell("ended", {"session": self.session.json(self.session_id)})
            return True
        if kind == "end_interval":
            await self.hear(b"", end_interval=True)
            return False
        raise ApiError(400, "bad_message", f"type: got {str(kind)[:40]!r}; send end or end_interval", "type")
