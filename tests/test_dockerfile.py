"""The Dockerfile where no daemon runs: its syntax, its files; its command and its healthcheck fit the server."""

import argparse
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from threading import Thread
from time import sleep

import dockerfile
import pytest
from packaging.requirements import Requirement

from speech_xl.commands.serve import add_arguments, made
from speech_xl.serving.security import TOKEN
from tests.listening_models import tiny_model
from tests.snippets.shell import free_port

ROOT = Path(__file__).parents[1]
COMMANDS = dockerfile.parse_file(str(ROOT / "Dockerfile"))  # by BuildKit's own parser; raises where it can't be read
IMAGE = COMMANDS[max(place for place, one in enumerate(COMMANDS) if one.cmd == "FROM") :]  # the last stage
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "ARG", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def the(kind: str) -> dockerfile.Command:
    (found,) = [one for one in IMAGE if one.cmd == kind]
    return found


def words(kind: str) -> list[str]:
    return list(the(kind).value)


def serve_arguments() -> argparse.Namespace:
    command = words("ENTRYPOINT")
    assert command[:2] == ["speech-xl", "serve"] and the("ENTRYPOINT").json  # no shell between it and SIGTERM
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(command[2:])


def test_every_instruction_is_known_and_the_parser_refuses_what_isnt_one():
    assert {one.cmd for one in COMMANDS} <= KNOWN
    with pytest.raises(dockerfile.GoParseError):
        dockerfile.parse_string("FROM python:3.12\nENV HF_HOME")


def test_what_is_copied_is_there_and_not_ignored():
    shown = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [
        source
        for one in COMMANDS
        if one.cmd == "COPY" and not any(flag.startswith("--from=") for flag in one.flags)
        for source in one.value[:-1]
    ]
    assert len(sources) >= 5
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in shown, f".dockerignore leaves {source} out"
    for folder in re.findall(r'^"([\w/]+)" = "speech_xl/', PYPROJECT, re.M):  # what the wheel takes from elsewhere
        assert any(Path(folder).is_relative_to(source) for source in sources), folder


@pytest.mark.slow  # a package index for hatchling is needed
def test_the_wheel_is_built_from_what_is_copied_alone(tmp_path):
    for one in COMMANDS[: COMMANDS.index(IMAGE[0])]:
        if one.cmd == "COPY":
            for source in one.value[:-1]:
                target = tmp_path / (source if len(one.value) == 2 else Path(source).name)
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                target.parent.mkdir(parents=True, exist_ok=True)
                copy(ROOT / source, target)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "wheels", "."]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=600)
    (wheel,) = (tmp_path / "wheels").glob("speech_xl_suite-*.whl")
    assert "speech_xl/trained/read_speech/config.json" in zipfile.ZipFile(wheel).namelist()


def test_requirements_are_those_of_the_package():
    text = "\n".join(one.original for one in IMAGE if one.cmd == "RUN")
    torch = re.search(r'"(torch[^"]+)"', text)
    assert torch and f'"{torch[1]}"' in PYPROJECT
    package = re.search(r'"(speech-xl-suite\[[\w,]+\]) @', text)
    assert package
    for extra in Requirement(package[1]).extras:
        assert re.search(rf"^{extra} = \[", PYPROJECT, re.M), extra
    assert all("--no-cache-dir" in one.original for one in COMMANDS if "pip " in one.original and one.cmd == "RUN")


def test_it_serves_without_rights_and_keeps_everything_in_its_volume():
    given = serve_arguments()
    (volume,) = words("VOLUME")
    environment = dict(zip(words("ENV")[::2], words("ENV")[1::2], strict=True))
    assert words("USER") == ["10001"] and any("chown" in one.original and volume in one.original for one in IMAGE)
    assert Path(environment["HF_HOME"]).is_relative_to(volume)
    assert given.sessions_dir.is_relative_to(volume)
    assert given.host == "0.0.0.0" and words("EXPOSE") == [str(given.port)]
    assert TOKEN in (ROOT / "Dockerfile").read_text() and TOKEN not in environment


def test_its_healthcheck_is_right_about_a_server(tmp_path):
    """The healthcheck's own command, at another port: that of a real server, before and after it starts."""
    port = free_port()
    kind, _, *check = words("HEALTHCHECK")
    assert kind == "CMD" and check[0] == "-c"
    assert f"127.0.0.1:{serve_arguments().port}/health" in check[1]
    command = [sys.executable, "-c", check[1].replace(f":{serve_arguments().port}/", f":{port}/")]
    assert subprocess.run(command, capture_output=True).returncode != 0
    given = serve_arguments()
    given.port, given.host, given.sessions_dir = port, "127.0.0.1", tmp_path / "sessions"
    server = made(tiny_model(), given)
    thread = Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            sleep(0.05)
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        server.should_exit = True
        thread.join(20)
