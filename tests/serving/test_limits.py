"""Whatever a client sends, it gets an answer of 4xx that says what is wrong, and nothing of it stays."""

import io
import json
import math
import struct

import numpy as np
import pytest
import soundfile

from speech_xl.serving.limits import Limits
from tests.serving.conftest import ask, error_of, opened, pcm_of, push, wav


@pytest.fixture(scope="module")
def limits():
    return {"max_upload_bytes": 100_000, "max_audio_seconds": 10, "max_json_bytes": 2_000, "max_base64_bytes": 50_000}


@pytest.fixture
def small(serve, limits):
    with serve(**limits) as client:
        yield client


def lying_wav(rate=16_000, channels=1, size=20_000):
    """A WAV whose header says what isn't so."""
    body = bytes(size)
    form = struct.pack("<HHIIHH", 1, channels, rate, min(rate * 2 * channels, 2**32 - 1), 2 * channels, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + (struct.pack("<I", size) + body)
    )


def nan_wav():
    """A WAV of floats that are no numbers."""
    file = io.BytesIO()
    soundfile.write(file, np.full(9_000, math.nan, np.float32), 16_000, subtype="FLOAT", format="WAV")
    return file.getvalue()


BODIES = {
    "garbage": (b"\x00\x01garbage" * 100, 400, "bad_audio"),
    "text": (b"hello", 400, "bad_audio"),
    "empty": (b"", 400, "empty"),
    "too large": (bytes(100_001), 413, "too_large"),
    "truncated flac": (wav(np.zeros(16_000), kind="FLAC")[:60], 400, "bad_audio"),
    "no samples": (wav(np.zeros(0)), 400, "bad_audio"),
    "an hour of silence": (wav(np.zeros(16_000 * 3600 // 40, np.int16), 400, "FLAC"), 413, "too_long"),
    "a rate that takes all memory": (lying_wav(rate=2_000_000_000), 400, "bad_audio"),
    "a playlist": (b"#EXTM3U\n#EXTINF:3,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", 400, "bad_audio"),
    "other files": (b"ffconcat version 1.0\nfile 'audio'\n", 400, "bad_audio"),
    "not a number": (nan_wav(), 400, "bad_audio"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_refused_and_nothing_of_it_stays(small, name):
    body, status, code = BODIES[name]
    session = opened(small)
    said = error_of(small.post(f"/v1/sessions/{session}/audio", content=body), status, code)
    assert len(said) > 20 and small.get(f"/v1/sessions/{session}").json()["audio_seconds_heard"] == 0
    assert not list(small.service.uploads.folder.iterdir())


def test_a_session_hears_so_much_and_no_more(small):
    session = opened(small)
    for _ in range(5):
        assert push(small, session, pcm_of(1.9)).status_code == 200
    said = error_of(push(small, session, pcm_of(1.0)), 413, "too_long")
    assert "1.0 s" in said and "9.5 s" in said and "10 s" in said
    assert push(small, session, pcm_of(0.5)).status_code == 200


@pytest.mark.parametrize(
    "kind", ["audio/pcm", "audio/pcm;rate=x", "audio/pcm;rate=999999999", "audio/pcm; rate=16000; channels=2"]
)
def test_pcm_says_its_rate(small, kind):
    sent = small.post(f"/v1/sessions/{opened(small)}/audio", content=bytes(100), headers={"Content-Type": kind})
    assert error_of(sent, 400, "bad_pcm")


def test_half_a_sample_is_no_sample(small):
    sent = small.post(
        f"/v1/sessions/{opened(small)}/audio", content=bytes(101), headers={"Content-Type": "audio/pcm;rate=16000"}
    )
    assert "101" in error_of(sent, 400, "bad_pcm")


DEEP = b"[" * 1_900
JSON = {
    "nan": (b'{"ratio": NaN}', "bad_json"),
    "deep": (DEEP, "bad_json"),
    "deep value": (b'{"ratio": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}", "invalid_value"),
    "cut off": (b'{"ratio": 4', "bad_json"),
    "bytes": (b"\xff\xfe", "bad_json"),
    "list": (b"[]", "invalid_value"),
    "text for a number": (b'{"ratio": "4"}', "invalid_value"),
    "truth for a number": (b'{"ratio": true}', "invalid_value"),
    "fraction": (b'{"ratio": 4.5}', "invalid_value"),
    "huge": (b'{"ratio": 1' + b"0" * 1_000 + b"}", "invalid_value"),
    "not offered": (b'{"ratio": 3}', "invalid_value"),
    "unknown": (b'{"rato": 4}', "unknown_field"),
}


@pytest.mark.parametrize("name", JSON)
def test_json_is_taken_by_the_letter(small, name):
    body, code = JSON[name]
    error_of(small.post("/v1/sessions", content=body, headers={"Content-Type": "application/json"}), 400, code)
    assert not small.service.store.sessions


def test_large_json_and_other_types_are_refused(small):
    error_of(small.post("/v1/sessions", content=b" " * 2_001), 413, "too_large")
    error_of(small.post("/v1/sessions", content=b"{}", headers={"Content-Type": "text/plain"}), 400, "content_type")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"question": " "}, "invalid_value"),
        ({"question": "x" * 101}, "invalid_value"),
        ({"question": "\ud800"}, "invalid_value"),
        ({"question": "who?", "max_new_tokens": 0}, "invalid_value"),
        ({"question": "who?", "max_new_tokens": 21}, "invalid_value"),
        ({}, "invalid_value"),
    ],
)
def test_a_bad_question_is_refused(serve, body, code):
    with serve(max_question_characters=100, max_new_tokens=20) as client:
        session = opened(client)
        push(client, session, pcm_of(0.5))
        error_of(client.post(f"/v1/sessions/{session}/ask", content=json.dumps(body)), 400, code)


def test_nothing_heard_is_nothing_to_ask_about(client):
    error_of(ask(client, opened(client)), 409, "nothing_heard")


def test_there_are_so_many_sessions_and_no_more(serve):
    with serve(max_sessions=2) as client:
        session = opened(client)
        opened(client)
        for refused in (client.post("/v1/sessions"), client.post(f"/v1/sessions/{session}/fork")):
            assert "2 sessions" in error_of(refused, 429, "too_many_sessions") and refused.headers["Retry-After"]
        client.delete(f"/v1/sessions/{session}")
        opened(client)


@pytest.mark.parametrize("path", ["", "/events", "/memory"])
@pytest.mark.parametrize("session", ["x" * 32, "..", "%2e%2e%2fetc", "a/b", "x" * 5_000, "é" * 32, "%00"])
def test_an_id_that_nobody_has_is_unknown_whatever_it_looks_like(client, session, path):
    assert client.get(f"/v1/sessions/{session}{path}").status_code == 404


@pytest.mark.parametrize(
    "way", [("put", "/v1/sessions"), ("get", "/v1/nothing"), ("get", "/v1/sessions"), ("delete", "/health")]
)
def test_what_isnt_there_is_told_in_the_same_form(client, way):
    method, path = way
    answer = getattr(client, method)(path)
    assert answer.status_code in (404, 405) and answer.json()["error"]["code"] in ("not_found", "method_not_allowed")


def test_the_limits_are_told_and_checked(client, model):
    told = client.get("/v1/limits").json()
    assert {name: told[name] for name in vars(Limits())} == vars(Limits())
    assert told["ratios"] == [1, 2, 4, 8, 16] and told["default_ratio"] == 4 and told["model"] == "tiny"
    assert told["transcript_instruction"] == model.transcript.instruction
    with pytest.raises(ValueError, match="max_sessions: got 0"):
        Limits(max_sessions=0)
