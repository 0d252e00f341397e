"""Routes of sessions: open, push audio, ask, change, fork, save, delete."""

from __future__ import annotations

import asyncio
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.background import BackgroundTask

from speech_xl.serving.compute import Stop
from speech_xl.serving.pcm import pcm_rate
from speech_xl.serving.service import Body, Service
from speech_xl.serving.session_work import answer, change_ratio, end_audio, hear, hearing_in_turn, spoken, told

EVENT_STREAM = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class NewSession(Body):
    ratio: int | None = None
    transcribe: bool = False


class SessionChange(Body):
    ratio: int


class Question(Body):
    question: str
    max_new_tokens: int | None = None
    stream: bool = False


def session_routes(service: Service) -> APIRouter:
    """All routes below /v1/sessions but the WebSocket."""
    routes, store = APIRouter(prefix="/v1/sessions"), service.store

    @routes.post("", status_code=201)
    async def open_session(request: Request) -> JSONResponse:
        asked = await service.uploads.json(request, NewSession)
        session_id, session = await store.open(service.ratio(asked.ratio), asked.transcribe)
        return JSONResponse(session.json(session_id), 201)

    @routes.get("/{session_id}")
    async def show(session_id: str) -> JSONResponse:
        session = store.find(session_id)
        if not session.view:
            await store.then(session, lambda stop: store.loaded(session))
        return JSONResponse(session.json(session_id))

    @routes.delete("/{session_id}", status_code=204)
    async def delete(session_id: str) -> Response:
        await store.delete(store.find(session_id))
        return Response(status_code=204)

    @routes.patch("/{session_id}")
    async def change(session_id: str, request: Request) -> JSONResponse:
        session = store.find(session_id)
        ratio = service.ratio((await service.uploads.json(request, SessionChange)).ratio)
        await change_ratio(service, session, ratio)
        return JSONResponse(session.json(session_id))

    @routes.post("/{session_id}/end")
    async def end(session_id: str, request: Request) -> JSONResponse:
        session, stop = store.find(session_id), Stop()
        work = hearing_in_turn(service, session, partial(end_audio, service, session), stop)
        await service.answered(request, work, stop)
        return JSONResponse(session.json(session_id))

    @routes.post("/{session_id}/audio")
    async def audio(session_id: str, request: Request, wait: bool = True) -> JSONResponse:
        session, stop = store.find(session_id), Stop()
        rate = pcm_rate(request.headers.get("content-type", ""))
        upload = await service.uploads.file(request)
        work = hearing_in_turn(service, session, partial(hear, service, session, upload, rate), stop)
        work.add_done_callback(lambda task: upload.remove())  # also where its turn never came
        if not wait:
            return JSONResponse(session.json(session_id) | {"status": "hearing"}, 202)
        remarks = await service.answered(request, work, stop)
        return JSONResponse(session.json(session_id) | {"remarks": remarks})

    @routes.get("/{session_id}/events")
    async def events(session_id: str) -> StreamingResponse:
        session = store.find(session_id)
        service.check_streams()
        return StreamingResponse(told(service, session), media_type="text/event-stream", headers=EVENT_STREAM)

    @routes.post("/{session_id}/ask")
    async def ask(session_id: str, request: Request) -> Response:
        session, stop = store.find(session_id), Stop()
        asked = await service.uploads.json(request, Question)
        question, most = service.question(asked.question), service.new_tokens(asked.max_new_tokens)
        if not asked.stream:
            work = answer(service, session, question, most, None, stop)
            return JSONResponse(await service.answered(request, work, stop))
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        work = answer(service, session, question, most, pieces.put_nowait, stop)
        work.add_done_callback(lambda task: pieces.put_nowait(None))
        return StreamingResponse(spoken(work, pieces, stop), media_type="text/event-stream", headers=EVENT_STREAM)

    @routes.post("/{session_id}/fork", status_code=201)
    async def fork(session_id: str) -> JSONResponse:
        fork_id, session = await store.fork(store.find(session_id))
        return JSONResponse(session.json(fork_id), 201)

    @routes.post("/{session_id}/save")
    async def save(session_id: str) -> JSONResponse:
        session = store.find(session_id)

        async def saved(stop: Stop) -> None:
            await store.loaded(session)
            await store.save(session)

        await store.then(session, saved)
        return JSONResponse(session.json(session_id))

    @routes.get("/{session_id}/memory")
    async def memory(session_id: str) -> FileResponse:
        session, copy = store.find(session_id), service.uploads.of_bytes(b"")

        async def written(stop: Stop) -> None:
            state = await store.loaded(session)
            await asyncio.to_thread(state.memory.save, copy.path)

        try:
            await store.then(session, written)
        except BaseException:
            copy.remove()
            raise
        name, kind = "memory.safetensors", "application/octet-stream"
        return FileResponse(copy.path, media_type=kind, filename=name, background=BackgroundTask(copy.remove))

    return routes
