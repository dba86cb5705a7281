"""Serves the page over HTTP: the socket, the limits of a connection, and a stop that lets everybody go."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
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
HEADER_SECONDS = 10.0  # within which a request must be there, from its first byte to its last
IDLE_SECONDS = 30  # that a connection is kept for the next request
_REQUEST_BYTES = 65536  # of a request, its header and its body
_PIPELINED = 16  # requests that may wait behind one on the same connection
_OTHER_FILES = 100  # open ones that are no connections
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_FULL = (
    f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
).encode()


class _Protocol(HttpToolsProtocol):
    """A connection: one of so many, on which requests are short and come in time.

    Requests find it in their state. room: for how many. when_lost: is called where it ends before an answer does.
    """

    room = CONNECTIONS

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self.when_lost: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received = 0  # bytes of the request that is under way
        self._unread = 0  # bytes of answers, when it was last looked at
        self._is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._begin_request()
        if len(self.connections) > self.room:
            self._refuse(_FULL)

    def _refuse(self, answer: bytes) -> None:
        """Answer, and end when the client has: to close at once would take the answer back."""
        self._is_refused = True
        self.transport.write(answer)
        self.transport.write_eof()

    def _begin_request(self) -> None:
        if self._timer is None:
            self._received = 0
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _end_request(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._begin_request()
        super().data_received(data)
        self._received += len(data)
        if self._timer and self._received > _REQUEST_BYTES and not self.transport.is_closing():
            if self.cycle and not self.cycle.response_complete:
                self.transport.abort()
            else:
                self._refuse(_TOO_LONG)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin_request()

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= _PIPELINED:
            raise ValueError("too many requests at once")
        super().on_headers_complete()
        self.scope["state"]["connection"] = self

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._end_request()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is idle, unless it reads answers slowly."""
        unread = self.transport.get_write_buffer_size()
        if unread and unread != self._unread:
            self._unread = unread
            self.timeout_keep_alive_task = self.loop.call_later(IDLE_SECONDS, self.timeout_keep_alive_handler)
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_request()
        super().connection_lost(exc)
        if self.when_lost:
            self.when_lost()


class _Server(uvicorn.Server):
    """Ends on SIGTERM and SIGINT: the streams first, or it would wait for them."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are ours already."""
        yield

    @contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop it, or keep it from beginning."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._end)
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


def _room() -> int:
    """For how many connections there is room: for as many files as this process may open, or allow itself to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + _OTHER_FILES
    if soft < wanted and soft != resource.RLIM_INFINITY:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
            )
        wanted = min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return max(1, wanted - _OTHER_FILES)


async def serve(site: Site, listener: socket.socket, ready: Callable[[], Any], *, behind_proxy: bool = False) -> None:
    """Serve until SIGTERM or SIGINT. ready: is called once requests are answered."""
    _Protocol.room = _room()
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
    server = _Server(config, site)
    with server.ended_by_signals():
        await site.source.start()
        try:
            site.hub.start()
            ready()  # the socket listens: whoever comes now waits for the first answer
            await server.serve(sockets=[listener])
        finally:
            site.source.stop()
