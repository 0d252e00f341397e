"""Live audio over a WebSocket, and the real server: a silent client, a slow head, a signal."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from experiments.drills.runs import environment
from tests.serving.conftest import opened, pcm_of, push

SPEECH = pcm_of(2.9)


def live(client, session, query="?rate=16000"):
    return client.websocket_connect(f"ws://localhost/v1/sessions/{session}/stream{query}")


def told(socket, until):
    """Events up to the first of this type."""
    events = []
    while not events or events[-1]["type"] != until:
        events.append(socket.receive_json())
    return events


def test_an_interval_ends_where_somebody_pauses(client):
    session = opened(client, transcribe=True)
    with live(client, session) as socket:
        socket.send_bytes(SPEECH[:4_800].tobytes())
        socket.send_json({"type": "end_interval"})
        socket.send_bytes(SPEECH[4_800:].tobytes())
        socket.send_json({"type": "end"})
        last = told(socket, "ended")[-1]["session"]
    assert last["intervals"][0]["end_seconds"] == 0.3 and last["ended"] and last["segments"]


@pytest.mark.parametrize("query", ["", "?rate=x", "?rate=0", "?rate=1e9"])
def test_a_socket_says_its_rate(client, query):
    with pytest.raises(WebSocketDenialResponse) as refused, live(client, opened(client), query):
        pass
    assert refused.value.status_code == 400 and refused.value.json()["error"]["code"] == "bad_pcm"


def test_one_socket_at_a_time_pushes_into_a_session(client, monkeypatch):
    monkeypatch.setattr("speech_xl.serving.live_routes.HANDOVER_SECONDS", 0.1)
    session = opened(client)
    with live(client, session), pytest.raises(WebSocketDenialResponse) as refused, live(client, session):
        pass
    assert refused.value.status_code == 429


def test_a_socket_waits_for_the_end_of_the_one_before(client):
    session_id = opened(client)
    session = client.service.store.find(session_id)

    async def ends_soon():
        session.streaming = True
        asyncio.get_running_loop().call_later(0.3, setattr, session, "streaming", False)

    client.portal.call(ends_soon)
    with live(client, session_id) as socket:
        socket.send_json({"type": "end"})
        assert told(socket, "ended")[-1]["session"]["ended"]


@pytest.mark.parametrize("message", ["no json", "[]", "{}", '{"type": "sing"}', "[" * 5_000, b"odd"])
def test_a_bad_message_ends_the_socket_and_not_the_session(client, message):
    session = opened(client)
    with live(client, session) as socket:
        socket.send_bytes(SPEECH.tobytes())
        socket.send_bytes(message) if isinstance(message, bytes) else socket.send_text(message)
        assert told(socket, "error")[-1]["error"]["code"] in ("bad_message", "bad_pcm")
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()
    state = client.get(f"/v1/sessions/{session}").json()
    assert state["audio_seconds_heard"] == state["saved_seconds"] == 2.9


def test_a_socket_hears_no_more_than_is_allowed(serve):
    with serve(max_audio_seconds=3, stream_idle_seconds=1) as client:
        session = opened(client)
        with live(client, session) as socket:
            socket.send_bytes(SPEECH.tobytes())
            socket.send_bytes(SPEECH.tobytes())
            assert told(socket, "error")[-1]["error"]["code"] == "too_long"
        with live(client, session) as socket:
            assert told(socket, "error")[-1]["error"]["code"] == "too_slow"
        assert push(client, session, SPEECH[:1_600]).status_code == 200


SERVE = """
import argparse
import signal
from speech_xl.commands.serve import add_arguments, made
from tests.listening_models import tiny_model
parser = argparse.ArgumentParser()
add_arguments(parser)
made(tiny_model(seed=6), parser.parse_args()).run()
"""


def test_the_server_closes_slow_heads_and_on_sigterm_ends_streams_and_writes_sessions(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--port", str(port), "--sessions-dir", str(tmp_path), "--header-seconds", "1", "--save", "idle"]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, *flags], env=environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        new = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/sessions", b"{}", {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(new) as answer:
            session = json.load(answer)["id"]
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX")
            assert slow.recv(1) == b""  # closed
        events = urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/sessions/{session}/events")
        assert events.readline() == b": listening\n" and not list(tmp_path.glob("*/session.json"))
        server.send_signal(signal.SIGTERM)
        assert events.read().strip() == b"" and server.wait(30) in (0, -signal.SIGTERM)
        assert len(list(tmp_path.glob("*/session.json"))) == 1
        said = server.stderr.read()
        assert "POST /v1/sessions 201" in said and session not in said and "Traceback" not in said
    finally:
        server.kill()
        server.wait()
