"""The web server: uvicorn with a limit on how long a request's head may take, which ends its streams when it stops."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from speech_xl.run.command import ConfigError
from speech_xl.serving.limits import Limits
from speech_xl.serving.service import Service

ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # an address that this machine doesn't have: IPv6's, often
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


class HeadTimedProtocol(H11Protocol):
    """Closes a connection on which a request's head isn't whole in time, which uvicorn would wait for without end."""

    head_seconds: float = 10.0
    _head_timer: asyncio.TimerHandle | None = None
    _upgraded = False  # to a WebSocket, whose own protocol has the connection then

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._upgraded or (self.cycle is not None and not self.cycle.response_complete):
            self._forget_head()
        else:
            self._expect_head()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._upgraded = True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.head_seconds, self._head_late)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn, whose endless streams end when it is asked to stop."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.service.store.end_streams()
        await super().shutdown(sockets)


def bound(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at every address of a host, at one port; port 0: at one that is free. Raises ConfigError."""
    try:
        found = {info[4][:2]: info[0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host: {host} is no address or name that is known here ({error})") from error
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    for (address, _), family in found.items():
        try:
            sockets.append(socket.create_server((address, port), family=family))
        except OSError as error:
            if error.errno not in ABSENT:
                refused = error
                break
            refused = None if sockets else error
        else:
            refused = None
            port = sockets[0].getsockname()[1]
    if refused is not None:
        for one in sockets:
            one.close()
        said = os.strerror(refused.errno or 0)
        raise ConfigError(f"--host, --port: can't listen at {host}, port {port}: {said}; name others") from refused
    return sockets


def make_server(app: FastAPI, service: Service, host: str, port: int) -> Server:
    """A server of this application, to be run by `run`."""
    limits: Limits = service.limits
    protocol = type("Protocol", (HeadTimedProtocol,), {"head_seconds": float(limits.header_seconds)})
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        ws_max_size=limits.max_message_bytes,
        ws_per_message_deflate=False,  # a small message could become a large one
        limit_concurrency=limits.max_connections,
        timeout_graceful_shutdown=limits.shutdown_seconds,
        timeout_keep_alive=limits.header_seconds,
        access_log=False,  # requests are logged without ids of sessions (`Guard`)
        server_header=False,
        proxy_headers=False,
        log_config=None,
        log_level="warning",  # below that it writes ids of sessions
        lifespan="on",
    )
    return Server(config, service)


def log_to_stderr(level: str) -> None:
    """A line a request and a line an error, never what was said or asked, nor ids of sessions."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    for name in ("speech_xl.serving", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn.error").addFilter(_worth_a_line)


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Whether uvicorn tells of more than a WebSocket that was refused, which has its line already."""
    return "without completing handshake" not in record.getMessage()
