"""OpenAI's own client talks to the server: transcriptions in every form, chat with audio, models, errors."""

import base64
from typing import Any

import openai
import pytest
from starlette.testclient import TestClient

from speech_xl.extensions.timestamps.transcript import Timestamps
from tests.listening_models import tiny_model
from tests.serving.conftest import error_of, heard, pcm_of, wav

SPEECH = pcm_of(2.9)
FILE = wav(SPEECH)


@pytest.fixture
def ai(client: TestClient):
    return openai.OpenAI(base_url="http://localhost/v1", api_key="none", http_client=client, max_retries=0)


@pytest.fixture
def transcription(model):
    return model.transcribe(heard(SPEECH), rate=16_000, ratio=4)


def chat_message(text="who?", data=FILE, **more):
    sound = {"data": base64.b64encode(data).decode(), "format": "wav"}
    return {
        "role": "user",
        "content": [{"type": "input_audio", "input_audio": sound}, {"type": "text", "text": text}],
        **more,
    }


def test_models_are_listed(ai):
    assert [one.id for one in ai.models.list()] == ["tiny"] and ai.models.retrieve("tiny").object == "model"
    with pytest.raises(openai.NotFoundError, match="'gpt' isn't served here"):
        ai.models.retrieve("gpt")


@pytest.mark.parametrize("form", ["json", "text", "srt", "vtt", "verbose_json"])
def test_a_file_is_transcribed_in_every_form(ai, transcription, form):
    raw = ai.audio.transcriptions.with_raw_response.create(
        file=("talk.wav", FILE), model="tiny", response_format=form, extra_body={"ratio": 4}
    )
    found = raw.parse()
    assert raw.headers["x-audio-seconds-heard"] == "2.9" and raw.headers["x-ratio"] == "4"
    assert raw.headers["x-kept-kv-bytes"] == str(transcription.kept_kv_bytes)
    plain = {"text": transcription.as_text(), "srt": transcription.as_srt(), "vtt": transcription.as_vtt()}
    if form in plain:
        assert found == plain[form]
        return
    assert found.text == transcription.text and found.usage.seconds == 2.9
    more = found.model_extra or {}
    assert more["kept_kv_bytes"] == transcription.kept_kv_bytes < more["full_kv_bytes"] and more["ratio"] == 4
    if form == "verbose_json":
        assert found.duration == 2.9 and found.language == "unknown" and found.words is None
        assert [one.text for one in found.segments] == [one.text for one in transcription.segments]


def test_words_have_times_where_the_model_writes_them(serve):
    model = tiny_model(seed=6, transcript=Timestamps(0.4, words=True))
    with serve(of=model, language="en") as client:
        form: dict[str, Any] = {"model": "tiny", "response_format": "verbose_json", "language": "en"}
        form["timestamp_granularities[]"] = ["word", "segment"]
        found = client.post("/v1/audio/transcriptions", files={"file": ("a", FILE)}, data=form).json()
        assert found["language"] == "en" and {"words", "segments"} <= found.keys()
        assert all(one["start"] <= one["end"] for one in found["words"])
        del form["timestamp_granularities[]"]
        assert "words" not in client.post("/v1/audio/transcriptions", files={"file": ("a", FILE)}, data=form).json()


def test_a_transcript_comes_segment_by_segment(ai, transcription):
    events = list(ai.audio.transcriptions.create(file=("talk.wav", FILE), model="tiny", stream=True))
    assert events[-1].type == "transcript.text.done" and events[-1].text == transcription.text
    assert "".join(one.delta for one in events[:-1]).split() == transcription.text.split()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", "0.5"),
        ("prompt", "names: Anna"),
        ("language", "de"),
        ("response_format", "diarized_json"),
        ("chunking_strategy", "auto"),
        ("include[]", "logprobs"),
        ("ratio", "3"),
        ("ratio", "x"),
        ("stream", "maybe"),
        ("timestamp_granularities[]", "word"),
    ],
)
def test_what_a_transcription_cannot_honour_is_refused_by_name(client, field, value):
    sent = client.post("/v1/audio/transcriptions", files={"file": ("a", FILE)}, data={"model": "tiny", field: value})
    assert sent.status_code == 400 and field.removesuffix("[]") in sent.json()["error"]["message"], sent.text
    assert not list(client.service.uploads.folder.iterdir())


