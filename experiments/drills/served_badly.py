"""Requests that a server must refuse with a status of 4xx, and clients that go away or never end."""

from __future__ import annotations

import io
import json
import math
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import soundfile

from experiments.drills.served import Served
from experiments.drills.served_clients import PCM, opened

LIMITS = {
    "max-upload-bytes": 100_000_000,
    "max-audio-seconds": 1_800,
    "max-sessions": 40,
    "max-uploads": 20,
    "header-seconds": 3,
    "upload-idle-seconds": 3,
    "min-upload-bytes-per-second": 2_000,
    "max-base64-bytes": 10_000_000,
}
Case = Callable[[Served, str], int]  # the server and the id of a session to the status
OCTETS = {"Content-Type": "application/octet-stream"}


def file(samples: Any, rate: int = 16_000, kind: str = "FLAC", **options: Any) -> bytes:
    made = io.BytesIO()
    soundfile.write(made, samples, rate, format=kind, **options)
    return made.getvalue()


def silence(seconds: int, rate: int = 16_000, channels: int = 1) -> bytes:
    """A FLAC of digital silence, some thousandth of its samples' size."""
    made = io.BytesIO()
    with soundfile.SoundFile(made, "w", rate, channels, format="FLAC", subtype="PCM_16") as out:
        for _ in range(seconds):
            out.write(np.zeros((rate, channels), np.int16))
    return made.getvalue()


def lying_wav(rate: int, channels: int, size: int) -> bytes:
    """A WAV of zeros whose header names this rate and these channels."""
    form = struct.pack("<HHIIHH", 1, channels, rate, min(rate * 2 * channels, 2**32 - 1), 2 * channels, 16)
    head = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", 36 + size) + head + bytes(size)


def audio(body: Callable[[], bytes], headers: dict[str, str] | None = None, query: str = "") -> Case:
    """Push this as audio."""

    def case(server: Served, session: str) -> int:
        return server.ask("POST", f"/v1/sessions/{session}/audio{query}", body(), headers or OCTETS).status

    return case


def api(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Case:
    """Send this; SESSION in a path is a session's id."""

    def case(server: Served, session: str) -> int:
        sent = body if body is None or isinstance(body, (bytes, dict)) else json.dumps(body).encode()
        return server.ask(method, path.replace("SESSION", session), sent, headers).status

    return case


def form(fields: dict[str, str], data: bytes = b"no audio", name: str = "../../../etc/passwd") -> Case:
    """A multipart form with a file of this name."""

    def case(server: Served, session: str) -> int:
        parts = [f'--edge\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
        head = f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = "".join(parts).encode() + head.encode() + data + b"\r\n--edge--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=edge"}
        return server.ask("POST", "/v1/audio/transcriptions", body, kind).status

    return case


def status_line(found: bytes) -> int:
    """The status of an answer as it came; 0 where none did."""
    parts = found.split(b" ", 2)
    return int(parts[1]) if len(parts) > 2 and parts[1].isdigit() else 0


def wire(*parts: bytes, pause: float = 0.0) -> Case:
    """Send these bytes as they are."""
    return lambda server, session: status_line(
        server.raw(*(part.replace(b"SESSION", session.encode()) for part in parts), pause=pause)
    )


def head(path: str, length: int, kind: str = "application/octet-stream") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()
    )


