"""Bodies as they come: counted, timed, and written to a private folder under a name of the server's own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from speech_xl.serving.errors import ApiError, busy, of_validation
from speech_xl.serving.limits import Limits

NAME = "audio"  # of every upload, within a folder of its own
FIELD_BYTES = 64 << 10  # of a field of a form that is no file
FIELDS = 32  # of a form
DISCARD_SECONDS = 2.0  # of a body that is too large
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Upload:
    """A file that a client sent, alone in its folder."""

    folder: Path
    bytes: int

    @property
    def path(self) -> Path:
        return self.folder / NAME

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Uploads:
    """Receives bodies.

    folder  where uploads lie while they are used; emptied when the server starts
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self.running = 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)

    async def file(self, request: Request) -> Upload:
        """The whole body as a file. Raises ApiError: 413 too large, 408 too slow, 429 too many at once, 400 empty."""
        return await self._received(self.chunks(request, self.limits.max_upload_bytes))

    async def form(self, request: Request) -> tuple[FormData, Upload | None]:
        """A multipart form and its one file. Raises ApiError as `file` does, and 400 for what is no such form."""
        kind = request.headers.get("content-type", "")
        if not kind.lower().startswith("multipart/form-data"):
            raise ApiError(400, "content_type", f"Content-Type is {kind[:80]!r}; send multipart/form-data with a file")
        self._check_room()
        self.running += 1
        limit = self.limits.max_upload_bytes + FIELDS * FIELD_BYTES
        parser = MultiPartParser(
            request.headers, self.chunks(request, limit), max_files=1, max_fields=FIELDS, max_part_size=FIELD_BYTES
        )
        try:
            form = await parser.parse()
            try:
                file = next((value for value in form.values() if isinstance(value, UploadFile)), None)
                upload = None if file is None else await asyncio.to_thread(self._copied, file)
            finally:
                await form.close()
        except MultiPartException as error:
            raise ApiError(400, "bad_form", f"the form can't be read: {error.message}") from error
        finally:
            self.running -= 1
        return form, upload

    def _copied(self, file: UploadFile) -> Upload:
        """A form's file, which has no name on the disk, as one that has."""
        with self._new_folder() as folder:
            with (folder / NAME).open("wb") as target:
                shutil.copyfileobj(file.file, target, 1 << 20)
            size = (folder / NAME).stat().st_size
            if size > self.limits.max_upload_bytes:
                raise _too_large(self.limits.max_upload_bytes)
            if not size:
                raise _empty()
            return Upload(folder, size)

    async def bytes(self, request: Request, limit: int) -> bytes:
        """A body that is held in memory, of `limit` bytes at most."""
        parts = [part async for part in self.chunks(request, limit)]
        return b"".join(parts)

    async def json(self, request: Request, form: type[Model], limit: int | None = None) -> Model:
        """A JSON body as `form` says; an empty one is taken for ``{}``. Raises ApiError."""
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(400, "content_type", f"Content-Type is {kind[:80]!r}; send application/json")
        body = await self.bytes(request, self.limits.max_json_bytes if limit is None else limit)
        return parsed(body, form)

    def of_bytes(self, data: bytes) -> Upload:
        """Bytes that came within a JSON body, as a file."""
        with self._new_folder() as folder:
            (folder / NAME).write_bytes(data)
            return Upload(folder, len(data))

    @contextmanager
    def _new_folder(self) -> Iterator[Path]:
        """A folder for one upload, which is removed where receiving it fails."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _check_room(self) -> None:
        if self.running >= self.limits.max_uploads:
            raise busy("uploads_busy", f"{self.running} uploads are coming in, as many as are allowed; try again later")

    async def _received(self, chunks: AsyncIterator[bytes]) -> Upload:
        self._check_room()
        self.running += 1
        try:
            with self._new_folder() as folder:
                size, waiting = 0, bytearray()
                with open(folder / NAME, "wb", buffering=0) as file:
                    async for chunk in chunks:
                        size += len(chunk)
                        waiting += chunk
                        if len(waiting) >= 1 << 20:
                            await asyncio.to_thread(_write, file.fileno(), bytes(waiting))
                            waiting.clear()
                    _write(file.fileno(), bytes(waiting))
                if not size:
                    raise _empty()
                return Upload(folder, size)
        finally:
            self.running -= 1

    async def chunks(self, request: Request, limit: int) -> AsyncGenerator[bytes, None]:
        """A body's parts, counted and timed. Raises ApiError (413, 408), and ApiError 400 where the client drops it."""
        declared = request.headers.get("content-length", "")
        stream = request.stream()
        if declared.isdecimal() and int(declared) > limit:
            await _discarded(stream, waits=request.headers.get("expect", "").lower() == "100-continue")
            raise _too_large(limit, int(declared))
        began, size, idle = time.monotonic(), 0, self.limits.upload_idle_seconds
        while True:
            try:
                chunk = await asyncio.wait_for(anext(stream), idle)
            except StopAsyncIteration:
                return
            except (TimeoutError, asyncio.TimeoutError) as error:
                raise _too_slow(f"no byte came for {idle} s") from error
            except ClientDisconnect as error:
                raise ApiError(400, "dropped", "the connection ended before the body did; nothing was kept") from error
            size += len(chunk)
            if size > limit:
                await _discarded(stream)
                raise _too_large(limit)
            waited = time.monotonic() - began - idle
            if waited > 0 and size < waited * self.limits.min_upload_bytes_per_second:
                raise _too_slow(f"{size} bytes in {waited + idle:.0f} s")
            yield chunk


def parsed(body: bytes, form: type[Model]) -> Model:
    """JSON text as `form` says. Raises ApiError (400) for what isn't JSON, NaN and too deep nesting included."""
    try:
        data: Any = json.loads(body or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # the former of bytes that aren't UTF-8, too
        what = "it is nested too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise ApiError(400, "bad_json", f"the body is no JSON: {what}") from error
    try:
        return form.model_validate(data)
    except ValidationError as error:
        raise of_validation(error.errors(include_input=False, include_url=False)) from error
    except RecursionError as error:
        raise ApiError(400, "bad_json", "the body is no JSON: it is nested too deep") from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


async def _discarded(stream: AsyncIterator[bytes], waits: bool = False) -> None:
    """Throw away what still comes, for a moment: most clients read the answer only when they have sent everything.

    waits: the client sends nothing before it is told to.
    """
    until = time.monotonic() + DISCARD_SECONDS
    with suppress(TimeoutError, asyncio.TimeoutError, StopAsyncIteration, ClientDisconnect):
        while not waits and (left := until - time.monotonic()) > 0:
            await asyncio.wait_for(anext(stream), left)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _too_large(limit: int, size: int | None = None) -> ApiError:
    found = "more" if size is None else f"{size:,} bytes"
    said = f"the body has {found}; at most {limit:,} bytes are taken. Compress the audio (FLAC, Opus) or cut it"
    return ApiError(413, "too_large", said, headers={"Connection": "close"})


def _too_slow(how: str) -> ApiError:
    return ApiError(
        408, "too_slow", f"the body came too slowly ({how}); nothing was kept", headers={"Connection": "close"}
    )


def _empty() -> ApiError:
    return ApiError(400, "empty", "the body is empty; send an audio file", "file")
