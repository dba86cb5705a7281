"""Kaggle's side of the socket: DownloadLeaderboard, GetCompetition and ListCompetitions over real HTTP."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from pgleaderboard.simulator import catalog
from pgleaderboard.simulator.boards import EPOCH, SimulatedBoards
from pgleaderboard.simulator.folder import FolderBoards

_log = logging.getLogger(__name__)

# `KaggleEnv.TEST` puts /api before it; any prefix will do.
_RPC: Final = re.compile(r"(?:/.*)?/v1/competitions\.CompetitionApiService/(\w+)")
_SLUG: Final = re.compile(r"[a-z0-9][\w-]*", re.ASCII | re.IGNORECASE)
_REQUESTS_KEPT: Final = 10_000
_BODY_AT_MOST: Final = 1 << 20
_STOP_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Its `headers` override the default ones."""

    body: bytes = b""
    status: int = 200
    content_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_error(cls, status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
        """An error as Kaggle sends it."""
        return cls(json.dumps({"code": status, "message": message}).encode(), status, headers=headers or {})

    def head(self, *, keep: bool) -> bytes:
        """Status line and headers. keep: whether the connection stays open."""
        defaults = {
            "Date": format_datetime(datetime.now(UTC), usegmt=True),
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            "Connection": None if keep else "close",
        }
        overridden = {name.lower() for name in self.headers}
        fields = dict(self.headers) | {n: v for n, v in defaults.items() if v and n.lower() not in overridden}
        lines = [f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Request(NamedTuple):
    """A request for one of Kaggle's methods, or a GET, whose slug is its path. time: of `time.monotonic()`."""

    time: float
    method: str
    slug: str
    headers: dict[str, str]


class Boards(Protocol):
    """A source of boards. Its methods return None for an unknown slug."""

    def team_count(self, slug: str, step: int) -> int | None:
        """Ranked teams."""

    def download(self, slug: str, step: int) -> bytes | None:
        """The ZIP."""


class Simulator:
    """The simulated Kaggle. It serves from `start()` to `stop()`, or inside a `with` block.

    host, port     the address to listen on; port 0 takes a free port, and keeps it when started again
    boards_dir     a folder whose ZIPs are served instead of invented boards
    replay         serve a folder's boards from the oldest on, the next one with each download
    speed          seconds until all boards move one step; 0 = only `advance()` moves them
    unknown        slugs that are answered with 404, as are all that begin with `unknown-`
    epoch          the boards' calendar at step 0, UTC; a step is 20 seconds there
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        boards_dir: Path | str | None = None,
        replay: bool = False,
        speed: float = 20.0,
        unknown: Collection[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
        epoch: datetime = EPOCH,
    ) -> None:
        self.host = host
        self.port = port
        self.speed = speed
        self.requests: list[Request] = []
        self.unknown = {slug.lower() for slug in unknown}
        self._folder: FolderBoards | None = None
        if boards_dir is not None:
            if not Path(boards_dir).is_dir():
                raise NotADirectoryError(f"no such folder: {boards_dir}")
            self._folder = FolderBoards(Path(boards_dir), replay=replay)
        self._boards: Boards = self._folder or SimulatedBoards(epoch)
        self._clock = clock
        self._started: float | None = None
        self._by_hand = 0
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start to serve. Raises OSError if the address cannot be listened on."""
        if self._server is not None:
            raise RuntimeError("the simulator is already running")
        server = _Server(self)
        self.port = server.server_address[1]
        if self._started is None:
            self._started = self._clock()
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="kaggle-simulator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close all connections, even those that hang. The simulator can be started again."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self._server = self._thread = None
        server.shutdown()
        server.close_connections()
        server.server_close()
        thread.join(_STOP_SECONDS)

    @property
    def url(self) -> str:
        """The base URL: requests go to `{url}/v1/competitions.CompetitionApiService/{Method}`."""
        if not self.port:
            raise RuntimeError("the simulator has no port before start()")
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - to connect to
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def step(self) -> int:
        """The number of steps that the boards have moved."""
        moved = 0
        if self.speed > 0 and self._started is not None:
            moved = int((self._clock() - self._started) / self.speed)
        return self._by_hand + moved

    def advance(self, steps: int = 1) -> None:
        """Move all boards."""
        with self._lock:
            self._by_hand += steps

    def download(self, slug: str) -> bytes | None:
        """The ZIP of a download now, None for an unknown slug. A replay moves on as after a request."""
        return self._boards.download(slug, self.step) if self._knows(slug) else None

    def _knows(self, slug: str) -> bool:
        name = slug.lower()
        return bool(_SLUG.fullmatch(name)) and name not in self.unknown and not name.startswith("unknown-")

    def respond(self, request: Request, connection: socket.socket, answer: Callable[[], Answer], keep: bool) -> bool:
        """Answer a request. A subclass may answer otherwise.

        answer: makes the right answer. keep: whether the connection should stay open. Returns whether it does.
        """
        right = answer()
        connection.sendall(right.head(keep=keep) + right.body)
        return keep

    def _record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            # `up` runs for months.
            if len(self.requests) > _REQUESTS_KEPT:
                del self.requests[: _REQUESTS_KEPT // 10]

    def _answer(self, method: str, slug: str, body: dict[str, Any]) -> Answer:
        match method:
            case "DownloadLeaderboard":
                board = self.download(slug)
                if board is not None:
                    named = {"Content-Disposition": f'attachment; filename="{slug}.zip"'}
                    return Answer(board, content_type="application/zip", headers=named)
            case "GetCompetition":
                teams = self._boards.team_count(slug, self.step) if self._knows(slug) else None
                if teams is not None:
                    return Answer(json.dumps(catalog.competition(slug, teams)).encode())
            case "ListCompetitions":
                page = catalog.page(self._slugs(), body, self._teams)
                if page is None:
                    return Answer.of_error(400, "Invalid page token")
                return Answer(json.dumps(page).encode())
            case _:
                return Answer.of_error(404, f"Unknown method {method}")
        return Answer.of_error(404, f"Competition not found: {slug}")

    def _slugs(self) -> Sequence[str]:
        slugs = catalog.SLUGS if self._folder is None else self._folder.slugs()
        return [slug for slug in slugs if self._knows(slug)]

    def _teams(self, slug: str) -> int:
        return self._boards.team_count(slug, self.step) or 0


class _Server(ThreadingHTTPServer):
    """Keeps its connections, so that it can end those that hang."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        if ":" in simulator.host:
            self.address_family = socket.AF_INET6
        super().__init__((simulator.host, simulator.port), _Handler)

    def server_bind(self) -> None:
        """Bind without a look-up of the host's name, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, and keep both."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End all connections. Call it when no new ones are accepted any more."""
        with self._lock:
            connections = dict(self._connections)
        until = time.monotonic() + _STOP_SECONDS
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join(max(0.0, until - time.monotonic()))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client or `close_connections` has ended the connection."""
        _log.debug("connection of %s ended", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "kaggle-simulator"
    sys_version = ""
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer one of Kaggle's methods."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > _BODY_AT_MOST:
            self.close_connection = True
            self._send(Answer.of_error(400, "Bad Content-Length"))
            return
        raw = self.rfile.read(int(length))
        rpc = _RPC.fullmatch(self.path)
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._send(Answer.of_error(400, "The body is not a JSON object"))
        elif rpc is None:
            self._send(Answer.of_error(404, "Not found"))
        else:
            self._serve(rpc[1], str(body.get("competitionName", "")), body)

    def do_GET(self) -> None:
        """Answer with 404, unless a subclass of the simulator serves the path."""
        self._serve("GET", self.path, {})

    def _serve(self, method: str, slug: str, body: dict[str, Any]) -> None:
        simulator = self.server.simulator
        request = Request(time.monotonic(), method, slug, dict(self.headers.items()))
        simulator._record(request)
        answer = partial(simulator._answer, method, slug, body)
        self.close_connection = not simulator.respond(request, self.connection, answer, not self.close_connection)

    def _send(self, answer: Answer) -> None:
        self.connection.sendall(answer.head(keep=not self.close_connection) + answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Write to the log instead of stderr."""
        _log.debug(format, *args)
