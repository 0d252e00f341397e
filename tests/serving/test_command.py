"""`speech-xl serve` on the command line: flags become limits, and who listens to all without a token is warned."""

import argparse
import asyncio
import socket
from dataclasses import fields

import pytest

from speech_xl.commands.serve import add_arguments, limits_of, made, serve, sessions_folder
from speech_xl.run.user_errors import exit_on_user_error
from speech_xl.serving.limits import Limits


@pytest.fixture
def parse(tmp_path):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return lambda *flags: parser.parse_args(["--sessions-dir", str(tmp_path), *flags])


def test_every_limit_is_a_flag(parse):
    assert limits_of(parse()) == Limits()
    for one in fields(Limits):
        given = parse(f"--{one.name.replace('_', '-')}", "7")
        assert limits_of(given) == Limits(**{one.name: 7})


@pytest.mark.parametrize(
    "flags", [["--max-sessions", "0"], ["--workers", "two"], ["--port", "-1"], ["--save", "never"]]
)
def test_a_bad_flag_is_refused_by_its_name(parse, capsys, flags):
    with pytest.raises(SystemExit):
        parse(*flags)
    assert flags[0] in capsys.readouterr().err


def test_it_listens_here_alone_unless_told_otherwise(parse, model, capsys, monkeypatch):
    monkeypatch.delenv("SPEECH_XL_TOKEN", raising=False)
    monkeypatch.setattr("speech_xl.serving.server.log_to_stderr", lambda level: None)  # other tests read the log
    name = model.name
    for flags, warned in ((["--port", "0"], False), (["--host", "0.0.0.0", "--model-name", "mine"], True)):
        server = made(model, parse(*flags))
        assert server.config.host == (flags[1] if warned else "127.0.0.1")
        assert ("can use this server" in capsys.readouterr().err) is warned
        assert model.name == ("mine" if warned else name)
        asyncio.run(server.service.close())
    model.name = name


@pytest.mark.parametrize("host", ["256.1.1.1", "127.0.0.1"])
def test_where_it_cannot_listen_it_says_so_in_one_line_and_serves_nothing(parse, model, capsys, host):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SystemExit) as end, exit_on_user_error():
            serve(model, parse("--host", host, "--port", str(port)))
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith("error: --host") and said.count("\n") == 1
    assert ("256.1.1.1 is no address" if host == "256.1.1.1" else f"{port}: Address already in use") in said


def test_it_tells_the_port_that_was_free(parse, model, capsys, monkeypatch):
    served = []

    class Quick:
        def run(self, sockets):
            served.extend(one.getsockname()[1] for one in sockets)
            for one in sockets:
                one.close()

    monkeypatch.setattr("speech_xl.commands.serve.made", lambda *given: Quick())
    serve(model, parse("--host", "localhost", "--port", "0"))
    assert served[0] and set(served) == {served[0]} and f"http://localhost:{served[0]}," in capsys.readouterr().err


def test_sessions_lie_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sessions_folder() == tmp_path / "speech_xl" / "sessions"
