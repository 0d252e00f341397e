"""Sessions hear and answer as a memory in Python does, each for itself, and outlive idleness, restarts and kills."""

import asyncio
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from speech_xl.inference import ListeningModel
from speech_xl.serving.compute import Stop
from speech_xl.serving.errors import Stopped
from speech_xl.serving.session_work import take
from speech_xl.serving.state import SessionState, hearing
from speech_xl.serving.wishes import Wishes
from tests.listening_models import INTERVAL, tiny_model
from tests.serving.conftest import ask, error_of, heard, opened, pcm_of, push, wav

SPEECH = pcm_of(2.9)


def expected(model: ListeningModel, samples=SPEECH, ratio=4, question="who?", most=16):
    memory = model.listen(heard(samples), rate=16_000, ratio=ratio)
    return memory, memory.ask(question, most)


def test_a_session_tells_what_its_memory_measures_and_answers_alike(client, model):
    memory, answer = expected(model, ratio=2)
    session = opened(client, ratio=2)
    told = push(client, session, SPEECH).json()
    assert told["audio_seconds_heard"] == memory.seconds == 2.9 and told["ratio"] == 2
    assert (told["kept_kv_bytes"], told["full_kv_bytes"]) == (memory.kept_kv_bytes, memory.full_kv_bytes)
    assert [one["end_seconds"] for one in told["intervals"]] == [round(INTERVAL * n, 4) for n in range(1, 6)]
    assert sum(one["kept_kv_bytes"] for one in told["intervals"]) == told["kept_kv_bytes"] < told["full_kv_bytes"]
    assert told["segments"] is None and told["status"] == "idle" and told["saved_seconds"] == 2.9
    found = ask(client, session).json()
    assert found["text"] == answer.text and found["new_tokens"] == answer.new_tokens <= 16
    assert found["kept_kv_bytes"] == answer.kept_kv_bytes and found["finished"] == answer.finished
    assert client.get(f"/v1/sessions/{session}").json() == {k: v for k, v in told.items() if k != "remarks"}


@pytest.mark.parametrize("way", ["chunks", "flac", "socket"])
def test_the_way_that_audio_comes_makes_no_difference(client, model, way):
    _, answer = expected(model)
    session = opened(client, ratio=4)
    if way == "chunks":
        for start in range(0, len(SPEECH), 7_001):
            assert push(client, session, SPEECH[start : start + 7_001]).status_code == 200
    elif way == "flac":
        sent = client.post(f"/v1/sessions/{session}/audio", content=wav(SPEECH, kind="FLAC"))
        assert sent.status_code == 200 and sent.json()["remarks"] == []
    else:
        with client.websocket_connect(f"ws://localhost/v1/sessions/{session}/stream?rate=16000") as socket:
            for start in range(0, len(SPEECH), 1_600):
                socket.send_bytes(SPEECH[start : start + 1_600].tobytes())
            socket.send_json({"type": "end"})
            events = []
            while not events or events[-1]["type"] != "ended":
                events.append(socket.receive_json())
        intervals = [event for event in events if event["type"] == "interval"]
        assert [one["start_seconds"] for one in intervals[:2]] == [0, INTERVAL] and len(intervals) == 6
        assert events[-1]["session"]["ended"] and events[-1]["session"]["saved_seconds"] == 2.9
    assert ask(client, session).json()["text"] == answer.text


def test_an_answer_comes_in_pieces_too(client, model):
    _, answer = expected(model)
    session = opened(client)
    push(client, session, SPEECH)
    text = ask(client, session, stream=True).text
    assert text.count("event: delta") > 3 and text.count("event: answer") == 1
    assert f'"new_tokens": {answer.new_tokens}' in text.split("event: answer")[1]


