"""A long file through every door: command line, Python, HTTP, a session, and the page in a Chromium.

    python experiments/measurements/long_file.py MODEL AUDIO

MODEL is the folder of a stage or an exported model, AUDIO a file of half an hour, say. Each door is a process of its
own, one after the other or all at once. Recorded are whether the transcripts are equal, the KV bytes as told and as
measured on tensors, seconds, and the resident memory: how much larger its peak was after the first five minutes of
audio than within them. A session keeps its memory of the whole file beside the transcript, and grows by that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import soundfile
import torch
import urllib3
from safetensors.torch import load_file

from experiments.drills.served import Served
from experiments.measurements.record import record

EARLY_SECONDS = 300.0  # of audio, in which a process may grow
EVERY_SECONDS = 0.5  # between looks at a process
DAY = 86_400.0
MIB = 2**20
COMMAND = [sys.executable, "-m", "speech_xl.commands.main"]


@dataclass
class Door:
    """What one way in gave: segments (start, end, text), KV bytes, and what it took."""

    segments: list[tuple[float, float, str]]
    told: dict[str, int]
    measured: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    resident: list[tuple[float, float]] = field(default_factory=list)  # (seconds since it began to hear, MiB)

    def growth(self, audio_seconds: float) -> float:
        """MiB by which the largest resident memory after `EARLY_SECONDS` of audio is above that within them."""
        early = self.seconds * min(EARLY_SECONDS / audio_seconds, 0.5)
        before = [size for second, size in self.resident if second <= early]
        after = [size for second, size in self.resident if second > early]
        return max(after) - max(before)

    def summary(self, audio_seconds: float) -> dict[str, float]:
        return {
            "seconds": round(self.seconds, 1),
            "resident_mib_most": round(max(size for _, size in self.resident), 1),
            "resident_mib_growth": round(self.growth(audio_seconds), 1),
        }


@contextmanager
def watched(process: psutil.Process, into: list[tuple[float, float]]):
    """Look at a process's resident memory until the block ends."""
    over, begin = Event(), time.monotonic()

    def look() -> None:
        while not over.wait(EVERY_SECONDS):
            try:
                into.append((time.monotonic() - begin, process.memory_info().rss / MIB))
            except psutil.NoSuchProcess:
                return

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def of_command(words: list[str]) -> Door:
    """Run a command that prints a transcription as JSON, and watch it."""
    resident: list[tuple[float, float]] = []
    begin = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    with process, watched(psutil.Process(process.pid), resident):
        shown, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with status {process.returncode}")
    found = json.loads(shown)
    segments = [(one["start_seconds"], one["end_seconds"], one["text"]) for one in found["segments"]]
    told = {name: found[name] for name in ("kept_kv_bytes", "full_kv_bytes")}
    return Door(segments, told, found.get("measured", {}), time.monotonic() - begin, resident)


def by_command(given: argparse.Namespace) -> Door:
    words = ["transcribe", given.audio, "--model", given.model, "--format", "json", "--ratio", str(given.ratio)]
    return of_command([*COMMAND, *words])


def by_python(given: argparse.Namespace) -> Door:
    """In a process of its own, which runs `in_python`."""
    words = [given.model, given.audio, "--ratio", str(given.ratio), "--in-python"]
    return of_command([sys.executable, "-m", "experiments.measurements.long_file", *words])


def in_python(given: argparse.Namespace) -> None:
    """Transcribe as a user's code does, and measure the tensors of every part's cache."""
    from speech_xl.inference import Memory, load_stage

    kept, full = [0], [0]
    finish = Memory.finish

    def measured(self: Memory) -> None:
        finish(self)
        prefix = len(self.model.backbone.llm.prompt.prefix)
        held = self.listener.memory.tensors()
        tensors = [tensor for name, tensor in held.items() if name.startswith("layers.")]
        sizes = [tensor[:, :, prefix:].numel() * tensor.element_size() for tensor in tensors]
        kept.append(sum(sizes))
        full.append(round(sum(sizes) / self.kept_kv_tokens * sum(one.frames for one in self.intervals)))

    Memory.finish = measured
    found = load_stage(given.model).transcribe(given.audio, ratio=given.ratio)
    print(json.dumps(found.as_dict() | {"measured": {"kept_kv_bytes": max(kept), "full_kv_bytes": max(full)}}))


class Client:
    """Requests to a server; a call gives an answer's body, and raises where it isn't a success."""

    def __init__(self, address: str) -> None:
        self.address, self.pool = address, urllib3.PoolManager(timeout=DAY, retries=False)

    def __call__(self, method: str, path: str, **given: Any) -> bytes:
        answer = self.pool.request(method, f"{self.address}{path}", **given)
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.data[:500]!r}")
        return answer.data

    def json(self, method: str, path: str, **given: Any) -> Any:
        return json.loads(self(method, path, **given))


@contextmanager
def server(given: argparse.Namespace, folder: Path):
    """A server of the model: its client and process."""
    served = Served(folder, given.model).start()
    assert served.process is not None
    try:
        yield Client(f"http://127.0.0.1:{served.port}"), psutil.Process(served.process.pid)
    finally:
        served.stop()


def by_http(given: argparse.Namespace, folder: Path) -> Door:
    resident: list[tuple[float, float]] = []
    with server(given, folder) as (client, process):
        begin = time.monotonic()
        with watched(process, resident):
            (model,) = client.json("GET", "/v1/models")["data"]
            asked = {"model": model["id"], "response_format": "verbose_json", "ratio": str(given.ratio)}
            asked["file"] = ("audio", Path(given.audio).read_bytes())
            found = client.json("POST", "/v1/audio/transcriptions", fields=asked)
    segments = [(one["start"], one["end"], one["text"]) for one in found["segments"]]
    told = {name: found[name] for name in ("kept_kv_bytes", "full_kv_bytes")}
    return Door(segments, told, {}, time.monotonic() - begin, resident)


