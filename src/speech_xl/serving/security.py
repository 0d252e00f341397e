"""Who may ask: the hosts, origins and token that a request must come with, before anything of its body is read."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import os
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speech_xl.serving.errors import ApiError
from speech_xl.storage.files import unreadable

TOKEN = "SPEECH_XL_TOKEN"  # the environment's name for the token
TOKEN_FORM = re.compile(r"[A-Za-z0-9._~-]{16,512}")  # what headers and WebSocket protocols may hold
PROTOCOL, BEARER = "speech-xl", "bearer."  # of a browser's WebSocket, which can't set headers
OPEN = ("/health",)  # beside the page, which holds nothing secret
LOG = logging.getLogger("speech_xl.serving.requests")
SECRET = re.compile(r"(/v1/sessions/)[^/]+")
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": POLICY,
}


def read_token(file: str | Path | None = None) -> str | None:
    """The token of a file, else of the environment's SPEECH_XL_TOKEN; None where neither is given.

    Raises ValueError for one that is too short or that headers can't hold, FileError where the file can't be read.
    """
    try:
        token = os.environ.get(TOKEN) if file is None else Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise unreadable(str(file), error) from error
    if not token and file is None:
        return None
    if not TOKEN_FORM.fullmatch(token or ""):
        where = TOKEN if file is None else str(file)
        raise ValueError(
            f"{where}: a token has 16 to 512 characters of A-Z a-z 0-9 . _ ~ -; make one: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token


class Guard:
    """ASGI middleware: checks every HTTP request and WebSocket, adds headers to answers, and writes a line to the log.

    hosts    names that a Host header may hold beside IP addresses and this machine's: a web page whose name was turned
             to this address (DNS rebinding) has another
    origins  other web pages that may use the API, as ``https://name:port``
    token    what an Authorization header must bear for /v1; None: nothing
    """

    def __init__(
        self, app: ASGIApp, hosts: Sequence[str] = (), origins: Sequence[str] = (), token: str | None = None
    ) -> None:
        self.app, self.token = app, token
        self.hosts = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}
        self.origins = {origin.rstrip("/").lower() for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        began, status = time.monotonic(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        try:
            try:
                self.check(scope)
            except ApiError as error:
                return await error.response()(scope, receive, answer)
            await self.app(scope, receive, answer)
        finally:
            what = scope.get("method", "WEBSOCKET"), SECRET.sub(r"\1...", scope["path"])
            LOG.info("%s %s %s %.0f ms", *what, status or "-", (time.monotonic() - began) * 1000)

    def check(self, scope: Scope) -> None:
        """Raises ApiError: 400 for the Host, 403 for the Origin, 401 for the token."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = hostname(host)
        if name is None or not (name in self.hosts or _is_address(name)):
            raise ApiError(400, "host", f"Host {host[:80]!r} isn't served here; start the server with --allowed-host")
        origin = headers.get("origin")
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        if origin is not None and not reads and not self._own(origin.lower(), host.lower()):
            raise ApiError(403, "origin", f"pages of {origin[:80]!r} may not use this server; see --cors-origin")
        preflight = scope["type"] == "http" and scope["method"] == "OPTIONS"
        if self.token is not None and scope["path"].startswith("/v1/") and not preflight:
            self._check_token(headers)

    def _own(self, origin: str, host: str) -> bool:
        return origin in self.origins or urlsplit(origin).netloc == host

    def _check_token(self, headers: Headers) -> None:
        assert self.token is not None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            offered = (part.strip() for part in headers.get("sec-websocket-protocol", "").split(","))
            given = next((part.removeprefix(BEARER) for part in offered if part.startswith(BEARER)), "")
        if not hmac.compare_digest(given.strip().encode(), self.token.encode()):
            said = "this server wants a token: send it as 'Authorization: Bearer TOKEN'"
            raise ApiError(401, "token", said, headers={"WWW-Authenticate": "Bearer"})


def hostname(host: str) -> str | None:
    """The name of a Host header, lowercase, without its port; None where it has none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
