"""Wrong answers on demand: a fault is put in line, and the next request that it matches plays it.

simulator.faults.put("titanic", Status(429, {"Retry-After": "7"}))
gate = simulator.faults.hold("titanic")
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.client import responses
from typing import TypeVar

from pgleaderboard.simulator.boards import zip_board

_F = TypeVar("_F", bound="Fault")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `headers` go before those that are made here."""

    body: bytes = b""
    status: int = 200
    content_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_error(cls, status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
        """An error in Kaggle's shape."""
        return cls(json.dumps({"code": status, "message": message}).encode(), status, headers=headers or {})

    def head(self, *, keep: bool, length: bool = True) -> bytes:
        """Status line and headers; without the length where that is not to be told."""
        made = {"Date": format_datetime(datetime.now(UTC), usegmt=True)}
        if self.content_type is not None:
            made["Content-Type"] = self.content_type
        if length:
            made["Content-Length"] = str(len(self.body))
        if not keep:
            made["Connection"] = "close"
        given = {name.lower() for name in self.headers}
        fields = [*self.headers.items(), *((n, v) for n, v in made.items() if n.lower() not in given)]
        lines = [
            f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}",
            *(f"{name}: {value}" for name, value in fields),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Wire:
    """The server's end of one connection, while it answers one request."""

    def __init__(self, connection: socket.socket, closing: threading.Event, *, keep: bool) -> None:
        self.keep = keep
        self.closing = closing  # the server stops: nothing is answered any more
        self._connection = connection

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self._connection.sendall(data)

    def answer(self, answer: Answer) -> None:
        """A whole answer."""
        self.send(answer.head(keep=self.keep) + answer.body)

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        self.keep = False
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Detached, since http.server would say a polite goodbye first.
        os.close(self._connection.detach())


@dataclass(kw_only=True, eq=False)
class Fault:
    """Something else than the right answer.

    `arrived` is set when a request met it; `release()` lets go what it holds back, as does the server
    when it stops.
    """

    arrived: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    released: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    @property
    def needs_right(self) -> bool:
        """Whether `play` uses the right answer; else none is made, and a replay does not move on."""
        return False

    def release(self) -> None:
        """Go on with what is held back."""
        self.released.set()

    def play(self, wire: Wire, right: Answer) -> None:
        """Answer on the wire; `right` is what would have been answered."""
        raise NotImplementedError


@dataclass(eq=False)
class Status(Fault):
    """A status code with headers; the body is Kaggle's JSON error unless one is given."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | None = None
    content_type: str | None = "application/json"
    message: str | None = None

    def play(self, wire: Wire, right: Answer) -> None:
        """Answer so."""
        if self.body is None:
            wire.answer(Answer.of_error(self.code, self.message or f"Simulated {self.code}", self.headers))
        else:
            wire.answer(Answer(_bytes(self.body), self.code, self.content_type, self.headers))


@dataclass(eq=False)
class Page(Fault):
    """Any body under any content type, 200 by default: an HTML page, nothing at all, a broken ZIP."""

    body: bytes | str = b""
    content_type: str | None = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def play(self, wire: Wire, right: Answer) -> None:
        """Answer so."""
        wire.answer(Answer(_bytes(self.body), self.status, self.content_type, self.headers))


@dataclass(eq=False)
class Zipped(Fault):
    """A CSV of the test's own, zipped under a member name of its own."""

    csv: bytes | str
    name: str

    def play(self, wire: Wire, right: Answer) -> None:
        """Answer so."""
        wire.answer(Answer(zip_board(_bytes(self.csv), self.name), content_type="application/zip"))


@dataclass(eq=False)
class Redirect(Fault):
    """Somewhere else, as for a download from storage."""

    url: str
    status: int = 302

    def play(self, wire: Wire, right: Answer) -> None:
        """Answer so."""
        wire.answer(Answer(b"", self.status, None, {"Location": self.url}))


@dataclass(eq=False)
class Hold(Fault):
    """The right answer as of the request's arrival, but not before `release()`."""

    @property
    def needs_right(self) -> bool:
        """Whether the right answer is used."""
        return True

    def play(self, wire: Wire, right: Answer) -> None:
        """Wait, then answer."""
        self.released.wait()
        if not wire.closing.is_set():
            wire.answer(right)


@dataclass(eq=False)
class Silent(Fault):
    """Not a byte; the connection is closed at `release()`."""

    def play(self, wire: Wire, right: Answer) -> None:
        """Wait, then close."""
        self.released.wait()
        wire.keep = False


@dataclass(eq=False)
class Half(Fault):
    """Half the body (or of the right one), then the end of the connection.

    Without `declare_length` only the content tells that something is missing; with `reset` the end is a RST.
    """

    body: bytes | None = None
    declare_length: bool = True
    reset: bool = False

    @property
    def needs_right(self) -> bool:
        """Whether the right answer is used."""
        return self.body is None

    def play(self, wire: Wire, right: Answer) -> None:
        """Stop half-way."""
        wire.keep = False
        whole = right if self.body is None else Answer(self.body, content_type="application/zip")
        wire.send(whole.head(keep=False, length=self.declare_length) + whole.body[: len(whole.body) // 2])
        if self.reset:
            wire.reset()


@dataclass(eq=False)
class Drip(Fault):
    """One byte each `interval` seconds, in the body or in the headers; all at once after `release()`."""

    interval: float = 0.05
    headers: bool = False
    body: bytes | None = None

    @property
    def needs_right(self) -> bool:
        """Whether the right answer is used."""
        return self.body is None

    def play(self, wire: Wire, right: Answer) -> None:
        """Send slowly."""
        whole = right if self.body is None else Answer(self.body, content_type="application/zip")
        head = whole.head(keep=wire.keep)
        slow, rest = (head, whole.body) if self.headers else (whole.body, b"")
        if not self.headers:
            wire.send(head)
        for at in range(len(slow)):
            if self.released.is_set() and not wire.closing.is_set():
                wire.send(slow[at:])
                break
            wire.send(slow[at : at + 1])
            self.released.wait(self.interval)
            if wire.closing.is_set():
                wire.keep = False
                return
        wire.send(rest)


@dataclass(eq=False)
class Reset(Fault):
    """RST instead of an answer."""

    def play(self, wire: Wire, right: Answer) -> None:
        """Reset."""
        wire.reset()


@dataclass(slots=True, eq=False)
class _Waiting:
    fault: Fault
    slug: str | None
    method: str | None
    times: int | None


class Faults:
    """The faults in line; the first that matches a request is taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._played: list[Fault] = []

    def put(self, slug: str | None, fault: _F, times: int | None = 1, method: str | None = None) -> _F:
        """Put a fault in line and return it.

        It meets the next `times` requests (None: all, until `clear`) for this slug and method (None: any).
        """
        with self._lock:
            self._waiting.append(_Waiting(fault, slug.lower() if slug is not None else None, method, times))
        return fault

    def hold(self, slug: str | None = None, method: str | None = None) -> Hold:
        """Hold back the next answer until `release()` of what is returned."""
        return self.put(slug, Hold(), method=method)

    def clear(self) -> None:
        """Forget all that still wait."""
        with self._lock:
            self._waiting.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting)

    def take(self, slug: str, method: str) -> Fault | None:
        """The fault that a request meets; for the server."""
        with self._lock:
            for waiting in self._waiting:
                if waiting.slug in (None, slug.lower()) and waiting.method in (None, method):
                    if waiting.times is not None:
                        waiting.times -= 1
                        if waiting.times <= 0:
                            self._waiting.remove(waiting)
                    if waiting.fault not in self._played:
                        self._played.append(waiting.fault)
                    return waiting.fault
        return None

    def release_all(self) -> None:
        """Let go of everything that is held back; for the server when it stops."""
        with self._lock:
            for fault in self._played:
                fault.release()
            self._played.clear()


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body
