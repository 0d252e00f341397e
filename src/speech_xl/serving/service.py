"""A model at work for clients: uploads, sessions and turns together, and what the routes ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict

from speech_xl.data.decode import AudioFile, AudioTooLong
from speech_xl.inference.model import ListeningModel
from speech_xl.serving.compute import Compute, Stop
from speech_xl.serving.errors import ApiError, as_api_error, busy
from speech_xl.serving.limits import RATIOS, Limits
from speech_xl.serving.state import Json
from speech_xl.serving.store import SessionStore
from speech_xl.serving.uploads import Upload, Uploads

Result = TypeVar("Result")
GONE = 499  # no status of HTTP's own; nobody reads it


class Body(BaseModel):
    """A JSON body: fields that aren't known are refused, and no value is turned into another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Service:
    """What the routes share.

    language  that the model was trained on, such as ``en``; None where nobody says
    """

    def __init__(
        self,
        model: ListeningModel,
        folder: Path,
        limits: Limits | None = None,
        durable: bool = True,
        workers: int = 1,
        threads: int | None = None,
        language: str | None = None,
    ) -> None:
        """Raises FileError where the folder for sessions can't be used."""
        self.model, self.language = model, language
        self.limits = limits or Limits()
        self.compute = Compute(workers, threads, self.limits.max_waiting)
        self.store = SessionStore(model, self.compute, self.limits, folder, durable)
        self.uploads = Uploads(folder / "uploads", self.limits)
        self.streams = 0
        self.housekeeper: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """On the event loop that serves: from now on idle sessions go to disk."""
        self.housekeeper = asyncio.create_task(self.store.keep_house())

    async def close(self) -> None:
        """Stop all work and write what isn't on disk."""
        if self.housekeeper is not None:
            self.housekeeper.cancel()
        await self.store.close()
        await asyncio.to_thread(self.compute.close)

    @property
    def ratios(self) -> Sequence[int]:
        """That a client may choose from."""
        return (1,) if self.model.backbone.sst is None else RATIOS

    # Checks

    def ratio(self, given: int | None) -> int:
        """Raises ApiError (400) for a ratio that isn't offered."""
        if given is None:
            return self.model.default_ratio
        if given not in self.ratios:
            offered = ", ".join(map(str, self.ratios))
            raise ApiError(400, "invalid_value", f"ratio: got {given}; this model offers {offered}", "ratio")
        return given

    def question(self, text: str) -> str:
        """Raises ApiError (400) for one that is blank, too long, or no text."""
        if not text.strip():
            raise ApiError(400, "invalid_value", "question: it is blank; ask something", "question")
        if len(text) > (most := self.limits.max_question_characters):
            said = f"question: it has {len(text):,} characters; at most {most:,} are read"
            raise ApiError(400, "invalid_value", said, "question")
        if not text.isprintable() and any(0xD800 <= ord(one) <= 0xDFFF for one in text):
            raise ApiError(
                400, "invalid_value", "question: it holds half of a character (a lone surrogate)", "question"
            )
        return text

    def new_tokens(self, given: int | None, name: str = "max_new_tokens") -> int | None:
        """Raises ApiError (400) for a limit of an answer's tokens that is out of range."""
        if given is not None and not 1 <= given <= self.limits.max_new_tokens:
            said = f"{name}: got {given}; give a whole number from 1 to {self.limits.max_new_tokens}"
            raise ApiError(400, "invalid_value", said, name)
        return given

    def check_model(self, name: str) -> None:
        """Raises ApiError (404) for another model than the one that is served."""
        if name != self.model.name:
            said = f"model: {name[:80]!r} isn't served here; this is {self.model.name!r}"
            raise ApiError(404, "model_not_found", said, "model")

    def check_seconds(self, heard: float, new: float) -> None:
        """Raises ApiError (413) where so much audio would be too much."""
        if heard + new > self.limits.max_audio_seconds:
            raise self._too_long(f"{new:,.1f} s", heard)

    def _too_long(self, length: str, heard: float) -> ApiError:
        behind = f" behind the {heard:,.1f} s that were heard" if heard else ""
        said = f"the audio has {length}{behind}; at most {self.limits.max_audio_seconds:,} s are heard in all. Cut it"
        return ApiError(413, "too_long", said, "file")

    # Work

    async def opened(self, upload: Upload, heard: float = 0.0) -> AudioFile:
        """The audio file that was sent, decoded once to know what is in it, which no step of the model waits for.

        Raises ApiError: 400 where it is no audio, 413 where it is too long.
        """
        left = self.limits.max_audio_seconds - heard
        try:
            file = await asyncio.to_thread(AudioFile.of, upload.path, "the file", left)
        except AudioTooLong as error:
            raise self._too_long(f"more than {left:,.0f} s", heard) from error
        except Exception as error:
            raise as_api_error(error, upload.folder) from error
        self.check_seconds(heard, file.seconds)
        return file

    async def answered(self, request: Request, work: asyncio.Task[Result], stop: Stop) -> Result:
        """Wait for work that a request began; it is told to stop where the client goes away."""
        gone = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not work.done():
                stop()
        if not work.done():
            raise ApiError(GONE, "gone", "the client went away; its request was stopped")
        return work.result()

    def check_streams(self) -> None:
        """Raises ApiError (429) where too many streams of events are open."""
        if self.streams >= self.limits.max_event_streams:
            raise busy("streams_busy", f"{self.streams} streams of events are open already; close one")

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Count an open stream of events."""
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def about(self) -> Json:
        """For ``GET /health``."""
        store = self.store
        return {
            "status": "ok",
            "model": self.model.name,
            "sessions": len(store.sessions),
            "sessions_in_memory": sum(one.state is not None for one in store.sessions.values()),
            "requests_at_work": self.compute.jobs,
            "uploads": self.uploads.running,
        }


async def _gone(request: Request) -> None:
    """Return when the client of a request whose body was read goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