def test_a_new_ratio_holds_for_what_comes_and_a_fork_goes_its_own_way(client, model):
    session = opened(client, ratio=2)
    push(client, session, SPEECH)
    before = ask(client, session).json()
    fork = client.post(f"/v1/sessions/{session}/fork").json()
    assert fork["audio_seconds_heard"] == 2.9 and fork["id"] != session and fork["saved_seconds"] == 2.9
    assert client.patch(f"/v1/sessions/{fork['id']}", json={"ratio": 8}).json()["ratio"] == 8
    push(client, fork["id"], pcm_of(2.0, seed=1))
    ratios = [one["ratio"] for one in client.get(f"/v1/sessions/{fork['id']}").json()["intervals"]]
    assert ratios[:5] == [2] * 5 and ratios[-1] == 8
    assert ask(client, session).json() == before
    assert client.delete(f"/v1/sessions/{session}").status_code == 204
    error_of(client.get(f"/v1/sessions/{session}"), 404, "no_session")
    assert ask(client, fork["id"]).status_code == 200


def test_a_transcribing_session_writes_what_the_transcriber_writes(client, model):
    session = opened(client, transcribe=True, ratio=4)
    push(client, session, SPEECH[:20_000])
    push(client, session, SPEECH[20_000:])
    ended = client.post(f"/v1/sessions/{session}/end").json()
    segments = [(one.start_seconds, one.text) for one in model.transcribe(heard(SPEECH), rate=16_000, ratio=4).segments]
    assert [(one["start_seconds"], one["text"]) for one in ended["segments"]] == segments
    assert ended["ended"] and ended["transcriber_kv_bytes"] < ended["kept_kv_bytes"]
    error_of(push(client, session, SPEECH), 409, "ended")
    assert client.post(f"/v1/sessions/{session}/end").json() == ended


