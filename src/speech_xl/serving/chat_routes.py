"""OpenAI's ``POST /v1/chat/completions`` with ``input_audio``: one user message, audio and a question, one answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict

from speech_xl import SAMPLE_RATE
from speech_xl.data.decode import AudioFile
from speech_xl.inference.answers import Answer
from speech_xl.serving.compute import Stop
from speech_xl.serving.errors import ApiError, as_api_error
from speech_xl.serving.events import server_sent
from speech_xl.serving.openai_fields import CHAT, check_fields
from speech_xl.serving.service import Body, Service
from speech_xl.serving.session_routes import EVENT_STREAM
from speech_xl.serving.session_work import ignore
from speech_xl.serving.state import Json, SessionState, answer_json, answering
from speech_xl.serving.uploads import Upload

MEND = "send one user message with parts of type input_audio and text; open a session to ask more about it"


class InputAudio(Body):
    data: str
    format: str


class Part(Body):
    type: str
    text: str | None = None
    input_audio: InputAudio | None = None


class ChatMessage(Body):
    role: str
    content: str | list[Part]
    name: str | None = None


class StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: bool = False


class Chat(BaseModel):
    """Other fields are looked at by `check_fields`."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str
    messages: list[ChatMessage]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    ratio: int | None = None


@dataclass(frozen=True)
class Asked:
    """A question about audio files that came with it."""

    question: str
    uploads: list[Upload]
    ratio: int
    max_new_tokens: int | None
    stream: bool
    usage: bool

    def remove(self) -> None:
        for upload in self.uploads:
            upload.remove()


def chat_routes(service: Service) -> APIRouter:
    """The one route."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        chat = await service.uploads.json(request, Chat, service.limits.max_base64_bytes)
        asked = await asyncio.to_thread(understood, service, chat)
        about = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": service.model.name}
        stop, pieces = Stop(), asyncio.Queue[str | None]()
        said = pieces.put_nowait if asked.stream else ignore
        work = service.store.start(answered(service, asked, said, stop))
        work.add_done_callback(lambda task: asked.remove())
        if asked.stream:
            work.add_done_callback(lambda task: pieces.put_nowait(None))
            chunks = streamed(work, pieces, stop, about, asked.usage)
            return StreamingResponse(chunks, media_type="text/event-stream", headers=EVENT_STREAM)
        return JSONResponse(whole(await service.answered(request, work, stop), about))

    return routes


def understood(service: Service, chat: Chat) -> Asked:
    """What a request asks. Raises ApiError (400) for what can't be honoured."""
    check_fields(chat.model_extra or {}, CHAT)
    service.check_model(chat.model)
    ratio = service.ratio(chat.ratio)
    name = "max_tokens" if chat.max_completion_tokens is None else "max_completion_tokens"
    most = service.new_tokens(getattr(chat, name), name)
    if len(chat.messages) != 1 or chat.messages[0].role != "user":
        roles = ", ".join(one.role[:20] for one in chat.messages[:5])
        raise ApiError(400, "unsupported_value", f"messages: got roles [{roles}]; {MEND}", "messages")
    content = chat.messages[0].content
    parts = [Part(type="text", text=content)] if isinstance(content, str) else content
    texts = [part.text for part in parts if part.type == "text" and part.text is not None]
    sounds = [part.input_audio for part in parts if part.type == "input_audio" and part.input_audio is not None]
    if len(texts) + len(sounds) != len(parts) or not texts or not sounds:
        kinds = ", ".join(part.type[:20] for part in parts[:5])
        raise ApiError(400, "unsupported_value", f"messages: got parts [{kinds}]; {MEND}", "messages")
    question, uploads = service.question("\n".join(texts)), []
    try:
        for sound in sounds:
            uploads.append(service.uploads.of_bytes(decoded(sound.data)))
    except BaseException:
        for upload in uploads:
            upload.remove()
        raise
    usage = chat.stream_options is not None and chat.stream_options.include_usage
    return Asked(question, uploads, ratio, most, bool(chat.stream), usage)


def decoded(text: str) -> bytes:
    """Raises ApiError (400) where it is no base64, or holds nothing."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, "bad_base64", f"input_audio.data is no base64: {error}", "messages") from error
    if not data:
        raise ApiError(400, "empty", "input_audio.data is empty; send an audio file", "messages")
    return data


async def answered(service: Service, asked: Asked, said: Callable[[str], None], stop: Stop) -> Answer:
    """Hear the files, one behind the other, and answer."""
    files: list[AudioFile] = []
    for upload in asked.uploads:
        files.append(await service.opened(upload, sum(file.seconds for file in files)))
    try:
        return await service.compute.run(chatting(service, files, asked), stop, said)
    except Exception as error:
        raise as_api_error(error, service.uploads.folder) from error


def chatting(service: Service, files: list[AudioFile], asked: Asked) -> Generator[str | None, None, Answer]:
    """Work for `Compute`: nothing a block of audio, text a token, the answer in the end."""
    state = SessionState.new(service.model, asked.ratio, transcribe=False)
    for file in files:
        for chunk in file.chunks():
            yield from state.pushing(chunk, SAMPLE_RATE)
            yield None
    return (yield from answering(state, asked.question, asked.max_new_tokens, asked.stream))


def numbers(answer: Answer) -> Json:
    """What every answer says beside its text."""
    return {name: value for name, value in answer_json(answer).items() if name != "text"}


def usage_of(answer: Answer) -> dict[str, int]:
    """Prompt tokens are the KV tokens that were kept."""
    kept, new = answer.kept_kv_tokens, answer.new_tokens
    return {"prompt_tokens": kept, "completion_tokens": new, "total_tokens": kept + new}


def whole(answer: Answer, about: Json) -> Json:
    """A ``chat.completion``."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": reason(answer), "logprobs": None}
    return {**about, "object": "chat.completion", "choices": [choice], "usage": usage_of(answer), **numbers(answer)}


def reason(answer: Answer) -> str:
    return "stop" if answer.finished else "length"


async def streamed(
    work: asyncio.Task[Answer], pieces: asyncio.Queue[str | None], stop: Stop, about: Json, usage: bool
) -> AsyncIterator[str]:
    """``chat.completion.chunk`` a piece; the last with a choice has the numbers."""

    def chunk(delta: Json, finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        empty = {"usage": None} if usage else {}
        return server_sent(None, {**about, "object": "chat.completion.chunk", "choices": [choice], **empty, **more})

    try:
        yield chunk({"role": "assistant", "content": ""})
        while (piece := await pieces.get()) is not None:
            yield chunk({"content": piece})
        try:
            answer = work.result()
        except Exception as error:
            yield server_sent(None, as_api_error(error).body)
            return
        yield chunk({}, reason(answer), **numbers(answer))
        if usage:
            last = {**about, "object": "chat.completion.chunk", "choices": [], "usage": usage_of(answer)}
            yield server_sent(None, last)
        yield server_sent(None, "[DONE]")
    finally:
        stop()