def upgrade(session: str, query: str = "?rate=16000", origin: str = "") -> bytes:
    """A request for a WebSocket."""
    return (
        f"GET /v1/sessions/{session}/stream{query} HTTP/1.1\r\nHost: localhost\r\n{origin}Upgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


ASK, AUDIO = "/v1/sessions/SESSION/ask", "/v1/sessions/SESSION/audio"
JSON = {"Content-Type": "application/json"}
WHO = {"question": "who?"}
BAD: dict[str, Case] = {
    "garbage": audio(lambda: np.random.default_rng(0).bytes(300_000)),
    "200 MB of garbage": audio(lambda: bytes(200_000_000)),
    "200 MB in parts of no told length": wire(
        b"POST /v1/sessions/SESSION/audio HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        *[b"A00000\r\n" + bytes(0xA00000) + b"\r\n"] * 20,
    ),
    "an empty body": audio(lambda: b""),
    "a text": audio(lambda: b"this is a text about audio, not audio\n" * 100, {"Content-Type": "audio/wav"}),
    "a FLAC cut off in its header": audio(lambda: file(np.zeros(160_000, np.int16))[:50]),
    "a WAV of no samples": audio(lambda: file(np.zeros(0), kind="WAV")),
    "a WAV of not-a-numbers": audio(lambda: file(np.full(99_999, math.nan, np.float32), kind="WAV", subtype="FLOAT")),
    "a small FLAC of an hour of silence": audio(lambda: silence(3_600, 8_000)),
    "a small FLAC of silence, 8 channels": audio(lambda: silence(1_900, 8_000, 8)),
    "a WAV of two billion samples a second": audio(lambda: lying_wav(2_000_000_000, 1, 4_000_000)),
    "a playlist of this machine's files": audio(
        lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    ),
    "a list of files beside it": audio(lambda: b"ffconcat version 1.0\nfile 'audio'\nfile '../audio'\n"),
    "a zip file": audio(lambda: b"PK\x03\x04" + bytes(5_000)),
    "PCM without a rate": audio(lambda: bytes(100), {"Content-Type": "audio/pcm"}),
    "PCM of a rate that is none": audio(lambda: bytes(100), {"Content-Type": "audio/pcm;rate=-1"}),
    "PCM of two channels": audio(lambda: bytes(100), {"Content-Type": "audio/pcm;rate=16000;channels=2"}),
    "PCM of half a sample": audio(lambda: bytes(101), PCM),
    "PCM of an hour": audio(lambda: bytes(2 * 8_000 * 3_600), {"Content-Type": "audio/pcm;rate=8000"}),
    "wait=perhaps": audio(lambda: bytes(100), PCM, "?wait=perhaps"),
    "a body that comes too slowly": wire(head(AUDIO, 10_000), *[b"x"] * 5, pause=1.2),
    "a body that stops coming": wire(head(AUDIO, 10_000), b"x"),
    "JSON of 10 MB": api("POST", "/v1/sessions", b'{"ratio": "' + b"4" * 10_000_000 + b'"}', JSON),
    "JSON nested 30,000 deep": api("POST", "/v1/sessions", b"[" * 30_000 + b"]" * 30_000, JSON),
    "JSON with NaN": api("POST", "/v1/sessions", b'{"ratio": NaN}', JSON),
    "JSON with Infinity": api("POST", ASK, b'{"question": "who?", "max_new_tokens": Infinity}', JSON),
    "JSON that isn't UTF-8": api("POST", "/v1/sessions", b'{"ratio": "\xff\xfe"}', JSON),
    "JSON cut off": api("POST", "/v1/sessions", b'{"ratio": 4', JSON),
    "JSON as text/plain": api("POST", "/v1/sessions", b"{}", {"Content-Type": "text/plain"}),
    "a ratio that isn't offered": api("POST", "/v1/sessions", {"ratio": 5}),
    "a ratio as a text": api("POST", "/v1/sessions", {"ratio": "4"}),
    "a number of 60,000 digits": api("POST", "/v1/sessions", b'{"ratio": ' + b"9" * 60_000 + b"}", JSON),
    "an unknown field": api("POST", "/v1/sessions", {"rato": 4}),
    "a question of 5,000 characters": api("POST", ASK, {"question": "a" * 5_000}),
    "a blank question": api("POST", ASK, {"question": " \n"}),
    "half of a character": api("POST", ASK, b'{"question": "\\ud800"}', JSON),
    "a million tokens": api("POST", ASK, {**WHO, "max_new_tokens": 1_000_000}),
    "no tokens": api("POST", ASK, {**WHO, "max_new_tokens": 0}),
    "a question to nobody": api("POST", "/v1/sessions/" + "x" * 32 + "/ask", WHO),
    "a question before anything was heard": lambda server, _: (
        server.ask("POST", f"/v1/sessions/{opened(server, 4)}/ask", WHO).status
    ),
    "an id that climbs": api("GET", "/v1/sessions/..%2f..%2fetc%2fpasswd"),
    "an id of 10,000 characters": api("GET", "/v1/sessions/" + "x" * 10_000),
    "a list of sessions": api("GET", "/v1/sessions"),
    "a method that isn't there": api("PUT", "/v1/sessions/SESSION", {}),
    "a file beside the page": wire(
        b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    ),
    "another host's name": api("GET", "/health", None, {"Host": "evil.example"}),
    "no Host": wire(b"GET /health HTTP/1.0\r\n\r\n"),
    "another page's origin": api("POST", "/v1/sessions", {}, {"Origin": "http://evil.example", **JSON}),
    "no HTTP": wire(b"\x16\x03\x01\x02\x00\x01\x00 TLS or something like it\r\n\r\n"),
    "a request line without end": wire(b"GET /" + b"a" * 200_000),
    "a header without end": wire(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000),
    "a WebSocket without a rate": wire(upgrade("SESSION", "")),
    "a WebSocket of another page": wire(upgrade("SESSION", origin="Origin: http://evil.example\r\n")),
    "a form that names a path, of no audio": form({"model": "MODEL"}),
    "a form of another model": form({"model": "whisper-1"}),
    "a form with a temperature": form({"model": "MODEL", "temperature": "0.7"}),
    "a form with 100 fields": form({f"field{number}": "x" for number in range(100)}),
    "a form without edges": api(
        "POST", "/v1/audio/transcriptions", b"--x\r\n\r\n", {"Content-Type": "multipart/form-data"}
    ),
    "a chat with a tool": api("POST", "/v1/chat/completions", {"model": "MODEL", "messages": [], "tools": [{}]}),
    "a chat without audio": api(
        "POST", "/v1/chat/completions", {"model": "MODEL", "messages": [{"role": "user", "content": "who?"}]}
    ),
    "a chat of 20 MB": api("POST", "/v1/chat/completions", b'{"model": "' + b"x" * 20_000_000 + b'"}', JSON),
}


# Clients that go away, or stay for ever


def drop_uploads(server: Served, session: str, count: int = 12) -> None:
    """Begin uploads of 50 MB and go away after one."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(head(f"/v1/sessions/{session}/audio", 50_000_000) + bytes(1_000_000))


def drop_at_work(server: Served, session: str, body: bytes, count: int = 6) -> None:
    """Send whole files and questions, and go away without waiting for what they give."""
    ask = json.dumps({"question": "what was said", "stream": True}).encode()
    for _ in range(count):
        for path, sent, kind in ((AUDIO, body, "application/octet-stream"), (ASK, ask, "application/json")):
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.sendall(head(path.replace("SESSION", session), len(sent), kind) + sent)
                time.sleep(0.05)


def half_open(server: Served, sessions: list[str]) -> list[socket.socket]:
    """WebSockets that were opened, sent half a message, and are silent."""
    sockets = []
    for session in sessions:
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.sendall(upgrade(session))
        sock.recv(4096)
        sock.sendall(b"\x82\xfe\x10\x00\x00\x00\x00\x00" + bytes(100))  # of 4,096 bytes
        sockets.append(sock)
    return sockets


def slow_heads(server: Served, count: int, seconds: float) -> tuple[int, float]:
    """Connections that send a letter of a request's head a second; how many the server closed, and the longest question
    of somebody else's meanwhile, in seconds."""
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
    longest, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        for sock in sockets:
            with suppress(OSError):
                sock.sendall(b"G")
        began = time.monotonic()
        server.ask("GET", "/health")
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.5)
    closed = 0
    for sock in sockets:
        sock.settimeout(0.2)
        with suppress(TimeoutError, BlockingIOError):
            try:
                closed += not sock.recv(1)
            except ConnectionError:
                closed += 1
        sock.close()
    return closed, longest
