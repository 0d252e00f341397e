"""OpenAI's ``POST /v1/audio/transcriptions``: a file in, its transcript out, whole or segment by segment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.datastructures import FormData

from speech_xl import SAMPLE_RATE
from speech_xl.data.decode import AudioFile
from speech_xl.inference.model import ListeningModel
from speech_xl.inference.transcription import Segment, Transcriber, Transcription
from speech_xl.serving.compute import Stop
from speech_xl.serving.errors import ApiError, as_api_error
from speech_xl.serving.events import server_sent
from speech_xl.serving.openai_fields import TRANSCRIPTION, check_fields
from speech_xl.serving.service import Service
from speech_xl.serving.session_routes import EVENT_STREAM
from speech_xl.serving.state import Json, writing
from speech_xl.serving.uploads import Upload

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
GRANULARITIES = "timestamp_granularities[]"
GRANULARITY = ("segment", "word")
OWN = ("file", "model", "response_format", "ratio", "stream", "language", GRANULARITIES, "timestamp_granularities")


@dataclass(frozen=True)
class Wanted:
    """What a request asks for: the form of the answer, the ratio, word times, and whether as a stream."""

    form: str
    ratio: int
    words: bool
    segments: bool
    stream: bool


def transcription_routes(service: Service) -> APIRouter:
    """The one route."""
    routes = APIRouter()

    @routes.post("/v1/audio/transcriptions")
    async def transcribe(request: Request) -> Response:
        form, upload = await service.uploads.form(request)
        try:
            wanted = wishes(service, form)
            if upload is None:
                raise ApiError(400, "missing", "file: missing; send the audio as a form field of this name", "file")
        except BaseException:
            if upload is not None:
                upload.remove()
            raise
        stop, told = Stop(), asyncio.Queue[list[Segment] | None]()
        work = service.store.start(transcribed(service, upload, wanted.ratio, told, stop))
        work.add_done_callback(lambda task: upload.remove())
        if wanted.stream:
            work.add_done_callback(lambda task: told.put_nowait(None))
            return StreamingResponse(streamed(work, told, stop), media_type="text/event-stream", headers=EVENT_STREAM)
        return as_response(await service.answered(request, work, stop), wanted, service.language)

    return routes


def wishes(service: Service, form: FormData) -> Wanted:
    """What a form asks for. Raises ApiError (400) for what can't be honoured."""
    check_fields({name: value for name, value in form.items() if name not in OWN}, TRANSCRIPTION)
    given = {name: str(value) for name, value in form.items() if name != "file"}
    if "model" not in given:
        raise ApiError(400, "missing", f"model: missing; this server has {service.model.name!r}", "model")
    service.check_model(given["model"])
    if (language := given.get("language")) not in (None, "", service.language):
        known = (
            "which language this model knows isn't told" if service.language is None else f"it is {service.language}"
        )
        said = f"language: got {language[:40]!r}; {known}. Leave it out"
        raise ApiError(400, "unsupported_value", said, "language")
    shape = given.get("response_format", "json")
    if shape not in FORMATS:
        said = f"response_format: got {shape[:40]!r}; choose from {', '.join(FORMATS)}"
        raise ApiError(400, "unsupported_value", said, "response_format")
    stream = _switch(given.get("stream", "false"))
    if stream and shape != "json":
        raise ApiError(400, "unsupported_value", "stream: events hold text; leave response_format out", "stream")
    wanted = [str(one) for name in (GRANULARITIES, "timestamp_granularities") for one in form.getlist(name)]
    if unknown := [one for one in wanted if one not in GRANULARITY]:
        said = f"{GRANULARITIES}: got {unknown[0][:40]!r}; choose from {', '.join(GRANULARITY)}"
        raise ApiError(400, "unsupported_value", said, GRANULARITIES)
    if wanted and shape != "verbose_json":
        said = f"{GRANULARITIES}: needs response_format verbose_json, and that is {shape}"
        raise ApiError(400, "unsupported_value", said, GRANULARITIES)
    if "word" in wanted and service.model.transcript.step_seconds is None:
        said = f"{GRANULARITIES}: this model writes no times into its transcripts; leave word out"
        raise ApiError(400, "unsupported_value", said, GRANULARITIES)
    ratio = given.get("ratio")
    if ratio is not None and not ratio.isdecimal():
        raise ApiError(400, "invalid_value", f"ratio: got {ratio[:40]!r}; give a whole number", "ratio")
    chosen = service.ratio(None if ratio is None else int(ratio[:9]))
    return Wanted(shape, chosen, "word" in wanted, not wanted or "segment" in wanted, stream)


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ApiError(400, "invalid_value", f"stream: got {text[:40]!r}; give true or false", "stream")
    return text.lower() == "true"