def by_session(given: argparse.Namespace, folder: Path) -> Door:
    """Open, upload without waiting, look on, end; then the memory's file is measured."""
    resident: list[tuple[float, float]] = []
    asked = {"ratio": given.ratio, "transcribe": True}
    with server(given, folder) as (client, process):
        begin = time.monotonic()
        with watched(process, resident):
            place = f"/v1/sessions/{client.json('POST', '/v1/sessions', json=asked)['id']}"
            body, kind = Path(given.audio).read_bytes(), {"Content-Type": "application/octet-stream"}
            client("POST", f"{place}/audio?wait=false", body=body, headers=kind)
            while client.json("GET", place)["status"] != "idle":
                time.sleep(1.0)
            found = client.json("POST", f"{place}/end")
        seconds = time.monotonic() - begin
        return session_door(client, place, found, folder, seconds, resident)


def by_page(given: argparse.Namespace, folder: Path) -> Door:
    """Give the file to the page in a browser, and wait until all was heard."""
    from playwright.sync_api import sync_playwright

    from experiments.figures.driven_page import choose, hear, launch, visit

    resident: list[tuple[float, float]] = []
    with server(given, folder) as (client, process), sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page()
        visit(page, f"{client.address}/")
        choose(page, "A", given.ratio)
        begin = time.monotonic()
        with watched(process, resident), page.expect_response(lambda r: r.url.endswith("/end"), timeout=0) as ended:
            hear(page, Path(given.audio), DAY)
        place = ended.value.url.removeprefix(client.address).removesuffix("/end")
        seconds = time.monotonic() - begin
        shown = page.locator("#intervals li").count()
        found = ended.value.json()
        if shown != len(found["intervals"]):
            raise RuntimeError(f"the page shows {shown} intervals, and {len(found['intervals'])} were heard")
        return session_door(client, place, found, folder, seconds, resident)


def session_door(
    client: Client, place: str, found: dict[str, Any], folder: Path, seconds: float, resident: list[tuple[float, float]]
) -> Door:
    """What a session at `place` told, and the tensors of its memory."""
    path = folder / "measured.safetensors"
    path.write_bytes(client("GET", f"{place}/memory"))
    client("DELETE", place)
    segments = [(one["start_seconds"], one["end_seconds"], one["text"]) for one in found["segments"]]
    told = {name: found[name] for name in ("kept_kv_bytes", "full_kv_bytes")}
    tensors = {name: one for name, one in load_file(path).items() if name.startswith("layers.")}
    tokens = sum(one["kept_kv_tokens"] for one in found["intervals"])
    prefix = next(iter(tensors.values())).shape[2] - tokens
    kept = sum(one[:, :, prefix:].numel() * one.element_size() for one in tensors.values())
    return Door(segments, told, {"kept_kv_bytes": kept}, seconds, resident)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a stage or an exported model")
    parser.add_argument("audio", help="a file, of half an hour, say")
    parser.add_argument("--ratio", type=int, default=4)
    parser.add_argument("--work", type=Path, default=Path("runs/long_file"), help="folder of the server's sessions")
    parser.add_argument("--at-once", action="store_true", help="all doors at once; each takes longer then")
    parser.add_argument("--in-python", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.in_python:
        in_python(given)
        return
    given.audio, given.model = os.path.abspath(given.audio), os.path.abspath(given.model)
    seconds = soundfile.info(given.audio).duration
    doors: dict[str, Callable[[], Door]] = {
        "command": lambda: by_command(given),
        "python": lambda: by_python(given),
        "http": lambda: by_http(given, given.work / "http"),
        "session": lambda: by_session(given, given.work / "session"),
        "page": lambda: by_page(given, given.work / "page"),
    }
    found: dict[str, Door] = {}
    with ThreadPoolExecutor(len(doors) if given.at_once else 1) as pool:
        opened = {name: pool.submit(open_door) for name, open_door in doors.items()}
    for name, one in opened.items():
        found[name] = one.result()
        print(name, found[name].summary(seconds), found[name].told, found[name].measured, flush=True)
    at_once = " --at-once" if given.at_once else ""
    written = record(
        "long_file",
        summary(found, seconds),
        f"python experiments/measurements/long_file.py MODEL AUDIO --ratio {given.ratio}{at_once}",
        f"{Path(given.model).name}; {Path(given.audio).name}, {seconds:.0f} s",
        len(doors),
        details={name: {"told": door.told, "measured": door.measured} for name, door in found.items()},
    )
    print(f"written: {written}")


def summary(found: dict[str, Door], seconds: float) -> dict[str, float]:
    """What is recorded: counts and figures of all doors."""
    first = found["python"]
    equal = sum(door.segments == first.segments for door in found.values())
    as_measured = [door.told[name] == size for door in found.values() for name, size in door.measured.items()]
    alike = [found[name].told == first.told for name in ("command", "http")]
    made: dict[str, float] = {
        "audio_seconds": seconds,
        "doors": len(found),
        "doors_with_the_same_transcript": equal,
        "segments": len(first.segments),
        "kv_figures": len(as_measured) + len(alike),
        "kv_figures_as_measured": sum(as_measured) + sum(alike),
        "torch_threads": torch.get_num_threads(),
    }
    made["session_kept_kv_mib"] = round(found["session"].told["kept_kv_bytes"] / MIB, 1)
    for name, door in found.items():
        made |= {f"{name}_{key}": value for key, value in door.summary(seconds).items()}
    return made


if __name__ == "__main__":
    main()
