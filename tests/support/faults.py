"""Wrong answers of the simulator, down to the raw socket.

simulator.faults.put("titanic", Status(429, {"Retry-After": "7"}))
gate = simulator.faults.hold("titanic")
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import formatdate
from functools import partial
from http.client import responses
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from pgleaderboard.simulator import server
from pgleaderboard.simulator.boards import EPOCH, STEP_SECONDS, zip_board
from tests.support.folder import FolderBoards

_F = TypeVar("_F", bound="Fault")
_SIGNED = re.compile(r"/signed/([\w-]+)\.zip(\?.*)?")
_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Its `headers` override the default ones; None leaves one out."""

    body: bytes = b""
    status: int = 200
    content_type: str | None = "application/json"
    headers: Mapping[str, str | None] = field(default_factory=dict)

    def head(self, *, keep: bool) -> bytes:
        """Status line and headers. keep: whether the connection stays open."""
        defaults = {
            "Date": formatdate(usegmt=True),
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            "Connection": None if keep else "close",
            server.SIMULATED: "boards are invented",
        }
        overridden = {name.lower() for name in self.headers}
        fields = dict(self.headers) | {n: v for n, v in defaults.items() if v and n.lower() not in overridden}
        lines = [f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Request(NamedTuple):
    """A request for one of Kaggle's methods, or a GET, whose slug is its path."""

    method: str
    slug: str
    headers: dict[str, str]


class Simulator(server.Simulator):
    """A simulator with a queue of faults: a request plays the first fault that matches it.

    auth_required: the only value of Authorization that is accepted, None = any. boards_dir, replay: as for
    `FolderBoards`. requests: a log of all requests. Its boards stand still until they are advanced.
    """

    def __init__(
        self,
        auth_required: str | None = None,
        boards_dir: Path | None = None,
        replay: bool = False,
        **options: Any,
    ) -> None:
        self._advanced = 0
        super().__init__(**{"clock": self._still} | options)
        if boards_dir is not None:
            self.boards = FolderBoards(boards_dir, replay=replay)
        self.auth_required = auth_required
        self.faults = Faults()
        self.requests: list[Request] = []
        self._connections: WeakKeyDictionary[socket.socket, threading.Thread] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> None:
        """As above; faults hold requests back again after a stop."""
        self._stopping = threading.Event()
        super().start()

    def stop(self) -> None:
        """As above; ends all connections. Requests that a fault holds back are never answered."""
        self._stopping.set()
        self.faults.release_all()
        super().stop()
        with self._lock:
            connections = dict(self._connections)
        until = time.monotonic() + _STOP_SECONDS
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join(max(0.0, until - time.monotonic()))

    def _still(self) -> datetime:
        """A clock that stands but for `advance`."""
        return EPOCH + timedelta(seconds=self._advanced * STEP_SECONDS)

    def advance(self, steps: int = 1) -> None:
        """Move all boards."""
        self._advanced += steps

    def signed_url(self, slug: str) -> str:
        """The URL at which GET serves the board without a credential, as storage does."""
        return f"{self.url}/signed/{slug}.zip"

    def respond(self, handler: server.Handler, method: str, slug: str, answer: Callable[[], server.Answer]) -> None:
        """Play a fault if one matches."""
        with self._lock:
            self._connections[handler.connection] = threading.current_thread()
        self.requests.append(Request(method, slug, dict(handler.headers.items())))
        if method == "GET" and (signed := _SIGNED.fullmatch(slug)):
            slug = signed[1]
            answer = partial(server.Answer, self.download(slug) or b"", content_type="application/zip")
        elif self.auth_required not in (None, handler.headers.get("Authorization")):
            answer = partial(server.Answer.of_error, 401, "Unauthenticated")
        fault = self.faults.take(slug, method)
        if fault is None:
            super().respond(handler, method, slug, answer)
            return
        wire = Wire(handler.connection, self._stopping, keep=not handler.close_connection)
        right = Answer(*answer()) if fault.needs_right else Answer()
        fault.arrived.set()
        if wire.closing.is_set():  # too late for release_all
            wire.keep = False
        else:
            fault.play(wire, right)
        handler.close_connection = not wire.keep


class Wire:
    """The server's end of a connection during one request."""

    def __init__(self, connection: socket.socket, closing: threading.Event, *, keep: bool) -> None:
        self.keep = keep
        self.closing = closing  # set when the server stops: nothing is answered any more
        self._connection = connection

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._connection.sendall(data)

    def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        self.send(answer.head(keep=self.keep) + answer.body)

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        self.keep = False
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Detached, because http.server would shut the connection down first.
        os.close(self._connection.detach())


@dataclass(kw_only=True, eq=False)
class Fault:
    """A wrong answer, or none.

    `arrived` is set when a request has come. `release()` continues what the fault holds back; so does a stop.
    """

    arrived: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    released: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    @property
    def needs_right(self) -> bool:
        """Whether `play` uses the right answer. If not, none is made, and a replay does not move on."""
        return False

    def release(self) -> None:
        """Continue what is held back."""
        self.released.set()

    def play(self, wire: Wire, right: Answer) -> None:
        """Answer on the wire. right: the right answer."""
        raise NotImplementedError


@dataclass(eq=False)
class Status(Fault):
    """A status code with headers. The body is Kaggle's JSON error by default."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | None = None
    content_type: str | None = "application/json"
    message: str | None = None

    def play(self, wire: Wire, right: Answer) -> None:
        """Answer."""
        if self.body is None:
            error = {"code": self.code, "message": self.message or f"Simulated {self.code}"}
            wire.answer(Answer(json.dumps(error).encode(), self.code, headers=self.headers))
        else:
            wire.answer(Answer(_bytes(self.body), self.code, self.content_type, self.headers))


@dataclass(eq=False)
class Page(Fault):
    """Any body of any content type, with status 200 by default: an HTML page, an empty body, a broken ZIP."""

    body: bytes | str = b""
    content_type: str | None = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=dict)

    def play(self, wire: Wire, right: Answer) -> None:
        """Answer."""
        wire.answer(Answer(_bytes(self.body), self.status, self.content_type, self.headers))


@dataclass(eq=False)
class Zipped(Fault):
    """A ZIP with a CSV and a member name of the test's own."""

    csv: bytes | str
    name: str

    def play(self, wire: Wire, right: Answer) -> None:
        """Answer."""
        wire.answer(Answer(zip_board(_bytes(self.csv), self.name), content_type="application/zip"))


@dataclass(eq=False)
class Redirect(Fault):
    """A redirect, as for a download from storage."""

    url: str
    status: int = 302

    def play(self, wire: Wire, right: Answer) -> None:
        """Answer."""
        wire.answer(Answer(b"", self.status, None, {"Location": self.url}))


@dataclass(eq=False)
class Hold(Fault):
    """The right answer as of the request's arrival, sent after `release()`."""

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
    """No answer; the connection is closed at `release()`."""

    def play(self, wire: Wire, right: Answer) -> None:
        """Wait, then close."""
        self.released.wait()
        wire.keep = False


@dataclass(eq=False)
class Half(Fault):
    """Half of a body (by default of the right one), then the end of the connection.

    declare_length: send Content-Length; without it only the content shows that half is missing.
    reset: end with RST instead of FIN.
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
        head = whole.head(keep=False)
        if not self.declare_length:
            head = head.replace(f"Content-Length: {len(whole.body)}\r\n".encode(), b"")
        wire.send(head + whole.body[: len(whole.body) // 2])
        if self.reset:
            wire.reset()


@dataclass(eq=False)
class Drip(Fault):
    """One byte every `interval` seconds, in the body or in the headers; the rest at once after `release()`."""

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
        """Reset the connection."""
        wire.reset()


@dataclass(slots=True, eq=False)
class _Waiting:
    fault: Fault
    slug: str | None
    method: str | None
    times: int | None


class Faults:
    """A queue of faults: a request takes the first one that matches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._played: list[Fault] = []

    def put(self, slug: str | None, fault: _F, times: int | None = 1, method: str | None = None) -> _F:
        """Append a fault, and return it.

        It is for the next `times` requests (None: all, until `clear`) for this slug and method (None: any).
        """
        with self._lock:
            self._waiting.append(_Waiting(fault, slug.lower() if slug is not None else None, method, times))
        return fault

    def hold(self, slug: str | None = None, method: str | None = None) -> Hold:
        """Hold the next answer back until `release()` of the returned fault."""
        return self.put(slug, Hold(), method=method)

    def clear(self) -> None:
        """Remove all faults from the queue."""
        with self._lock:
            self._waiting.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting)

    def take(self, slug: str, method: str) -> Fault | None:
        """The fault that a request plays, None if there is none."""
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
        """Release all faults that were played."""
        with self._lock:
            for fault in self._played:
                fault.release()
            self._played.clear()


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body
