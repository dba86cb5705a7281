"""Serves the page over HTTP: the socket, the limits of a connection, and a stop that lets everybody go."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pgleaderboard.errors import NeedsPerson
from pgleaderboard.web.site import RETRY_AFTER, Site

log = logging.getLogger(__name__)

CONNECTIONS = 8000  # in all: a school is one address, so that there is no limit for an address
HEADER_SECONDS = 10.0  # within which a request's header must be there
IDLE_SECONDS = 30  # that a connection is kept for the next request
_FULL = (
    f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


class _Protocol(HttpToolsProtocol):
    """A connection: one of so many, on which a request's header comes in time. The application may end it."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > CONNECTIONS:
            self.transport.write(_FULL.encode())
            self.transport.close()
            return
        self._begin_header()

    def _begin_header(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _end_header(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin_header()

    def on_headers_complete(self) -> None:
        self._end_header()
        super().on_headers_complete()
        self.scope["state"]["abort"] = self.transport.abort

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_header()
        super().connection_lost(exc)
        if self.scope is not None:
            lost: Callable[[], None] | None = self.scope.get("state", {}).get("lost")
            if lost:
                lost()


class _Server(uvicorn.Server):
    """Ends on SIGTERM and SIGINT: the streams first, or it would wait for them."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end)
        yield

    def _end(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._site.hub.stop()
        await super().shutdown(sockets)


def bound(host: str, port: int, *, tries: int = 1) -> socket.socket:
    """A socket that listens. tries: how many ports, from this one up.

    Raises NeedsPerson with one line where that is not possible.
    """
    reason = ""
    for offset in range(tries):
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(
                host, port + offset, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(where)
                listener.listen(2048)
            except OSError:
                listener.close()
                raise
            return listener
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    raise NeedsPerson(f"cannot serve the page on {host}:{port}: {reason}; --port sets another one")


async def serve(site: Site, listener: socket.socket, ready: Callable[[], Any], *, behind_proxy: bool = False) -> None:
    """Serve until SIGTERM or SIGINT. ready: is called once requests are answered."""
    await site.source.start()
    site.hub.start()
    config = uvicorn.Config(
        site,
        http=_Protocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=behind_proxy,
        forwarded_allow_ips="*" if behind_proxy else None,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=5,
    )
    ready()  # the socket listens: whoever comes now waits for the first answer
    try:
        await _Server(config, site).serve(sockets=[listener])
    finally:
        site.source.stop()
