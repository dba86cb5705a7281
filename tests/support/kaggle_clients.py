"""Kaggle's clients, credentials and servers for the unit tests of pgleaderboard.kaggle."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.kaggle.credential import Credential, find_credential
from pgleaderboard.settings import Settings
from tests.support import kaggle as clients

METHOD = "/v1/competitions.CompetitionApiService/DownloadLeaderboard"


made: list[Kaggle] = []


def make_kaggle(kaggle_url: str, **changes: Any) -> Kaggle:
    """A client whose connections are closed when the test ends."""
    made.append(clients.make_kaggle(kaggle_url, **changes))
    return made[-1]


def found(
    home: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], files: dict[str, str]
) -> Credential | None:
    """The credential that is found with these variables and files; HOME/ in a value is the home folder."""
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("HOME/", f"{home}/"))
    return find_credential(Settings.load())


BASIC = "Basic " + base64.b64encode(b"somebody:geheim").decode()


CREDENTIALS = [
    (Credential("a test", token="geheim"), "Bearer geheim"),
    (Credential("a test", username="somebody", key="geheim"), BASIC),
]


def downloaded(kaggle: Kaggle, slug: str = "titanic") -> bytes:
    """The bytes of one download."""
    into = io.BytesIO()
    kaggle.download_leaderboard(slug, into)
    return into.getvalue()


class Raw:
    """A server of a few lines for what the simulator cannot do.

    Each request is answered by `answer(connection, number of the request)`; afterwards the connection stays open.
    """

    def __init__(self, answer: Callable[[socket.socket, int], None]) -> None:
        self.connections = 0
        self.requests = 0
        self.asked: list[tuple[str, str | None]] = []  # Kaggle's method and the value of Authorization
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                method = line.split()[1].rpartition(b"/")[2].decode()
                headers = http.client.parse_headers(lines)
                lines.read(int(headers.get("Content-Length", "0")))
                self.asked.append((method, headers["Authorization"]))
                self.requests += 1
                self._answer(connection, self.requests)

    def close(self) -> None:
        """End everything and wait for it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@contextmanager
def raw(answer: Callable[[socket.socket, int], None]) -> Iterator[Raw]:
    """A raw server for the length of a block."""
    server = Raw(answer)
    try:
        yield server
    finally:
        server.close()


def whole(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An answer with its length."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def oauth(home: Path, monkeypatch: pytest.MonkeyPatch, access_token: str) -> Credential:
    """The credential of a file whose access token seems good for an hour."""
    until = datetime.now(UTC) + timedelta(hours=1)
    stored = {
        "refresh_token": "refresh",
        "access_token": access_token,
        "access_token_expiration": until.isoformat(),
    }
    credential = found(home, monkeypatch, {}, {".kaggle/credentials.json": json.dumps(stored)})
    assert credential is not None
    return credential
