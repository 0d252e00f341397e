"""The server: clients at once, bad requests, clients that go away, kills and restarts; nothing mixed, lost or leaked.

It takes a trained stage and FLAC utterances at 16 kHz: --stage and --speech.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from experiments.drills.rows import Drill, Row
from experiments.drills.served import Served
from experiments.drills.served_badly import BAD, LIMITS, drop_at_work, drop_uploads, file, half_open, slow_heads
from experiments.drills.served_clients import (
    RATE,
    Client,
    at_once,
    clients_of,
    heard_alone,
    opened,
    push,
    question,
    stream,
    talk,
)
from speech_xl.inference import ListeningModel, load_stage

STAGE, SPEECH = "SPEECH_XL_DRILL_STAGE", "SPEECH_XL_DRILL_SPEECH"  # of the environment
COUNT, ROUNDS, KILLS = 8, 2, 3
FLAGS = [word for name, value in LIMITS.items() for word in (f"--{name}", str(value))] + ["--model-name", "MODEL"]
AT_ONCE = f"{COUNT} clients at once"
LONG = "short questions while a long file is heard and written down"
LONG_SECONDS = 120
UPLOADS, AT_WORK = "uploads that break off", "clients that go away while the server works for them"
SOCKETS, HEADS = "WebSockets that are silent", "requests that never end"
LEAKS = "nothing is left of all this"
KILLED = [f"kill -9 number {number + 1}" for number in range(KILLS)]
STOPPED = "SIGTERM, with sessions that are written only then"


def names() -> list[str]:
    return [AT_ONCE, LONG, *(f"bad: {name}" for name in BAD), UPLOADS, AT_WORK, SOCKETS, HEADS, LEAKS, *KILLED, STOPPED]


def run(place: Path, cases: Sequence[str]) -> Iterator[Row]:
    stage, speech = os.environ.get(STAGE), os.environ.get(SPEECH)
    if not stage or not speech:
        raise ValueError("serving: name a trained stage with --stage, and a folder of FLAC utterances with --speech")
    shutil.rmtree(place, ignore_errors=True)
    torch.set_num_threads(1)
    model = load_stage(stage)
    clients = clients_of(model, Path(speech), COUNT)
    yield from live(Served(place / "live", stage, FLAGS), model, clients, cases)
    yield from killed(
        Served(place / "killed", stage, FLAGS), model, clients, [case for case in cases if case in KILLED]
    )
    if STOPPED in cases:
        yield stopped(Served(place / "stopped", stage, [*FLAGS, "--save", "idle"]), model, clients)


def live(server: Served, model: ListeningModel, clients: Sequence[Client], cases: Sequence[str]) -> Iterator[Row]:
    """All that one server goes through without being restarted."""
    instruction = model.transcript.instruction
    server.start()
    try:
        at_once(clients, lambda client: talk(server, client, instruction, 1))  # what is made once is made now
        server.idle()
        before = server.holds()
        if AT_ONCE in cases:
            yield clients_row(server, clients, instruction)
        session = opened(server, 4)
        push(server, session, clients[0].samples)
        secret = heard_alone(model, clients[0].samples, 4)
        if LONG in cases:
            yield long_row(server, clients, instruction)
        for name in BAD:
            if f"bad: {name}" in cases:
                yield bad_row(server, name, session)
        for name, work in (
            (UPLOADS, lambda: drop_uploads(server, session)),
            (AT_WORK, lambda: drop_at_work(server, session, file(clients[1].samples))),
        ):
            if name in cases:
                work()
                yield unharmed(server, name, session, instruction, secret)
        if SOCKETS in cases:
            yield sockets_row(server, clients, model)
        if HEADS in cases:
            closed, longest = slow_heads(server, 50, 8)
            facts = {"connections": 50, "closed": closed, "longest_other_request_seconds": round(longest, 2)}
            yield Row(HEADS, closed == 50 and longest < 2, "closed" if closed == 50 else "open", str(facts), facts)
        if LEAKS in cases:
            server.ask("DELETE", f"/v1/sessions/{session}")
            yield leaks_row(server, before)
    finally:
        server.kill()


def clients_row(server: Served, clients: Sequence[Client], instruction: str) -> Row:
    for client in clients:
        client.answers, client.pushed_seconds, client.question_seconds = 0, 0.0, []
    seconds = at_once(clients, lambda client: talk(server, client, instruction, ROUNDS))
    mixed = [text for client in clients for text in client.mixed]
    failed = [text for client in clients for text in client.failed]
    latencies = [took for client in clients for took in client.question_seconds]
    facts = {
        "clients": len(clients),
        "answers": sum(client.answers for client in clients),
        "mixed_answers": len(mixed),
        "failed_clients": len(failed),
        "audio_seconds_per_second": round(sum(client.pushed_seconds for client in clients) / seconds, 2),
        "question_seconds_median": round(statistics.median(latencies), 2) if latencies else -1.0,
        "question_seconds_longest": round(max(latencies, default=-1.0), 2),
    }
    good = not mixed and not failed
    said = "; ".join([*failed, *mixed][:3]) or f"{facts['answers']} answers, each its client's own"
    return Row(AT_ONCE, good, "equal" if good else "mixed", said, facts)


def long_row(server: Served, clients: Sequence[Client], instruction: str) -> Row:
    """Somebody has a long file transcribed; somebody else asks."""
    speech = np.concatenate([client.samples for client in clients])
    long = file(np.resize(speech, LONG_SECONDS * RATE))
    busy, session = opened(server, 8, transcribe=True), opened(server, 4)
    push(server, session, clients[0].samples)
    server.ask("POST", f"/v1/sessions/{session}/end")  # a question then costs its own tokens, and no hearing
    began = time.monotonic()
    accepted = server.ask("POST", f"/v1/sessions/{busy}/audio?wait=false", long, {"Content-Type": "audio/flac"})
    latencies, status = [], "hearing"
    while status == "hearing" and time.monotonic() - began < 900:
        asked = time.monotonic()
        question(server, session, instruction, max_new_tokens=8)
        latencies.append(time.monotonic() - asked)
        state = server.ask("GET", f"/v1/sessions/{busy}").json
        status = state["status"]
        time.sleep(1)
    took, heard = time.monotonic() - began, state["audio_seconds_heard"]
    for one in (busy, session):
        server.ask("DELETE", f"/v1/sessions/{one}")
    facts = {
        "audio_seconds_heard": heard,
        "seconds": round(took, 1),
        "audio_seconds_per_second_of_one": round(heard / took, 2),
        "questions_meanwhile": len(latencies),
        "question_meanwhile_seconds_median": round(statistics.median(latencies), 2),
        "question_meanwhile_seconds_longest": round(max(latencies), 2),
    }
    good = accepted.status == 202 and heard == LONG_SECONDS and max(latencies) < 10
    return Row(LONG, good, "answered" if good else "starved", str(facts), facts)


def bad_row(server: Served, name: str, session: str) -> Row:
    before = server.ask("GET", f"/v1/sessions/{session}").json
    try:
        status = BAD[name](server, session)
    except OSError as error:
        status = 0
        print(f"{name}: {error}")
    after = server.ask("GET", f"/v1/sessions/{session}").json
    good = 400 <= status < 500 and before == after
    said = f"status {status}" + ("" if before == after else "; the session isn't what it was")
    return Row(f"bad: {name}", good, "refused" if good else "wrong", said, {"status": status})


def unharmed(server: Served, case: str, session: str, instruction: str, secret: str) -> Row:
    """After clients have gone away: the server is idle, and the session answers as it did or has heard whole files."""
    idle, state = server.idle(), server.ask("GET", f"/v1/sessions/{session}").json
    fresh = question(server, session, instruction)["text"]
    files = server.holds()["upload_files"]
    same = case != UPLOADS or fresh == secret
    good = idle and same and not files
    heard = state["audio_seconds_heard"]
    return Row(case, good, "unharmed" if good else "harmed", f"{heard} s heard, {files} files left, idle: {idle}")


def sockets_row(server: Served, clients: Sequence[Client], model: ListeningModel) -> Row:
    """Half-open WebSockets, cut off without a word; their sessions hear on through others."""
    sessions = [opened(server, client.ratio) for client in clients]
    for client, session in zip(clients, sessions, strict=True):
        stream(server, session, client.samples[: client.cut()])
    sockets = half_open(server, sessions)
    time.sleep(1)
    for sock in sockets:
        sock.close()
    idle, wrong = server.idle(), 0
    time.sleep(1)
    for client, session in zip(clients, sessions, strict=True):
        stream(server, session, client.samples[client.cut() :], end=True)
        wrong += question(server, session, model.transcript.instruction)["text"] != client.secret
        server.ask("DELETE", f"/v1/sessions/{session}")
    good = idle and not wrong
    return Row(SOCKETS, good, "unharmed" if good else "harmed", f"{wrong} of {len(sessions)} answer otherwise")


def leaks_row(server: Served, before: dict[str, float]) -> Row:
    server.idle()
    time.sleep(12)  # connections that were kept alive are closed by now
    after = server.holds()
    more = {name: round(after[name] - before[name], 1) for name in before}
    sessions = server.ask("GET", "/health").json["sessions"]
    facts = {f"{name}_before": before[name] for name in before} | {f"{name}_after": after[name] for name in after}
    good = more["descriptors"] <= 2 and more["threads"] <= 2 and not after["upload_files"]
    good = good and more["resident_mib"] < 0.25 * before["resident_mib"]
    return Row(LEAKS, good, "clean" if good else "leaked", f"{more}, {sessions} sessions open", facts)


def killed(server: Served, model: ListeningModel, clients: Sequence[Client], cases: Sequence[str]) -> Iterator[Row]:
    """Every client pushes a second at a time; amid that the server is killed, and started again."""
    chance = random.Random(0)
    for case in cases:
        server.start()
        sessions = {client.number: opened(server, client.ratio) for client in clients}
        told: dict[int, float] = dict.fromkeys(sessions, 0.0)

        def speak(client: Client, told: dict[int, float] = told, sessions: dict[int, str] = sessions) -> None:
            samples = client.samples
            for start in range(0, len(samples), RATE):
                heard = push(server, sessions[client.number], samples[start : start + RATE])
                told[client.number] = heard["audio_seconds_heard"]

        timer = threading.Timer(chance.uniform(0.5, 3.0), server.kill)
        timer.start()
        at_once(clients, speak)
        timer.join()
        acknowledged = sum(told.values())
        server.start()
        lost, wrong = 0, 0
        for client in clients:
            reply = server.ask("GET", f"/v1/sessions/{sessions[client.number]}")
            heard = reply.json.get("audio_seconds_heard", -1.0)
            lost += reply.status != 200 or heard < told[client.number]
            if reply.status == 200 and heard:
                expected = heard_alone(model, client.samples[: round(heard * RATE)], client.ratio)
                answer = question(server, sessions[client.number], model.transcript.instruction)
                wrong += answer["text"] != expected
        files = server.holds()["upload_files"]
        server.kill()
        good = not lost and not wrong and not files and acknowledged > 0
        facts = {"sessions": len(sessions), "lost_sessions": lost, "wrong_answers": wrong}
        said = f"{acknowledged:.0f} s acknowledged; {lost} sessions lost, {wrong} answer otherwise, {files} files left"
        for client in clients:
            client.failed.clear()
        yield Row(case, good, "kept" if good else "lost", said, facts)


def stopped(server: Served, model: ListeningModel, clients: Sequence[Client]) -> Row:
    """SIGTERM while events are listened to: streams end, sessions are written, the next server has them."""
    server.start()
    sessions = [opened(server, client.ratio) for client in clients]
    for client, session in zip(clients, sessions, strict=True):
        push(server, session, client.samples)
    listener = threading.Thread(target=lambda: server.ask("GET", f"/v1/sessions/{sessions[0]}/events"))
    listener.start()
    time.sleep(0.5)
    status, seconds = server.stop()
    listener.join(10)
    server.start()
    lost = sum(
        question(server, session, model.transcript.instruction)["text"] != client.secret
        for client, session in zip(clients, sessions, strict=True)
    )
    server.kill()
    good = not lost and seconds < 15 and not listener.is_alive()
    facts = {"sessions": len(sessions), "lost_sessions": lost, "exit_status": status, "seconds": round(seconds, 1)}
    return Row(STOPPED, good, "kept" if good else "lost", str(facts), facts)


def summary(rows: Sequence[Row]) -> dict[str, int | float]:
    bad = [row for row in rows if row.case.startswith("bad: ")]
    found: dict[str, int | float] = {
        "clients": COUNT,
        "mixed_answers": sum(row.facts.get("mixed_answers", 0) for row in rows),
        "lost_sessions": sum(row.facts.get("lost_sessions", 0) + row.facts.get("wrong_answers", 0) for row in rows),
        "kills": sum(row.case in KILLED for row in rows),
        "bad_requests": len(bad),
        "bad_requests_with_4xx": sum(row.ok for row in bad),
        "serving": len(rows),
        "serving_as_wanted": sum(row.ok for row in rows),
    }
    measured = ("seconds_per_second", "question_", "_before", "_after")
    for row in rows:  # of the cases that measure something
        found |= {name: value for name, value in row.facts.items() if any(part in name for part in measured)}
    return found


DRILL = Drill("serving", "a server: clients at once, bad requests, drops, kills", 20, names, run, summary, "serving")
