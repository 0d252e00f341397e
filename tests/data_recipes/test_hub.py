"""Downloads from the Hugging Face Hub, against a server of this machine that answers as the Hub does."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from data_recipes.audiomarathon import download_audiomarathon
from data_recipes.hub import download_dataset, download_files
from data_recipes.longspeech import download_longspeech
from tests.benchmark_folders import LOST, write_longspeech

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """A data set of any name, with the files of a folder.

    asked   paths of files that were asked for, be it for their headers alone
    got     paths of files that were downloaded
    broken  a file that the server fails to send
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.folder, self.broken = folder, ""
        self.asked: list[str] = []
        self.got: list[str] = []

    def names(self) -> list[str]:
        return sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file())


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format, *args):
        pass

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, body: bool) -> None:
        path = unquote(urlparse(self.path).path)
        if path.startswith("/api/datasets/") and "/tree/" in path:
            files = [(name, self.server.folder / name) for name in self.server.names()]
            self.json([{"type": "file", "path": name, "size": p.stat().st_size, "oid": _etag(p)} for name, p in files])
        elif path.startswith("/api/datasets/"):
            siblings = [{"rfilename": name} for name in self.server.names()]
            self.json({"id": "some/data", "sha": COMMIT, "siblings": siblings})
        elif "/resolve/" in path:
            self.file(path.split("/resolve/")[1].split("/", 1)[1], body)
        else:
            self.send_error(404)

    def json(self, content) -> None:
        self.send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def file(self, name: str, body: bool) -> None:
        self.server.asked.append(name)
        path = self.server.folder / name
        if not path.is_file():
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        if not body:
            self.send(200, content, {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT}, body=False)
            return
        if name == self.server.broken:
            self.send_error(500)
            return
        self.server.got.append(name)
        self.send(200, content, {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT})

    def send(self, status: int, content: bytes, headers: dict[str, str], body: bool = True) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with a small LongSpeech, in which no recording is missing."""
    import huggingface_hub.constants as constants

    written = write_longspeech(tmp_path / "hub")
    written.sound(LOST, 1.0)
    server = Hub(written.path)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    yield server
    server.shutdown()
    server.server_close()


def there(folder: Path) -> set[str]:
    files = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {name for name in files if not name.startswith(".cache")}


def test_rows_and_parts_of_choice_come(hub, tmp_path):
    target = tmp_path / "here"
    assert download_longspeech(target, tasks=["ASR", "summary"], splits=["dev"], parts=["p2"]) == target
    assert there(target) == {
        "LongSpeechQA/ASR/val.jsonl",
        "LongSpeechQA/summary/val.jsonl",
        *(name for name in hub.names() if name.startswith("LongSpeech_p2/")),
    }
    assert all((target / name).read_bytes() == (hub.folder / name).read_bytes() for name in there(target))


def test_rows_come_without_audio(hub, tmp_path):
    download_longspeech(tmp_path / "here", splits=["test"], parts=[])
    assert there(tmp_path / "here") == {name for name in hub.names() if name.endswith("test.jsonl")}


def test_all_comes_by_default(hub, tmp_path):
    assert there(download_longspeech(tmp_path / "here")) == set(hub.names())


def test_named_files_come_alone(hub, tmp_path):
    download_longspeech(tmp_path / "here", tasks=["speaker_count"], splits=["test"], parts=["p1"], only_named=True)
    rows = (hub.folder / "LongSpeechQA/speaker_count/test.jsonl").read_text().splitlines()
    named = {json.loads(row)["messages"][0]["audio"] for row in rows}
    assert len(named) == 4 and there(tmp_path / "here") == {"LongSpeechQA/speaker_count/test.jsonl", *named}


def test_what_is_here_is_not_downloaded_again(hub, tmp_path):
    for _ in range(2):
        download_longspeech(tmp_path / "here", tasks=["emotionQA"], splits=["test"], only_named=True)
    assert len(hub.got) == len(set(hub.got)) == 5
    hub.got.clear()
    hub.asked.clear()
    (tmp_path / "here" / LOST).unlink()
    download_longspeech(tmp_path / "here", tasks=["emotionQA"], splits=["test"], only_named=True)
    assert hub.got == [LOST]
    assert {name for name in hub.asked if name.endswith(".wav")} == {LOST}, "thousands needn't be asked for again"


def test_a_download_that_broke_off_goes_on(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # the Hub's client waits before it tries again
    hub.broken = LOST
    with pytest.raises(OSError, match=f"can't download .*{LOST}.*it goes on where it stopped"):
        download_longspeech(tmp_path / "here", tasks=["emotionQA"], splits=["test"], only_named=True)
    hub.broken = ""
    download_longspeech(tmp_path / "here", tasks=["emotionQA"], splits=["test"], only_named=True)
    assert len(hub.got) == len(set(hub.got)) == 5 and (tmp_path / "here" / LOST).is_file()


def test_audiomarathon_comes_whole(hub, tmp_path):
    assert there(download_audiomarathon(tmp_path / "here")) == set(hub.names())


def test_another_layout_is_said(hub, tmp_path):
    with pytest.raises(ValueError, match=r"some/data has no files like Nothing/\*; it may have been laid out anew"):
        download_dataset("some/data", tmp_path / "here", ["Nothing/*"])


def test_a_file_that_is_not_there_is_named(hub, tmp_path):
    with pytest.raises(OSError, match="can't download some/data/none.wav"):
        download_files("some/data", tmp_path / "here", ["none.wav"])


def test_without_a_network_the_mend_is_said_even_where_files_are_here(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "old.txt").touch()
    with pytest.raises(OSError, match="can't download ATH-MaaS/Marco_Longspeech.*check the network"):
        download_longspeech(tmp_path / "here")


def test_wrong_names_are_refused_before_anything_is_downloaded(tmp_path):
    with pytest.raises(ValueError, match="parts: got 'p4'; use some of p1, p2, p3"):
        download_longspeech(tmp_path / "here", parts=["p4"])
    with pytest.raises(ValueError, match="tasks: got 'asr'"):
        download_longspeech(tmp_path / "here", tasks=["asr"])