async def transcribed(
    service: Service, upload: Upload, ratio: int, told: asyncio.Queue[list[Segment] | None], stop: Stop
) -> Transcription:
    """Hear a file and write it down; segments are told as they come."""
    file = await service.opened(upload)
    try:
        return await service.compute.run(transcribing(service.model, file, ratio), stop, told.put_nowait)
    except Exception as error:
        raise as_api_error(error, upload.folder) from error


def transcribing(
    model: ListeningModel, file: AudioFile, ratio: int
) -> Generator[list[Segment] | None, None, Transcription]:
    """Work for `Compute`: new segments, and the whole in the end."""
    transcriber, told = Transcriber(model, ratio), 0
    for chunk in chain(file.chunks(), [None]):
        push = partial(transcriber.push, chunk, SAMPLE_RATE) if chunk is not None else transcriber.finish
        yield from writing(transcriber, push)
        yield transcriber.segments[told:] or None
        told = len(transcriber.segments)
    return transcriber.transcription


def numbers(found: Transcription) -> Json:
    """What every answer says beside its text."""
    return {
        "audio_seconds_heard": round(found.audio_seconds_heard, 4),
        "ratio": found.ratio,
        "kept_kv_bytes": found.kept_kv_bytes,
        "full_kv_bytes": found.full_kv_bytes,
        "parts": found.parts,
        "finished": found.finished,
        "remarks": found.remarks,
    }


def as_headers(about: Json) -> dict[str, str]:
    """The same as headers, for answers that are no JSON: ``X-Audio-Seconds-Heard`` and so on."""
    plain = {name: value for name, value in about.items() if not isinstance(value, list)}
    return {f"X-{name.replace('_', '-').title()}": str(value) for name, value in plain.items()}


def as_response(found: Transcription, wanted: Wanted, language: str | None) -> Response:
    """A transcription in the form that was asked for."""
    about = numbers(found)
    headers = as_headers(about)
    plain = {"text": found.as_text, "srt": found.as_srt, "vtt": found.as_vtt}
    if wanted.form in plain:
        kind = "text/vtt" if wanted.form == "vtt" else "text/plain"
        return PlainTextResponse(plain[wanted.form](), headers=headers, media_type=kind)
    usage = {"type": "duration", "seconds": about["audio_seconds_heard"]}
    body: Json = {"text": found.text, "usage": usage, **about}
    if wanted.form == "verbose_json":
        body |= {"task": "transcribe", "language": language or "unknown", "duration": about["audio_seconds_heard"]}
        if wanted.segments:
            body["segments"] = [segment(number, one) for number, one in enumerate(found.segments)]
        if wanted.words:
            body["words"] = words(found)
    return JSONResponse(body, headers=headers)


def segment(number: int, one: Segment) -> dict[str, Any]:
    """As OpenAI writes it; null is what isn't known here."""
    unknown = dict.fromkeys(("avg_logprob", "compression_ratio", "no_speech_prob"))
    about = {"id": number, "start": one.start_seconds, "end": one.end_seconds, "text": one.text}
    return {**about, "seek": 0, "tokens": [], "temperature": 0.0, **unknown}


def words(found: Transcription) -> list[dict[str, Any]]:
    """Words, each to the start of the next or to the end of its segment: the model writes when one starts."""
    starts = [start for start, _ in found.words]
    ends = sorted(one.end_seconds for one in found.segments)
    made = []
    for number, (start, word) in enumerate(found.words):
        after = [one for one in starts[number + 1 : number + 2] if one >= start]
        after += [end for end in ends if end >= start][:1]
        made.append({"word": word, "start": start, "end": min(after, default=start)})
    return made


async def streamed(
    work: asyncio.Task[Transcription], told: asyncio.Queue[list[Segment] | None], stop: Stop
) -> AsyncIterator[str]:
    """OpenAI's events: ``transcript.text.delta`` a segment, then ``transcript.text.done``."""
    first = True
    try:
        while (new := await told.get()) is not None:
            for one in new:
                delta = one.text if first else f" {one.text}"
                first = False
                yield server_sent(None, {"type": "transcript.text.delta", "delta": delta})
        try:
            found = work.result()
        except Exception as error:
            yield server_sent("error", as_api_error(error).body)
            return
        yield server_sent(None, {"type": "transcript.text.done", "text": found.text, **numbers(found)})
    finally:
        stop()
