"""Clients of a server that speak at the same time: each has an utterance of its own, whose transcript is its secret."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile
from websockets.sync.client import connect

from experiments.drills.served import Json, Served
from speech_xl.inference import ListeningModel

RATE = 16_000
PCM = {"Content-Type": f"audio/pcm;rate={RATE}"}
RATIOS = (4, 8, 2, 16)
TOKENS = 40  # of an answer: enough to tell one utterance from another


@dataclass
class Client:
    """One client: its utterance as PCM16, ratio, and what the model says of it alone.

    answers  how many it got; mixed: those that weren't its own; failed: what went wrong otherwise
    """

    number: int
    path: Path
    ratio: int
    secret: str
    half: str
    answers: int = 0
    mixed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    question_seconds: list[float] = field(default_factory=list)
    pushed_seconds: float = 0.0

    @property
    def samples(self) -> Any:
        return soundfile.read(self.path, dtype="int16")[0]

    def cut(self) -> int:
        """The sample at which its speech is sent in two."""
        return len(self.samples) // 2


def utterances(speech: Path, count: int) -> list[Path]:
    """Utterances of 6 to 9 s, each of another chapter. Raises ValueError where the folder has too few."""
    found: dict[Path, Path] = {}
    for path in sorted(speech.rglob("*.flac")):
        info = soundfile.info(path)
        if path.parent not in found and info.samplerate == RATE and 6 <= info.duration <= 9:
            found[path.parent] = path
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"{speech}: {len(found)} chapters with FLAC utterances of 6 to 9 s at {RATE} Hz, {count} needed")


def heard_alone(model: ListeningModel, samples: Any, ratio: int) -> str:
    memory = model.listen(samples.astype("float32") / 32768.0, rate=RATE, ratio=ratio)
    return memory.ask(model.transcript.instruction, TOKENS).text


def clients_of(model: ListeningModel, speech: Path, count: int) -> list[Client]:
    """Clients whose secrets were found by the model itself, without a server."""
    made = []
    for number, path in enumerate(utterances(speech, count)):
        samples, ratio = soundfile.read(path, dtype="int16")[0], RATIOS[number % len(RATIOS)]
        half = heard_alone(model, samples[: len(samples) // 2], ratio)
        made.append(Client(number, path, ratio, heard_alone(model, samples, ratio), half))
    if len({one.secret for one in made}) < count:
        raise ValueError(f"{speech}: two of the utterances have one transcript; there is nothing to tell them apart")
    return made


def at_once(clients: Sequence[Client], work: Callable[[Client], None]) -> float:
    """Let every client do its work at the same time; the seconds it took."""

    def guarded(client: Client) -> None:
        try:
            work(client)
        except Exception as error:
            client.failed.append(f"{type(error).__name__}: {error}"[:200])

    threads = [threading.Thread(target=guarded, args=(client,)) for client in clients]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def opened(server: Served, ratio: int, **options: Any) -> str:
    reply = server.ask("POST", "/v1/sessions", {"ratio": ratio, **options})
    if reply.status != 201:
        raise RuntimeError(f"no session: {reply.status} {reply.message}")
    return reply.json["id"]


def push(server: Served, session: str, samples: Any) -> Json:
    reply = server.ask("POST", f"/v1/sessions/{session}/audio", samples.tobytes(), PCM)
    if reply.status != 200:
        raise RuntimeError(f"not heard: {reply.status} {reply.message}")
    return reply.json


def stream(server: Served, session: str, samples: Any, end: bool = False) -> None:
    """Push over a WebSocket, a tenth of a second a message, and wait until all is heard."""
    total = server.ask("GET", f"/v1/sessions/{session}").json["audio_seconds_heard"] + len(samples) / RATE
    url = f"ws://127.0.0.1:{server.port}/v1/sessions/{session}/stream?rate={RATE}"
    with connect(url, max_size=None, open_timeout=60) as socket:
        for start in range(0, len(samples), RATE // 10):
            socket.send(samples[start : start + RATE // 10].tobytes())
        if end:
            socket.send(json.dumps({"type": "end"}))
        while True:
            event = json.loads(socket.recv(120))
            if event["type"] == "error":
                raise RuntimeError(event["error"]["message"])
            if event["type"] == ("ended" if end else "heard") and (
                end or event["audio_seconds_heard"] >= round(total, 4) - 1e-4
            ):
                return


def question(server: Served, session: str, text: str, streamed: bool = False, **options: Any) -> Json:
    """An answer, whole or put together from its events."""
    body = {"question": text, "stream": streamed, "max_new_tokens": TOKENS, **options}
    reply = server.ask("POST", f"/v1/sessions/{session}/ask", body)
    if reply.status != 200:
        raise RuntimeError(f"no answer: {reply.status} {reply.message}")
    if not streamed:
        return reply.json
    blocks = [block.split("\n", 1) for block in reply.body.decode().strip().split("\n\n")]
    events = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]
    whole = events[-1][1]
    joined = "".join(data["text"] for name, data in events if name == "delta")
    return {**whole, "text": joined if joined == whole.get("text") else f"pieces differ: {joined}"}


def talk(server: Served, client: Client, instruction: str, rounds: int) -> None:
    """A client's conversation: half its speech, a fork, the rest in another way, questions to both, deletions."""
    samples, cut = client.samples, client.cut()

    def ask(session: str, expected: str, streamed: bool = False) -> None:
        answer = question(server, session, instruction, streamed)
        client.answers += 1
        if answer["text"] != expected:
            client.mixed.append(answer["text"][:200])

    for number in range(rounds):
        session = opened(server, client.ratio)
        push(server, session, samples[:cut])
        fork = server.ask("POST", f"/v1/sessions/{session}/fork").json["id"]
        ask(fork, client.half, streamed=number % 2 == 0)
        if (client.number + number) % 2:
            stream(server, session, samples[cut:])
        else:
            for start in range(cut, len(samples), RATE):
                push(server, session, samples[start : start + RATE])
        client.pushed_seconds += len(samples) / RATE
        began = time.monotonic()
        question(server, session, instruction, max_new_tokens=4)
        client.question_seconds.append(time.monotonic() - began)
        ask(session, client.secret, streamed=number % 2 == 1)
        server.ask("DELETE", f"/v1/sessions/{fork}")
        ask(session, client.secret)
        server.ask("DELETE", f"/v1/sessions/{session}")