@pytest.mark.parametrize("workers", [1, 2])
def test_sessions_asked_at_once_do_not_mix(serve, model, workers):
    speech = [pcm_of(1.5, seed=seed) for seed in range(4)]
    answers, found = [expected(model, one, ratio=1)[1].text for one in speech], {}

    def use(client, number):
        session = opened(client, ratio=1)
        push(client, session, speech[number])
        found[number] = {ask(client, session).json()["text"] for _ in range(2)}

    with serve(workers=workers) as client:
        threads = [threading.Thread(target=use, args=(client, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {number: {text} for number, text in enumerate(answers)} and len(set(answers)) == 4


def test_acknowledged_audio_outlives_a_kill(serve, tmp_path):
    """The folder as it is after each acknowledgement, without a stop, is what a kill leaves."""
    with serve() as client:
        session = opened(client, transcribe=True)
        push(client, session, SPEECH)
        told, answer = client.get(f"/v1/sessions/{session}").json(), ask(client, session).json()
        shutil.copytree(tmp_path / "sessions", tmp_path / "killed")
        (folder,) = [path for path in (tmp_path / "killed").iterdir() if len(path.name) == 64]
        (folder / "memory.9.safetensors").write_bytes(b"half")  # that a kill left half written
    with serve(folder="killed") as client:
        assert (
            client.get("/health").json()["sessions"] == 1 and client.service.store.sessions[folder.name].state is None
        )
        assert client.get(f"/v1/sessions/{session}").json() == told and ask(client, session).json() == answer
        push(client, session, SPEECH)
        assert client.get(f"/v1/sessions/{session}").json()["audio_seconds_heard"] == 5.8
        assert len(list(folder.iterdir())) == 3


def test_sessions_are_written_when_the_server_stops_where_requests_do_not_wait_for_it(serve):
    with serve(durable=False) as client:
        session = opened(client)
        assert push(client, session, SPEECH).json()["saved_seconds"] is None
        answer = ask(client, session).json()
        other = opened(client)
        assert client.post(f"/v1/sessions/{other}/save").json()["saved_seconds"] == 0
    with serve() as client:
        assert ask(client, session).json() == answer


def test_an_idle_session_lies_on_disk_alone_and_an_old_one_is_gone(serve):
    with serve(idle_seconds=100, expire_seconds=1000) as client:
        store, session = client.service.store, opened(client)
        push(client, session, SPEECH)
        answer, (held,) = ask(client, session).json(), store.sessions.values()
        client.portal.call(store.sweep)
        assert held.state is not None
        held.touched = time.time() - 101
        client.portal.call(store.sweep)
        assert held.state is None and client.get("/health").json()["sessions_in_memory"] == 0
        assert ask(client, session).json() == answer and held.state is not None
        held.touched = time.time() - 1001
        client.portal.call(store.sweep)
        error_of(ask(client, session), 404, "no_session")
        assert not (store.folder / held.name).exists()


def test_what_holds_too_much_leaves_memory_for_the_disk(serve):
    with serve(max_kv_bytes=30_000) as client:
        sessions = [opened(client, ratio=1) for _ in range(3)]
        answers = []
        for session in sessions:
            assert push(client, session, SPEECH).status_code == 200
            answers.append(ask(client, session).json())
        assert client.get("/health").json()["sessions_in_memory"] < 3
        assert [ask(client, session).json() for session in sessions] == answers
        said = error_of(push(client, sessions[0], pcm_of(8.0)), 413, "memory")
        assert "30,000" in said and client.get(f"/v1/sessions/{sessions[0]}").json()["audio_seconds_heard"] == 2.9


def test_sessions_of_another_model_or_damaged_ones_are_refused(serve, tmp_path):
    with serve() as client:
        session, other = opened(client), opened(client)
        push(client, session, SPEECH)
    with serve(of=tiny_model(seed=7)) as client:
        assert "another model" in error_of(ask(client, session), 409, "other_model")
    for memory in (tmp_path / "sessions").glob("*/memory.*"):
        memory.write_bytes(memory.read_bytes()[:-9])
    with serve() as client:
        for one in (session, other):
            error_of(client.get(f"/v1/sessions/{one}"), 410, "damaged")
            assert client.delete(f"/v1/sessions/{one}").status_code == 204


def test_a_request_that_is_stopped_leaves_its_session_as_it_was(client):
    session_id = opened(client)
    push(client, session_id, SPEECH)
    before, answer = client.get(f"/v1/sessions/{session_id}").json(), ask(client, session_id).json()
    session, stop = client.service.store.find(session_id), Stop()

    def blocks():
        yield heard(SPEECH)
        stop()
        yield heard(SPEECH)

    async def stopped():
        await client.service.store.then(
            session,
            lambda _: take(client.service, session, hearing(session.state, blocks(), 16_000, session.wishes), stop),
        )

    with pytest.raises(Stopped):
        client.portal.call(stopped)
    assert client.get(f"/v1/sessions/{session_id}").json() == before and ask(client, session_id).json() == answer


def test_a_ratio_and_a_question_do_not_wait_until_a_file_was_heard(client):
    session, long = opened(client), np.tile(SPEECH, 20)
    assert push(client, session, long, params={"wait": "false"}).status_code == 202
    assert client.patch(f"/v1/sessions/{session}", json={"ratio": 16}).json()["ratio"] == 16
    answer = ask(client, session).json()
    assert 0 < answer["audio_seconds_heard"] < len(long) / 16_000
    ended = client.post(f"/v1/sessions/{session}/end").json()
    ratios = [interval["ratio"] for interval in ended["intervals"]]
    assert ratios[0] == 4 and ratios[-1] == 16 and ratios == sorted(ratios)
    assert ended["ratio"] == 16 and ended["audio_seconds_heard"] == len(long) / 16_000


def test_a_view_never_shows_less_than_was_acknowledged(client):
    state, wishes = client.service.store.find(opened(client)).state, Wishes()

    async def wanted_amid_a_step():
        wishes.open()
        wish = asyncio.ensure_future(wishes.want(lambda draft: draft.set_ratio(16)))
        await asyncio.sleep(0)
        views = hearing(state, [heard(SPEECH)] * 2, 16_000, wishes)
        first = next(views)
        await wish
        wishes.close()
        return [first["ratio"], *(view["ratio"] for view in views if view)]

    assert client.portal.call(wanted_amid_a_step) == [16, 16]


def test_who_waits_for_a_session_that_is_deleted_is_told_so(client):
    session, long = opened(client, transcribe=True), np.tile(SPEECH, 40)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(push, client, session, long)
        while client.get(f"/v1/sessions/{session}").json()["status"] != "hearing":
            time.sleep(0.01)
        assert client.delete(f"/v1/sessions/{session}").status_code == 204
        assert error_of(waiting.result(), 404, "no_session") == "this session was deleted"


def test_a_ratio_stays_where_the_file_breaks_off_and_waiting_for_it_ends(client):
    session = opened(client)
    push(client, session, SPEECH)
    client.post(f"/v1/sessions/{session}/audio?wait=false", content=b"no audio")
    assert client.patch(f"/v1/sessions/{session}", json={"ratio": 16}).json()["ratio"] == 16
    assert ask(client, session).json()["audio_seconds_heard"] == len(SPEECH) / 16_000
    assert client.get(f"/v1/sessions/{session}").json()["ratio"] == 16


def test_hearing_goes_on_without_whoever_did_not_wait_and_is_told(client):
    session = opened(client)
    queue = client.portal.call(lambda: asyncio.sleep(0, client.service.store.find(session).events.listen()))
    accepted = push(client, session, SPEECH, params={"wait": "false"})
    assert accepted.status_code == 202 and accepted.json()["status"] == "hearing"
    while client.get(f"/v1/sessions/{session}").json()["audio_seconds_heard"] < 2.9:
        time.sleep(0.01)
    assert client.post(f"/v1/sessions/{session}/end").json()["ended"]
    client.post(f"/v1/sessions/{session}/audio?wait=false", content=b"no audio")
    client.delete(f"/v1/sessions/{session}")
    events = []
    while not queue.empty():
        events.append(queue.get_nowait())
    names = [event[0] for event in events if event]
    assert names.count("interval") == 6 and names[-1] == "error" and events[-1] is None
    assert {"audio_seconds_heard", "kept_kv_bytes", "total_seconds"} <= dict(event for event in events if event)[
        "heard"
    ].keys()


def test_the_memory_can_be_taken_away(client, model, tmp_path):
    session = opened(client)
    push(client, session, SPEECH)
    (tmp_path / "mine.safetensors").write_bytes(client.get(f"/v1/sessions/{session}/memory").content)
    answer = model.load_memory(tmp_path / "mine.safetensors").ask("who?", 16)
    assert ask(client, session).json()["text"] == answer.text
    assert not list(client.service.uploads.folder.iterdir())


def test_two_servers_do_not_share_a_folder(serve):
    with serve(), pytest.raises(OSError, match="used by another server"), serve():
        pass


def test_a_session_is_written_by_one_thread_at_a_time_also_where_a_task_was_cancelled(serve, monkeypatch):
    """What waits for a cancelled task starts at once, while the thread of that one still writes."""
    with serve() as client:
        session_id = opened(client)
        assert push(client, session_id, SPEECH).status_code == 200
        store, running, most = client.service.store, [], []
        session, save = store.find(session_id), SessionState.save

        def slow(*given):
            running.append(1)
            most.append(len(running))
            time.sleep(0.2)
            save(*given)
            running.pop()

        monkeypatch.setattr(SessionState, "save", slow)

        async def cancelled_then_again():
            session.stale = True
            first = asyncio.create_task(store.save(session))
            await asyncio.sleep(0.05)
            first.cancel()
            await store.save(session)

        client.portal.call(cancelled_then_again)
        assert most == [1, 1]
