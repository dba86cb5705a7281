"""Kaggle's side of the socket: DownloadLeaderboard, GetCompetition and ListCompetitions over real HTTP."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Final, NamedTuple

from pgleaderboard.simulator import catalog
from pgleaderboard.simulator.boards import EPOCH, STEP_SECONDS, SimulatedBoards

_log = logging.getLogger(__name__)

SIMULATED: Final = "X-Simulated-Kaggle"  # a header of every answer, by which our client knows it

# `KaggleEnv.TEST` puts /api before it; any prefix will do.
_RPC: Final = re.compile(r"(?:/.*)?/v1/competitions\.CompetitionApiService/(\w+)")
_SLUG: Final = re.compile(r"(?!unknown-)[a-z0-9][\w-]*", re.ASCII | re.IGNORECASE)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class Answer(NamedTuple):
    """An HTTP answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"

    @classmethod
    def of_error(cls, status: int, message: str) -> Answer:
        """An error as Kaggle sends it."""
        return cls(json.dumps({"code": status, "message": message}).encode(), status)


class Simulator:
    """The simulated Kaggle. It serves from `start()` to `stop()`, or inside a `with` block.

    host, port     the address to listen on; port 0 takes a free port, and keeps it when started again
    clock          tells the time, in UTC without a zone: a step of all boards is 20 seconds of it

    It knows all slugs except those that begin with `unknown-`.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, clock: Callable[[], datetime] = _now) -> None:
        self.host = host
        self.port = port
        self.boards = SimulatedBoards()
        self._clock = clock

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start to serve. Raises OSError if the address cannot be listened on."""
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="kaggle-simulator", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Accept no more connections. The simulator can be started again."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The base URL: requests go to `{url}/v1/competitions.CompetitionApiService/{Method}`."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - to connect to
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def step(self) -> int:
        """The number of steps since the epoch."""
        return (self._clock() - EPOCH) // timedelta(seconds=STEP_SECONDS)

    def download(self, slug: str) -> bytes | None:
        """The ZIP of a board now, None for an unknown slug."""
        return self.boards.download(slug, self.step) if _SLUG.fullmatch(slug) else None

    def respond(self, handler: Handler, method: str, slug: str, answer: Callable[[], Answer]) -> None:
        """Answer a request. A subclass may answer otherwise.

        method: one of Kaggle's, or GET, whose slug is its path. answer: makes the right answer.
        """
        handler.send(answer())

    def answer(self, method: str, slug: str, body: dict[str, Any]) -> Answer:
        """The right answer to a request."""
        match method:
            case "DownloadLeaderboard":
                if board := self.download(slug):
                    return Answer(board, content_type="application/zip")
            case "GetCompetition":
                if _SLUG.fullmatch(slug):
                    return Answer(json.dumps(catalog.competition(slug)).encode())
            case "ListCompetitions":
                return Answer(
                    json.dumps(catalog.search(str(body.get("search") or ""), str(body.get("group") or ""))).encode()
                )
            case _:
                return Answer.of_error(404, f"Unknown method {method}")
        return Answer.of_error(404, f"Competition not found: {slug}")


class _Server(ThreadingTCPServer):
    # Unlike HTTPServer, it does not look up the host's name, which can take seconds.
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        if ":" in simulator.host:
            self.address_family = socket.AF_INET6
        super().__init__((simulator.host, simulator.port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client has ended the connection."""
        _log.debug("connection of %s ended", client_address, exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """A connection."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "kaggle-simulator"
    sys_version = ""
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer one of Kaggle's methods."""
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or b"{}")
            slug = str(body.get("competitionName", ""))
        except (ValueError, AttributeError):
            self.close_connection = True
            self.send(Answer.of_error(400, "The body is not a JSON object"))
            return
        if rpc := _RPC.fullmatch(self.path):
            self._respond(rpc[1], slug, body)
        else:
            self.send(Answer.of_error(404, "Not found"))

    def do_GET(self) -> None:
        """Answer with 404, unless a subclass of the simulator serves the path."""
        self._respond("GET", self.path, {})

    def _respond(self, method: str, slug: str, body: dict[str, Any]) -> None:
        simulator = self.server.simulator
        simulator.respond(self, method, slug, lambda: simulator.answer(method, slug, body))

    def send(self, answer: Answer) -> None:
        """Send an answer."""
        self.send_response_only(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header(SIMULATED, "boards are invented")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Write to the log instead of stderr."""
        _log.debug(format, *args)
