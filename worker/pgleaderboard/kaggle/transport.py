"""What the SDK's HTTP session lacks: a time-out, and a deadline for a whole request.

Both are set by an adapter below the session. A time-out alone is not enough: a server that sends a byte now and
then keeps it from striking. At the deadline the sockets are shut down, which ends whatever waits for them.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NameResolutionError
from urllib3.util.connection import allowed_gai_family

from pgleaderboard.errors import Transient

_MAX_SOCKETS = 4  # Kaggle's host and the one of its storage, each perhaps connected to anew


class Sockets:
    """The open sockets of one session, and the deadline of its request.

    Holds duplicates of the descriptors, because TLS takes the originals over.
    """

    def __init__(self) -> None:
        self._deadline = 0.0  # on the clock of time.monotonic()
        self._duplicates: list[socket.socket] = []
        self._lock = threading.Lock()

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Shut the sockets down if the block lasts longer. Then raises Transient, whatever the block raised."""
        self._deadline = time.monotonic() + seconds
        timer = threading.Timer(seconds, self._abort)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if self.time_left() <= 0:  # a body without a length ends without an error when it is cut
                raise Transient(f"Kaggle did not finish within {seconds:g} s")

    def time_left(self) -> float:
        """Seconds until the deadline, at most 0 after it."""
        return self._deadline - time.monotonic()

    def add(self, opened: socket.socket) -> None:
        """Keep a duplicate of a socket. Raises ConnectionAbortedError after the deadline."""
        with self._lock:
            if self.time_left() <= 0:
                opened.close()
                raise ConnectionAbortedError("aborted at the deadline")
            self._duplicates.append(opened.dup())
            if len(self._duplicates) > _MAX_SOCKETS:
                self._duplicates.pop(0).close()

    def _abort(self) -> None:
        with self._lock:
            for duplicate in self._duplicates:
                with suppress(OSError):  # closed already
                    duplicate.shutdown(socket.SHUT_RDWR)  # a thread that reads from it gets an error at once

    def close(self) -> None:
        """Close the duplicates."""
        with self._lock:
            for duplicate in self._duplicates:
                duplicate.close()
            self._duplicates.clear()


class Adapter(HTTPAdapter):
    """Sends requests with a time-out, adds new connections to `sockets`, and reports the status of answers.

    headers: of the last answer.
    """

    def __init__(self, timeout: float, sockets: Sockets, answered: Callable[[str], object] | None) -> None:
        self._timeout = timeout
        self._answered = answered
        self._sockets = sockets
        self.headers: Mapping[str, str] = {}
        super().__init__(pool_connections=2, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Add each connection to the sockets before TLS and headers, which may come slowly."""
        super().init_poolmanager(*args, **kwargs)
        sockets = self._sockets

        def tracked(base: Any) -> Any:
            class Tracked(base):  # type: ignore[misc]
                timeout: float

                def _new_conn(self) -> socket.socket:
                    try:
                        addresses = socket.getaddrinfo(self.host, self.port, allowed_gai_family(), socket.SOCK_STREAM)
                    except socket.gaierror as error:
                        raise NameResolutionError(self.host, self, error) from error
                    # The time-out counts for each address, the deadline for all of them. 0 is refused.
                    self.timeout = max(1e-3, min(self.timeout, sockets.time_left() / len(addresses)))
                    opened: socket.socket = super()._new_conn()
                    sockets.add(opened)
                    return opened

            return Tracked

        self.poolmanager.pool_classes_by_scheme = {
            scheme: type("TrackedPool", (pool,), {"ConnectionCls": tracked(pool.ConnectionCls)})
            for scheme, pool in self.poolmanager.pool_classes_by_scheme.items()
        }

    def close(self) -> None:
        """Close the connections now: the manager only forgets them, and an error's traceback may keep them alive."""
        for key in self.poolmanager.pools.keys():  # noqa: SIM118 - no dict
            self.poolmanager.pools[key].close()
        super().close()

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Send with the time-out."""
        kwargs["timeout"] = self._timeout
        status = "none"
        try:
            answer = super().send(request, *args, **kwargs)
            status = str(answer.status_code)
            self.headers = answer.headers
            return answer
        finally:
            if self._answered:
                self._answered(status)