def test_a_form_without_file_or_model_is_refused(client):
    path = "/v1/audio/transcriptions"
    error_of(client.post(path, data={"model": "tiny"}, files={"file": ("a", b"")}), 400, "empty")
    error_of(client.post(path, data={"model": "tiny"}, files={"sound": ("a", FILE)}), 400, "unsupported_field")
    assert "model" in error_of(client.post(path, files={"file": ("a", FILE)}), 400, "missing")
    error_of(client.post(path, data={"model": "tiny"}), 400, "content_type")
    error_of(client.post(path, data={"model": "gpt"}, files={"file": ("a", FILE)}), 404, "model_not_found")
    error_of(client.post(path, data={"model": "tiny"}, files={"file": ("../../etc/x", b"no")}), 400, "bad_audio")
    torn = {"Content-Type": "multipart/form-data"}
    error_of(client.post(path, content=b"--x\r\n", headers=torn), 400, "bad_form")


def test_a_question_about_audio_is_answered(ai, model):
    answer = model.listen(heard(SPEECH), rate=16_000, ratio=2).ask("who?", 8)
    asked = {"model": "tiny", "messages": [chat_message()], "max_completion_tokens": 8, "extra_body": {"ratio": 2}}
    found = ai.chat.completions.create(**asked, temperature=0, n=1, seed=3)
    assert found.choices[0].message.content == answer.text
    assert found.choices[0].finish_reason == ("stop" if answer.finished else "length")
    assert found.usage.completion_tokens == answer.new_tokens and found.usage.prompt_tokens == answer.kept_kv_tokens
    assert found.model_extra["audio_seconds_heard"] == 2.9 and found.model_extra["ratio"] == 2
    chunks = list(ai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(one.choices[0].delta.content or "" for one in chunks[:-1]) == answer.text
    assert chunks[-1].usage.completion_tokens == answer.new_tokens and not chunks[-1].choices
    assert chunks[-2].model_extra["kept_kv_bytes"] == answer.kept_kv_bytes


def test_two_files_are_heard_one_behind_the_other(ai, model):
    message = chat_message()
    message["content"].insert(1, chat_message(data=wav(pcm_of(1.0, seed=2)))["content"][0])
    memory = model.listen(heard(SPEECH), rate=16_000)
    memory.push(heard(pcm_of(1.0, seed=2)), 16_000)
    found = ai.chat.completions.create(model="tiny", messages=[message], max_tokens=8)
    assert found.choices[0].message.content == memory.ask("who?", 8).text
    assert found.model_extra["audio_seconds_heard"] == 3.9


BAD = {
    "temperature": {"temperature": 1},
    "n": {"n": 2},
    "tools": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "stop": {"stop": ["x"]},
    "logprobs": {"logprobs": True},
    "response_format": {"response_format": {"type": "json_object"}},
    "modalities": {"modalities": ["text", "audio"]},
    "reasoning_effort": {"reasoning_effort": "low"},
    "max_tokens": {"max_tokens": 100_000},
    "messages": {"messages": [{"role": "system", "content": "be brief"}, chat_message()]},
    "input_audio.data": {"messages": [chat_message(data=b"")]},
    "audio": {"messages": [chat_message(data=b"no sound")]},
    "question": {"messages": [chat_message(text=" ")]},
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_chat_cannot_honour_is_refused_by_name(ai, client, name):
    with pytest.raises(openai.BadRequestError, match=name):
        ai.chat.completions.create(**{"model": "tiny", "messages": [chat_message()], **BAD[name]})
    assert not list(client.service.uploads.folder.iterdir())


def test_no_audio_or_no_text_is_no_question(client):
    for content in (
        "who?",
        [{"type": "text", "text": "who?"}],
        chat_message()["content"][:1],
        [{"type": "image_url"}],
        [],
    ):
        body = {"model": "tiny", "messages": [{"role": "user", "content": content}]}
        assert client.post("/v1/chat/completions", json=body).status_code == 400
    body = {"model": "tiny", "messages": [chat_message()]}
    body["messages"][0]["content"][0]["input_audio"]["data"] = "äöü"
    error_of(client.post("/v1/chat/completions", json=body), 400, "bad_base64")


def test_errors_within_a_stream_are_told_in_it(ai):
    with pytest.raises(openai.APIError, match="audio"):
        list(ai.chat.completions.create(model="tiny", messages=[chat_message(data=b"no sound")], stream=True))
    with pytest.raises(openai.APIError, match="audio"):
        list(ai.audio.transcriptions.create(file=("a", b"no sound"), model="tiny", stream=True))
