"""Errors as clients see them: ``{"error": {"message", "type", "code", "param"}}``, without a path of the server."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from speech_xl.data.decode import AudioError
from speech_xl.model.memory_file import MemoryFileError
from speech_xl.run.user_errors import message_of
from speech_xl.storage.tensor_files import TensorFileError

LOG = logging.getLogger("speech_xl.serving")
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
SHOWN = 500  # characters of a message


class ApiError(Exception):
    """What a client did, or met, with the HTTP status it gets; `code` is for programs, `param` names the field."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "code": self.code, "param": self.param}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, headers=self.headers)


class Stopped(Exception):
    """Work that was stopped because nobody waits for it, or because the server ends."""


def busy(code: str, message: str) -> ApiError:
    """429: for now; the client may try again."""
    return ApiError(429, code, message, headers={"Retry-After": "5"})


def deleted() -> ApiError:
    """404: to whoever waited for a session that another request deleted."""
    return ApiError(404, "no_session", "this session was deleted", "id")


def as_api_error(error: Exception, folder: Path | None = None) -> ApiError:
    """Any exception as the client is to see it; what no client caused is logged and told as 500 without its text.

    folder: of the files that the client's audio and memory lie in, whose path is left out of messages.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, Stopped):
        return ApiError(503, "stopping", "the server is stopping; what was acknowledged is kept, ask again later")
    if isinstance(error, ValidationError):
        return of_validation(error.errors())
    if isinstance(error, AudioError):
        said = without_paths(str(error), folder).partition(", or convert it: ")[0]  # a command for files with a name
        return ApiError(400, "bad_audio", said, "file")
    if isinstance(error, MemoryFileError):
        return ApiError(409, "other_model", "this session was heard by another model or version; hear the audio anew")
    if isinstance(error, TensorFileError):
        return ApiError(410, "damaged", "what was saved of this session is damaged; hear the audio anew")
    if isinstance(error, OSError):
        LOG.error("the system refuses: %s", error)
        return ApiError(507, "storage", "the server can't write its files now; nothing of this request was kept")
    message = message_of(error)
    if message is None or not isinstance(error, ValueError):
        LOG.error("a request failed", exc_info=error)
        return ApiError(500, "internal", "an error of the server, which its log tells of; nothing of this was kept")
    return ApiError(400, "invalid_value", without_paths(message, folder))


def without_paths(message: str, folder: Path | None) -> str:
    """The message with files in `folder` by their name alone, and no more of it than can be read."""
    if folder is not None:
        message = message.replace(f"{folder}/", "").replace(str(folder), "the audio")
    return message[:SHOWN]


def of_validation(errors: Any) -> ApiError:
    """The first of pydantic's errors, with the field's name."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return ApiError(400, "unknown_field", f"{where}: this field isn't known here; leave it out", where)
    return ApiError(400, "invalid_value", f"{where or 'the body'}: {first['msg']}"[:SHOWN], where or None)


def add_handlers(app: FastAPI) -> None:
    """Have every error of the app answered in this form."""

    async def api(request: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code, said = CODES.get(error.status_code, "http_error"), f"{error.detail}: {request.method} {request.url.path}"
        return ApiError(error.status_code, code, said[:SHOWN], headers=error.headers).response()

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return of_validation([{**one, "loc": one["loc"][1:]} for one in error.errors()]).response()

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    for kind in (ApiError, Stopped, AudioError, MemoryFileError, TensorFileError, OSError, ValueError, Exception):
        app.add_exception_handler(kind, api)
