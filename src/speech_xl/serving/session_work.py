"""What requests do with a session: hear, end, answer, change.

Each runs alone, as `SessionStore.then` has it. While a file is heard, questions and ratios don't wait for its end: they
get what was heard so far (`Wishes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from functools import partial
from typing import TypeVar

from speech_xl import SAMPLE_RATE
from speech_xl.serving.compute import Stop
from speech_xl.serving.errors import ApiError, as_api_error
from speech_xl.serving.events import server_sent
from speech_xl.serving.pcm import pcm_blocks, pcm_seconds
from speech_xl.serving.service import Service
from speech_xl.serving.session import Session
from speech_xl.serving.state import Json, SessionState, answer_json, answering, ending, hearing
from speech_xl.serving.uploads import Upload
from speech_xl.serving.wishes import Over

ALIVE_SECONDS = 15.0  # between signs of life on a stream of events
Result = TypeVar("Result")


async def change_ratio(service: Service, session: Session, ratio: int) -> None:
    """A new ratio for what comes from now on, in the file too that is being heard."""

    def change(draft: SessionState) -> None:
        draft.set_ratio(ratio)
        assert session.state is not None  # what the draft was made of, which stays where hearing breaks off
        session.state.set_ratio(ratio)

    try:
        await session.wishes.want(change)
    except Over:
        new = partial(change_state, service, session, lambda state: state.set_ratio(ratio))
        await service.store.then(session, new)
    else:
        service.store.show(session, session.view | {"ratio": ratio})


async def change_state(service: Service, session: Session, change: Callable[[SessionState], None], stop: Stop) -> None:
    """Change a session's state in one step that can't fail half-way."""
    state = await service.store.loaded(session)
    await service.compute.call(lambda: change(state), stop)
    service.store.show(session, state.view())
    await service.store.changed(session)


async def take(
    service: Service,
    session: Session,
    work: Generator[Json | None, None, SessionState],
    stop: Stop,
    total_seconds: float | None = None,
) -> None:
    """Let a session become what `work` makes of it, and tell its progress; where that fails it stays as it was."""
    before = session.view

    def progress(view: Json) -> None:
        service.store.show(session, view)
        service.store.check_memory(session)
        session.events.tell_news(view, total_seconds)

    session.events.reset(before)
    try:
        made = await service.compute.run(work, stop, progress)
    except BaseException:
        ratio = before["ratio"] if session.state is None else session.state.memory.ratio
        service.store.show(session, before | {"ratio": ratio})
        session.events.reset(before)
        raise
    session.state = made
    await service.store.changed(session)
    session.events.tell_news(session.view, total_seconds)
    await service.store.make_room()


def check_open(state: SessionState) -> None:
    """Raises ApiError (409) where a session's audio has ended."""
    if state.ended:
        raise ApiError(409, "ended", "this session's audio has ended; fork it before its end, or open another")


def hearing_in_turn(
    service: Service, session: Session, work: Callable[[Stop], Awaitable[Result]], stop: Stop
) -> asyncio.Task[Result]:
    """Run work that hears when it is its turn; from now on questions and ratios come between its steps."""
    session.wishes.open()
    task = service.store.then(session, work, "hearing", stop)
    task.add_done_callback(lambda _: session.wishes.close())
    return task


async def telling(session: Session, work: Awaitable[Result], upload: Upload | None = None) -> Result:
    """Wait for work; what goes wrong is told as an event too."""
    try:
        return await work
    except Exception as error:
        known = as_api_error(error, None if upload is None else upload.folder)
        session.events.tell("error", known.body)
        raise known from error


async def hear(service: Service, session: Session, upload: Upload, rate: int | None, stop: Stop) -> list[str]:
    """Hear what was uploaded, a file or PCM of a rate; what is to be remarked about it."""
    return await telling(session, _heard(service, session, upload, rate, stop), upload)


async def _heard(service: Service, session: Session, upload: Upload, rate: int | None, stop: Stop) -> list[str]:
    state = await service.store.loaded(session)
    check_open(state)
    before = state.memory.seconds
    if rate is not None:
        total = pcm_seconds(upload.path, rate)
        service.check_seconds(before, total)
        await take(service, session, hearing(state, pcm_blocks(upload.path), rate, session.wishes), stop, total)
        return []
    file = await service.opened(upload, before)
    work = hearing(state, file.chunks(), SAMPLE_RATE, session.wishes)
    await take(service, session, work, stop, file.seconds)
    return file.remarks()


async def end_audio(service: Service, session: Session, stop: Stop) -> None:
    """The audio of a session has ended. Once is as good as twice."""
    await telling(session, _ended(service, session, stop))


async def _ended(service: Service, session: Session, stop: Stop) -> None:
    state = await service.store.loaded(session)
    if state.ended:
        return

    await take(service, session, ending(state, session.wishes), stop)


def answer(
    service: Service,
    session: Session,
    question: str,
    most: int | None,
    said: Callable[[str], None] | None,
    stop: Stop,
) -> asyncio.Task[Json]:
    """Answer a question from what a session has heard so far; `said`, where somebody listens, gets the text as it
    comes."""

    async def from_state(state: SessionState) -> Json:
        if not state.memory.seconds:
            raise ApiError(409, "nothing_heard", "nothing was heard yet; push audio before asking")
        work = answering(state, question, most, said is not None)
        return answer_json(await service.compute.run(work, stop, said or ignore))

    async def in_turn(stop: Stop) -> Json:
        return await from_state(await service.store.loaded(session))

    async def amid() -> Json:
        try:
            state = await session.wishes.want(lambda draft: draft.fork())
        except Over:
            return await service.store.then(session, in_turn, "answering", stop)
        return await from_state(state)

    return service.store.start(amid())


def ignore(piece: str) -> None:
    """Nobody listens."""


async def spoken(work: asyncio.Task[Json], pieces: asyncio.Queue[str | None], stop: Stop) -> AsyncIterator[str]:
    """An answer as Server-Sent Events: ``delta`` (text), then ``answer`` (the whole with its numbers) or ``error``."""
    try:
        while (piece := await pieces.get()) is not None:
            yield server_sent("delta", {"text": piece})
        try:
            yield server_sent("answer", work.result())
        except Exception as error:
            yield server_sent("error", as_api_error(error).body)
    finally:
        stop()


async def told(service: Service, session: Session) -> AsyncIterator[str]:
    """A session's events as they happen, from its present state on."""
    with service.streaming():
        queue = session.events.listen()
        try:
            yield ": listening\n\n"
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), ALIVE_SECONDS)
                except (TimeoutError, asyncio.TimeoutError):
                    yield ": alive\n\n"
                    continue
                if event is None:
                    return
                yield server_sent(*event)
        finally:
            session.events.leave(queue)
