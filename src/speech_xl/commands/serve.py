"""`speech-xl serve`: the arguments of the server, and its start."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech_xl.commands.model_options import add_model_options, loaded, stage_of
from speech_xl.run.arguments import not_blank, whole_number
from speech_xl.run.command import ConfigError
from speech_xl.serving.limits import Limits

if TYPE_CHECKING:
    from speech_xl.inference.model import ListeningModel

HELP = "serve a model over HTTP: sessions, transcriptions and chat as OpenAI has them, and a page in the browser"
EXAMPLES = """examples:
  speech-xl serve                                              then open http://127.0.0.1:8000
  speech-xl serve --model my_stage --port 9000 --max-audio-seconds 14400
  SPEECH_XL_TOKEN=... speech-xl serve --host 0.0.0.0 --allowed-host speech.example.org
"""
EXTRA = ("fastapi", "starlette", "pydantic", "uvicorn", "python_multipart", "websockets")
ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def sessions_folder() -> Path:
    """Where sessions are kept unless told otherwise: below the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "speech_xl" / "sessions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    where = parser.add_argument_group("where it listens")
    where.add_argument("--host", type=not_blank, default="127.0.0.1", help="address to listen at (%(default)s)")
    where.add_argument("--port", type=whole_number(0), default=8000, help="0: one that is free (%(default)s)")
    where.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME", help="a name it is addressed by; repeatable"
    )
    where.add_argument(
        "--cors-origin", action="append", default=[], metavar="URL", help="another page that may use it; repeatable"
    )
    where.add_argument(
        "--token-file", metavar="FILE", help="a token that requests must bear (default: that of SPEECH_XL_TOKEN)"
    )
    work = parser.add_argument_group("how it works")
    work.add_argument("--model-name", type=not_blank, help="what clients call the model (the folder's name)")
    work.add_argument("--language", type=not_blank, help="that it was trained on, such as en; requests may name it")
    work.add_argument("--sessions-dir", type=Path, metavar="DIR", help=f"where sessions are kept ({sessions_folder()})")
    work.add_argument(
        "--save",
        choices=["request", "idle"],
        default="request",
        help="request: a session is on disk before a request that changed it is answered, so that a kill loses nothing "
        "that was acknowledged; idle: when idle and at the end, which is faster (%(default)s)",
    )
    work.add_argument("--workers", type=whole_number(), default=1, help="threads that use the model (%(default)s)")
    work.add_argument("--threads", type=whole_number(), help="of torch in each (as torch has them)")
    work.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    limits = parser.add_argument_group("limits")
    abouts = Limits.abouts()
    for one in fields(Limits):
        name = f"--{one.name.replace('_', '-')}"
        limits.add_argument(name, type=whole_number(), default=one.default, help=f"{abouts[one.name]} (%(default)s)")


def limits_of(given: argparse.Namespace) -> Limits:
    """The limits that a command line names."""
    return Limits(**{one.name: getattr(given, one.name) for one in fields(Limits)})


def run(given: argparse.Namespace) -> None:
    """Load the model and serve it; raises what `exit_on_user_error` knows, where a user can mend it."""
    check_extra()
    serve(loaded(stage_of(given), given), given)


def check_extra() -> None:
    """Raise ConfigError where a package of the extra `serve` isn't installed."""
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        raise ConfigError(f"serve: {', '.join(missing)} isn't installed: pip install 'speech-xl-suite[serve]'")


def serve(model: ListeningModel, given: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises ConfigError where it can't listen, ValueError for a bad token, FileError
    where sessions can't be kept."""
    from speech_xl.serving.server import bound

    sockets = bound(given.host, given.port)
    server = made(model, given)
    host = given.host if ":" not in given.host else f"[{given.host}]"
    port = sockets[0].getsockname()[1]
    print(f"{model.name} is served at http://{host}:{port}, its page too; Ctrl-C stops it", file=sys.stderr)
    server.run(sockets)


def made(model: ListeningModel, given: argparse.Namespace) -> Any:
    """The server, ready to run."""
    from speech_xl.serving.app import create_app
    from speech_xl.serving.security import is_loopback, read_token
    from speech_xl.serving.server import log_to_stderr, make_server
    from speech_xl.serving.service import Service

    token = read_token(given.token_file)
    if token is None and not is_loopback(given.host):
        print(
            f"warning: everyone who reaches {given.host} can use this server: set SPEECH_XL_TOKEN, or --token-file",
            file=sys.stderr,
        )
    if given.model_name:
        model.name = given.model_name
    log_to_stderr(given.log_level)
    few_arenas()
    service = Service(
        model,
        given.sessions_dir or sessions_folder(),
        limits_of(given),
        durable=given.save == "request",
        workers=given.workers,
        threads=given.threads,
        language=given.language,
    )
    app = create_app(service, token, given.allowed_host, given.cors_origin)
    return make_server(app, service, given.host, given.port)


def few_arenas() -> None:
    """Have threads share memory that others have freed. glibc keeps as many heaps as threads have run at once, each as
    large as its largest work: some hundred MB of an encoder's, never given back."""
    with contextlib.suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).mallopt(ARENA_MAX, 2)
