"""A tiny random model behind the real application, asked without a network."""

import io
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from speech_xl.serving.app import create_app
from speech_xl.serving.limits import Limits
from speech_xl.serving.service import Service
from tests.listening_models import tiny_model

BASE = "http://localhost"


@pytest.fixture(scope="session")
def model():
    return tiny_model(seed=6)


@pytest.fixture
def serve(model, tmp_path):
    """Serve a model: ``with serve(max_sessions=2) as client``; the sessions' folder is the test's own."""

    @contextmanager
    def served(app=None, of=None, durable=True, folder="sessions", workers=1, language=None, **limits):
        service = Service(of or model, tmp_path / folder, Limits(**limits), durable, workers, language=language)
        with TestClient(create_app(service, **(app or {})), base_url=BASE) as client:
            client.service = service
            yield client

    return served


@pytest.fixture
def client(serve):
    with serve() as made:
        yield made


def pcm_of(seconds, seed=0):
    """A tone as PCM16 at 16 kHz; of another seed another one, about which the tiny model says something else."""
    times = np.arange(round(seconds * 16_000)) / 16_000
    return (16_000 * np.sin(2 * np.pi * (200 + 300 * seed) * times)).astype("<i2")


def wav(samples, rate=16_000, kind="WAV"):
    """A file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind)
    return file.getvalue()


def heard(samples):
    """PCM16 as the server hears it."""
    return samples.astype(np.float32) / 32768.0


def opened(client, **options):
    """The id of a new session."""
    answer = client.post("/v1/sessions", json=options)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def push(client, session, samples, rate=16_000, **options):
    kind = {"Content-Type": f"audio/pcm;rate={rate}"}
    return client.post(f"/v1/sessions/{session}/audio", content=samples.tobytes(), headers=kind, **options)


def ask(client, session, question="who?", most=16, **options):
    body = {"question": question, "max_new_tokens": most, **options}
    return client.post(f"/v1/sessions/{session}/ask", json=body)


def error_of(response, status, code):
    """The message of an error of this status and code, in OpenAI's form."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "code", "param"} and error["code"] == code, error
    assert "/tmp" not in error["message"] and "Traceback" not in response.text
    return error["message"]
