"""The web application: routes, checks, errors and the page, over one model."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from speech_xl.serving.chat_routes import chat_routes
from speech_xl.serving.errors import add_handlers
from speech_xl.serving.live_routes import live_routes
from speech_xl.serving.security import Guard
from speech_xl.serving.service import Service
from speech_xl.serving.session_routes import session_routes
from speech_xl.serving.transcription_routes import transcription_routes

PAGE = Path(__file__).parent / "page"


def create_app(
    service: Service, token: str | None = None, hosts: Sequence[str] = (), origins: Sequence[str] = ()
) -> FastAPI:
    """The application of a service, whose close it brings.

    token    what requests to /v1 must bear; None: nothing
    hosts    names by which it may be addressed, beside localhost, this machine's and IP addresses
    origins  other web pages that may use it
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.begin()
        yield
        await service.close()

    app = FastAPI(title="Speech-XL", lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    add_handlers(app)
    app.include_router(session_routes(service))
    app.include_router(live_routes(service))
    app.include_router(transcription_routes(service))
    app.include_router(chat_routes(service))
    began = int(time.time())

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse(service.about())

    @app.get("/v1/models")
    async def models() -> JSONResponse:
        return JSONResponse({"object": "list", "data": [model_card(service, began)]})

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> JSONResponse:
        service.check_model(name)
        return JSONResponse(model_card(service, began))

    @app.get("/v1/limits")
    async def limits() -> JSONResponse:
        offered = {"ratios": list(service.ratios), "default_ratio": service.model.default_ratio}
        about = {
            "model": service.model.name,
            "interval_seconds": service.model.interval_seconds,
            "transcript_instruction": service.model.transcript.instruction,
            "durable": service.store.durable,
        }
        return JSONResponse({**asdict(service.limits), **offered, **about})

    if PAGE.is_dir():
        app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    app.add_middleware(Guard, hosts=hosts, origins=origins, token=token)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.rstrip("/") for origin in origins],
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    return app


def model_card(service: Service, began: int) -> dict[str, Any]:
    """As OpenAI lists a model."""
    return {"id": service.model.name, "object": "model", "created": began, "owned_by": "speech-xl"}
