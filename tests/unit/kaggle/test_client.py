"""Kaggle's side: which credential, where it is sent, and how long anything may take."""

from __future__ import annotations

import base64
import gc
import http.client
import io
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from urllib3.util import connection as urllib3_connection

from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient
from pgleaderboard.kaggle.client import Credential, Description, Kaggle, find_credential, retry_after
from pgleaderboard.settings import Settings
from pgleaderboard.simulator import Drip, Half, Page, Redirect, Reset, Silent, Simulator, Status
from pgleaderboard.simulator.catalog import competition
from tests.support import kaggle as clients
from tests.support.kaggle import close

METHOD = "/v1/competitions.CompetitionApiService/DownloadLeaderboard"
KAGGLE_JSON = '{"username": "file-user", "key": "file-key"}'
OAUTH = '{"refresh_token": "oauth-refresh", "access_token": "oauth-access"}'


_made: list[Kaggle] = []


def make_kaggle(kaggle_url: str, **changes: Any) -> Kaggle:
    """A client whose connections are closed when the test ends."""
    _made.append(clients.make_kaggle(kaggle_url, **changes))
    return _made[-1]


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    while _made:
        close(_made.pop())


# Which credential


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, which is also where the program runs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


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


def shown(credential: Credential | None) -> str | None:
    """Which one it is."""
    if credential is None:
        return None
    if credential.oauth_file:
        return f"oauth {credential.oauth_file.name}"
    return credential.token or f"{credential.username}:{credential.key}"


USER = {"KAGGLE_USERNAME": "env-user", "KAGGLE_KEY": "env-key"}
EVERYWHERE = {
    ".kaggle/access_token": "file-token\n",
    ".kaggle/kaggle.json": KAGGLE_JSON,
    ".kaggle/credentials.json": OAUTH,
}
WITHOUT_TOKEN = {name: content for name, content in EVERYWHERE.items() if "token" not in name}
OTHER_JSON = '{"username": "other", "key": "other-key"}'

PRECEDENCE: dict[str, tuple[dict[str, str], dict[str, str], str | None]] = {
    "nothing anywhere": ({}, {}, None),
    "the variable wins over everything": ({"KAGGLE_API_TOKEN": "env-token", **USER}, EVERYWHERE, "env-token"),
    "the variable may name a file": ({"KAGGLE_API_TOKEN": "HOME/secret"}, {"secret": " in-file\n"}, "in-file"),
    "a path that is no file is a token": ({"KAGGLE_API_TOKEN": "HOME/none"}, {}, "HOME/none"),
    "a token may be long": ({"KAGGLE_API_TOKEN": "ey" + "J" * 900}, {}, "ey" + "J" * 900),
    "a token may be very long": ({"KAGGLE_API_TOKEN": "x" * 9000}, {}, "x" * 9000),
    "an empty variable is none": ({"KAGGLE_API_TOKEN": ""}, WITHOUT_TOKEN, "file-user:file-key"),
    "an empty file is none": ({"KAGGLE_API_TOKEN": "HOME/e"}, {"e": "\n", **WITHOUT_TOKEN}, "file-user:file-key"),
    "the token file wins over user and key": (USER, EVERYWHERE, "file-token"),
    "the token file may end in .txt": (USER, {".kaggle/access_token.txt": "txt-token"}, "txt-token"),
    "an empty token file is none": (USER, {".kaggle/access_token": " \n"}, "env-user:env-key"),
    "user and key win over kaggle.json": (USER, WITHOUT_TOKEN, "env-user:env-key"),
    "a user without a key is none": ({"KAGGLE_USERNAME": "u"}, WITHOUT_TOKEN, "file-user:file-key"),
    "kaggle.json wins over OAuth": ({}, WITHOUT_TOKEN, "file-user:file-key"),
    "OAuth comes last": ({}, {".kaggle/credentials.json": OAUTH}, "oauth credentials.json"),
    "a folder of one's own": (
        {"KAGGLE_CONFIG_DIR": "HOME/own"},
        {"own/kaggle.json": OTHER_JSON, ".kaggle/kaggle.json": KAGGLE_JSON},
        "other:other-key",
    ),
    "XDG's folder": ({"XDG_CONFIG_HOME": "HOME/xdg"}, {"xdg/kaggle/kaggle.json": OTHER_JSON}, "other:other-key"),
    "XDG's default folder": ({}, {".config/kaggle/kaggle.json": OTHER_JSON}, "other:other-key"),
    "XDG's folder only where ~/.kaggle is missing": (
        {},
        {".config/kaggle/kaggle.json": OTHER_JSON, ".kaggle/other": ""},
        None,
    ),
    "XDG's folder never instead of one's own": (
        {"KAGGLE_CONFIG_DIR": "HOME/own"},
        {".config/kaggle/kaggle.json": OTHER_JSON},
        None,
    ),
    ".env counts": ({}, {".env": "KAGGLE_API_TOKEN=dot-token\n"}, "dot-token"),
    ".env may name a user and a key": ({}, {".env": "KAGGLE_USERNAME=u\nKAGGLE_KEY='k e'\n"}, "u:k e"),
    "the environment wins over .env": (
        {"KAGGLE_API_TOKEN": "env-token"},
        {".env": "KAGGLE_API_TOKEN=dot-token"},
        "env-token",
    ),
}


@pytest.mark.parametrize(("environment", "files", "expected"), PRECEDENCE.values(), ids=PRECEDENCE)
def test_credentials_are_looked_for_in_kaggle_s_own_order(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    files: dict[str, str],
    expected: str | None,
) -> None:
    """Whoever has set up Kaggle's own client has set up this one, with the same credential."""
    credential = found(home, monkeypatch, environment, files)
    assert shown(credential) == (expected.replace("HOME/", f"{home}/") if expected else None)


@pytest.mark.parametrize(("environment", "files", "expected"), PRECEDENCE.values(), ids=PRECEDENCE)
def test_no_secret_shows_where_a_credential_is_printed(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    files: dict[str, str],
    expected: str | None,
) -> None:
    """Neither the credential's repr nor its fingerprint, nor that of the settings or the client gives it away."""
    credential = found(home, monkeypatch, environment, files)
    if credential is None:
        return
    kaggle = make_kaggle("http://127.0.0.1:9", credential=credential)
    printed = f"{credential!r} {credential} {credential.fingerprint} {Settings.load()!r} {kaggle!r}"
    secrets = [credential.token, credential.key, "oauth-refresh", "oauth-access"]
    if expected != "HOME/none":  # a mistyped path is no secret; its folder is in the other settings
        assert not [secret for secret in secrets if secret and secret in printed]
    assert len(credential.fingerprint) == 16


def test_fingerprints_tell_credentials_apart() -> None:
    """Another token, key or user is another credential; the same one from another place is the same."""
    given = [
        Credential("a", token="one"),
        Credential("a", token="two"),
        Credential("a", username="one", key="two"),
        Credential("a", username="one", key="one"),
        Credential("a", username="two", key="two"),
    ]
    assert len({each.fingerprint for each in given}) == len(given)
    assert Credential("elsewhere", token="one").fingerprint == given[0].fingerprint
    assert Kaggle("http://127.0.0.1:9", None, timeout=1, deadline=1, limit=1).fingerprint == ""


def test_a_new_access_token_makes_no_other_credential(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget and a pause are kept by fingerprint: they outlive the renewal of a token, not another login."""

    def fingerprint(refresh_token: str, access_token: str) -> str:
        stored = json.dumps({"refresh_token": refresh_token, "access_token": access_token})
        credential = found(home, monkeypatch, {}, {".kaggle/credentials.json": stored})
        assert credential is not None
        return credential.fingerprint

    first = fingerprint("refresh", "one")
    assert fingerprint("refresh", "two") == first
    assert fingerprint("another", "two") != first


def test_an_oauth_file_that_vanishes_is_named(
    simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fingerprint stays what it was; the next request that needs the file says what to do."""
    kaggle = make_kaggle(simulator.url, credential=found(home, monkeypatch, {}, {".kaggle/credentials.json": OAUTH}))
    before = kaggle.fingerprint
    (home / ".kaggle/credentials.json").unlink()

    assert kaggle.fingerprint == before
    with pytest.raises(NeedsPerson, match=r"\.kaggle/credentials\.json: run `kaggle auth login` again"):
        downloaded(kaggle)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfegeheim", b'"geheim"', b'{"access_token": "geheim"}', b'{"refresh_token": ["geheim"]}'],
)
def test_a_broken_oauth_file_is_named_and_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """As kaggle.json is."""
    (home / ".kaggle").mkdir()
    (home / ".kaggle/credentials.json").write_bytes(content)

    with pytest.raises(NeedsPerson, match=r"\.kaggle/credentials\.json: run `kaggle auth login` again") as caught:
        find_credential(Settings.load())

    assert "geheim" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "content",
    [
        b'{"username": "somebody", "key": "geheim"',
        b"geheim",
        b'["geheim"]',
        b'"geheim"',
        b'{"username": "geheim"}',
        b'{"key": "geheim"}',
        b"",
        b"\xff\xfegeheim",
        b'{"username": "somebody", "key": null, "note": "geheim"}',
        b'{"username": "", "key": "", "note": "geheim"}',
        b'{"username": ["geheim"], "key": {"geheim": 1}}',
    ],
)
def test_a_broken_kaggle_json_is_named_and_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """One line with the file's name; what stands in it is shown nowhere, not in a traceback either."""
    (home / ".kaggle").mkdir()
    (home / ".kaggle/kaggle.json").write_bytes(content)

    with pytest.raises(NeedsPerson) as caught:
        find_credential(Settings.load())

    assert str(home / ".kaggle/kaggle.json") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "geheim" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def test_without_a_credential_nothing_is_sent(simulator: Simulator) -> None:
    """The message names every way to give one."""
    kaggle = make_kaggle(simulator.url, credential=None)
    for ask in (lambda: kaggle.describe("titanic"), lambda: kaggle.download_leaderboard("titanic", io.BytesIO())):
        with pytest.raises(NeedsPerson) as caught:
            ask()
        assert all(name in str(caught.value) for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "kaggle.json"))
    assert simulator.requests == []


# Where it is sent

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


@pytest.mark.parametrize(("credential", "header"), CREDENTIALS, ids=["Bearer", "Basic"])
def test_each_kind_of_credential_is_sent_as_kaggle_wants_it(
    simulator: Simulator, credential: Credential, header: str
) -> None:
    """A token as Bearer, a key as Basic; for the board and for the metadata, under our own name."""
    simulator.auth_required = header
    kaggle = make_kaggle(simulator.url, credential=credential)

    assert downloaded(kaggle) == simulator.download("titanic")
    assert kaggle.describe("titanic").title == "Titanic (simulated)"

    assert [request.headers["Authorization"] for request in simulator.requests] == [header] * 2
    assert all(request.headers["User-Agent"].startswith("pgleaderboard/") for request in simulator.requests)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("credential", "header"), CREDENTIALS, ids=["Bearer", "Basic"])
def test_a_redirect_to_another_host_never_carries_the_credential(
    simulator: Simulator, credential: Credential, header: str, status: int
) -> None:
    """Kaggle redirects downloads to storage elsewhere: the board comes, the credential stays."""
    with Simulator(speed=0) as storage:
        target = storage.signed_url("titanic") if status < 307 else storage.url + METHOD  # 307 and 308 keep the POST
        simulator.faults.put("titanic", Redirect(target, status))
        kaggle = make_kaggle(simulator.url, credential=credential)

        assert downloaded(kaggle) == simulator.download("titanic")

        (first,) = simulator.requests
        (second,) = storage.requests
    assert first.headers["Authorization"] == header
    assert "Authorization" not in second.headers
    assert "geheim" not in str(second.headers)


def test_redirects_without_end_are_given_up(simulator: Simulator) -> None:
    """A circle passes by itself, one hopes."""
    simulator.faults.put(None, Redirect(simulator.signed_url("titanic")), times=None)
    with pytest.raises(Transient, match="redirected too often"):
        downloaded(make_kaggle(simulator.url))


# How long it may take


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


_dripped_to_the_end: list[bytes] = []


def drip(connection: socket.socket, head: bytes) -> None:
    """A head, then a byte each 50 ms until somebody ends the connection, for 20 seconds at most."""
    connection.sendall(head)
    for _ in range(400):
        connection.sendall(b"x")
        time.sleep(0.05)
    _dripped_to_the_end.append(head)
    connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def _nobody_waits_for_the_end_of_a_drip() -> Iterator[None]:
    yield
    heard, _dripped_to_the_end[:] = _dripped_to_the_end[:], []
    assert heard == [], "the connection was not cut at the deadline"


DRIPS = {
    "in the body": b"HTTP/1.1 200 OK\r\nContent-Type: application/zip\r\nContent-Length: 100000\r\n\r\n",
    "in a body without a length": b"HTTP/1.1 200 OK\r\nContent-Type: application/zip\r\nConnection: close\r\n\r\n",
    "in the headers": b"HTTP/1.1 200 OK\r\nX-Drip: ",
    "in the status line": b"HTTP/1.1 200 ",
    "in the page of an error": b"HTTP/1.1 503 Busy\r\nContent-Type: text/html\r\nContent-Length: 100000\r\n\r\n",
    "in the JSON of an error": b"HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
    "in JSON": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
}


@pytest.mark.parametrize("head", DRIPS.values(), ids=DRIPS)
def test_a_drip_is_given_up_at_the_deadline(head: bytes) -> None:
    """A byte now and then keeps every time-out from striking; the deadline holds for the whole request."""
    with raw(lambda connection, _: drip(connection, head)) as server:
        kaggle = make_kaggle(server.url, deadline=0.4)
        with pytest.raises(Transient, match=r"did not finish within 0\.4 s"):
            downloaded(kaggle)


def test_a_drip_of_metadata_is_given_up_at_the_deadline() -> None:
    """The same holds for what is asked beside the board."""
    with raw(lambda connection, _: drip(connection, DRIPS["in the JSON of an error"])) as server:
        kaggle = make_kaggle(server.url, deadline=0.4)
        with pytest.raises(Transient, match=r"did not finish within 0\.4 s"):
            kaggle.describe("titanic")


@pytest.mark.parametrize("fault", [Drip(), Drip(headers=True)], ids=["body", "headers"])
def test_a_board_that_drips_is_given_up_at_the_deadline(simulator: Simulator, fault: Drip) -> None:
    """As above, with a real board; the connection is not used again, and the next request succeeds."""
    simulator.faults.put("simulated-3-teams", fault)
    kaggle = make_kaggle(simulator.url, deadline=0.4)
    with pytest.raises(Transient, match=r"did not finish within 0\.4 s"):
        downloaded(kaggle, "simulated-3-teams")
    assert downloaded(make_kaggle(simulator.url), "simulated-3-teams") == simulator.download("simulated-3-teams")


def test_a_redirect_does_not_begin_the_deadline_anew(simulator: Simulator) -> None:
    """Storage that drips is given up like Kaggle itself."""
    with raw(lambda connection, _: drip(connection, DRIPS["in the body"])) as storage:
        simulator.faults.put("titanic", Redirect(f"{storage.url}/x.zip"))
        with pytest.raises(Transient, match=r"did not finish within 0\.5 s"):
            downloaded(make_kaggle(simulator.url, deadline=0.5))


def test_a_silent_server_is_given_up_at_the_time_out(simulator: Simulator) -> None:
    """Not a byte for as long as PGLEADERBOARD_HTTP_TIMEOUT says."""
    simulator.faults.put("titanic", Silent())
    with pytest.raises(Transient, match=r"did not answer for 0\.3 s"):
        downloaded(make_kaggle(simulator.url, timeout=0.3))


def test_silence_amid_a_body_is_given_up_at_the_time_out() -> None:
    """The time-out counts from the last byte, wherever it was."""
    stopped = threading.Event()

    def stall(connection: socket.socket, _: int) -> None:
        connection.sendall(DRIPS["in the body"] + b"PK")
        stopped.wait()

    with raw(stall) as server:
        with pytest.raises(Transient, match=r"did not answer for 0\.3 s"):
            downloaded(make_kaggle(server.url, timeout=0.3))
        stopped.set()


def test_a_silent_server_is_given_up_at_the_deadline_if_that_comes_first(simulator: Simulator) -> None:
    """The deadline is the last word."""
    simulator.faults.put("titanic", Silent())
    with pytest.raises(Transient, match=r"did not finish within 0\.3 s"):
        downloaded(make_kaggle(simulator.url, deadline=0.3))


@pytest.mark.parametrize("addresses", [1, 3])
def test_connecting_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch, addresses: int) -> None:
    """A host that takes no connection gets no more time than is left, all its addresses together."""
    waits: list[float] = []
    connect, look_up = urllib3_connection.create_connection, socket.getaddrinfo

    def recorded(address: Any, timeout: float, **options: Any) -> socket.socket:
        waits.append(timeout)
        return connect(address, timeout, **options)

    monkeypatch.setattr(urllib3_connection, "create_connection", recorded)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked: look_up(*asked) * addresses)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        kaggle = make_kaggle(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=2, deadline=0.4)
        with pytest.raises(Transient, match=r"did not finish within 0\.4 s"):
            downloaded(kaggle)

    (wait,) = waits
    assert 0 < wait * addresses <= 0.4


def test_connecting_is_given_up_at_the_time_out_if_that_comes_first() -> None:
    """A long deadline makes nobody more patient."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        kaggle = make_kaggle(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=0.2)
        with pytest.raises(Transient, match=r"did not answer for 0\.2 s"):
            downloaded(kaggle)


def test_a_line_that_was_cut_is_not_used_again() -> None:
    """The next request goes over a new connection, which then serves those after it."""

    def first_drips(connection: socket.socket, number: int) -> None:
        if number == 1:
            drip(connection, DRIPS["in the body"])
        else:
            connection.sendall(whole(b"board"))

    with raw(first_drips) as server:
        kaggle = make_kaggle(server.url, deadline=0.4)
        with pytest.raises(Transient):
            downloaded(kaggle)
        patient = [downloaded(kaggle) for _ in range(3)]
        assert patient == [b"board"] * 3
        assert server.connections == 2


def test_connections_are_used_again() -> None:
    """Ten requests one after the other are one connection: TLS is not made anew for each."""
    with raw(lambda connection, _: connection.sendall(whole(b"board"))) as server:
        kaggle = make_kaggle(server.url)
        assert [downloaded(kaggle) for _ in range(10)] == [b"board"] * 10
        assert (server.requests, server.connections) == (10, 1)


def test_a_connection_that_the_server_closed_is_made_anew() -> None:
    """Between two syncs lie minutes: Kaggle closes the idle connection, and nobody notices."""

    def answer_and_close(connection: socket.socket, _: int) -> None:
        connection.sendall(whole(b"board"))
        connection.shutdown(socket.SHUT_RDWR)

    with raw(answer_and_close) as server:
        kaggle = make_kaggle(server.url)
        for number in range(1, 4):
            assert downloaded(kaggle) == b"board"
            assert server.connections == number
            until(lambda: kaggle._idle[0]._wires._copies[-1].recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that comes at any moment now."""
    deadline = time.monotonic() + 10
    while True:
        with suppress(BlockingIOError):
            if holds():
                return
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def test_many_threads_share_one_client(simulator: Simulator) -> None:
    """Each gets its own answer, whatever the others do."""
    slugs = [f"simulated-{teams}-teams" for teams in range(1, 9)] * 5
    kaggle = make_kaggle(simulator.url)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda slug: downloaded(kaggle, slug), slugs))
    assert answers == [simulator.download(slug) for slug in slugs]


def test_no_thread_and_no_socket_is_left_behind(simulator: Simulator) -> None:
    """After a failure of every kind as many are open as before."""
    kaggle = make_kaggle(simulator.url, timeout=0.2, deadline=0.3)
    patient = make_kaggle(simulator.url)

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    downloaded(patient)
    before = held()
    for _ in range(3):
        for fault in (
            Status(500),
            Status(503, body="<html>", content_type="text/html"),
            Status(429, {"Retry-After": "7"}),
            Reset(),
            Half(),
            Half(reset=True),
            Half(declare_length=False, body=b""),
            Page("<html>"),
            Page(b""),
            Redirect(f"{simulator.url}/nowhere"),
            Silent(),
            Drip(),
        ):
            simulator.faults.put("titanic", fault)
            with pytest.raises(PgleaderboardError):
                downloaded(kaggle if isinstance(fault, Silent | Drip) else patient)
            fault.release()
    with pytest.raises(NeedsPerson, match="exceeds"):
        downloaded(make_kaggle(simulator.url, limit=100))
    downloaded(patient)

    until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))


def test_a_client_that_nobody_needs_any_more_closes_its_connections(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python has nothing to complain about when it is thrown away."""
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    kaggle = clients.make_kaggle(simulator.url)
    downloaded(kaggle)
    until(lambda: not any(isinstance(thread, threading.Timer) for thread in threading.enumerate()))
    gc.collect()
    complaints.clear()  # others'
    del kaggle
    gc.collect()
    assert [str(each.exc_value) for each in complaints] == []


# A token that is renewed

REFUSED = whole(b'{"code": 401, "message": "Unauthenticated"}', "401 Unauthorized", Content_Type="application/json")
RENEWED = whole(b'{"token": "second", "expiresIn": 43200}', Content_Type="application/json")


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


@contextmanager
def answering(*answers: bytes) -> Iterator[Raw]:
    """A server that gives these answers one after the other."""
    with raw(lambda connection, number: connection.sendall(answers[number - 1])) as server:
        yield server


def test_an_access_token_that_expired_is_renewed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that has worked for hours asks for a new token when Kaggle refuses the old one, and then again."""
    with answering(whole(b"board"), REFUSED, RENEWED, whole(b"board"), whole(b"board")) as server:
        kaggle = make_kaggle(server.url, credential=oauth(home, monkeypatch, "first"))
        assert [downloaded(kaggle) for _ in range(3)] == [b"board"] * 3

    assert server.asked == [
        ("DownloadLeaderboard", "Bearer first"),
        ("DownloadLeaderboard", "Bearer first"),
        ("GenerateAccessToken", None),
        ("DownloadLeaderboard", "Bearer second"),
        ("DownloadLeaderboard", "Bearer second"),
    ]
    assert json.loads((home / ".kaggle/credentials.json").read_text())["access_token"] == "second"


def test_a_token_that_somebody_else_renewed_is_taken_from_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection learns by itself that the token expired; one of them asks for a new one."""
    with answering(whole(b"board"), REFUSED, whole(b"board")) as server:
        kaggle = make_kaggle(server.url, credential=oauth(home, monkeypatch, "first"))
        downloaded(kaggle)
        oauth(home, monkeypatch, "second")
        assert downloaded(kaggle) == b"board"

    assert [authorization for _, authorization in server.asked] == ["Bearer first", "Bearer first", "Bearer second"]


def test_a_new_token_that_is_refused_needs_a_person(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One renewal, one more request, and that is all."""
    with answering(REFUSED, RENEWED, REFUSED) as server:
        kaggle = make_kaggle(server.url, credential=oauth(home, monkeypatch, "first"))
        with pytest.raises(NeedsPerson, match="401"):
            downloaded(kaggle)

    assert len(server.asked) == 3


def test_a_token_that_cannot_be_renewed_is_asked_with_once(simulator: Simulator) -> None:
    """Without an OAuth file a 401 needs a person at once."""
    simulator.auth_required = "Bearer another"
    with pytest.raises(NeedsPerson, match="401"):
        downloaded(make_kaggle(simulator.url))
    assert len(simulator.requests) == 1


# What it says


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("7", timedelta(seconds=7)),
        (" 7 ", timedelta(seconds=7)),
        ("0", timedelta(0)),
        ("86400", timedelta(days=1)),
        ("86401", None),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("1e3", None),
        ("NaN", None),
        ("9" * 30, None),
        ("9" * 5000, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", timedelta(0)),
        ("Wed, 21 Oct 9999 07:28:00 GMT", None),
        ("Wed, 32 Oct 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 07:28:00 +" + "9" * 20, None),
        ("Wed, 21 Oct 2026 07:28:00", None),
        ("Mon, (", None),
    ],
)
def test_every_form_of_retry_after(header: str | None, expected: timedelta | None) -> None:
    """Seconds or a date; what is missing, negative, nonsense or more than a day is as good as nothing."""
    assert retry_after(header) == expected


def test_a_date_in_retry_after_counts_from_now() -> None:
    """A moment in two minutes is a pause of at most two minutes."""
    pause = retry_after(format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True))
    assert pause is not None
    assert timedelta(0) < pause <= timedelta(minutes=2)


def test_a_date_in_another_zone_is_the_same_moment() -> None:
    """As RFC 9110 wants it, and as it comes."""
    moment = datetime.now(UTC) + timedelta(hours=2)
    shifted = moment.strftime("%a, %d %b %Y %H:%M:%S ") + "+0000"
    pause = retry_after(shifted)
    assert pause is not None
    assert timedelta(hours=1) < pause <= timedelta(hours=2)


@pytest.mark.parametrize("slug", ["titanic", "orbit-wars", "Stat101-Spring2026"])
def test_describe_maps_what_kaggle_says(simulator: Simulator, slug: str) -> None:
    """Title, text, dates (UTC), metric and the daily limit, each where it belongs."""
    said = make_kaggle(simulator.url).describe(slug)

    real = competition(slug, 0)
    assert (said.title, said.description) == (real["title"], real["description"])
    assert (said.evaluation_metric, said.max_daily_submissions) == (real["evaluationMetric"], 5)
    assert said.deadline == datetime.fromisoformat(real["deadline"])
    assert said.enabled_date == datetime.fromisoformat(real["enabledDate"])
    assert said.deadline is not None
    assert said.deadline.utcoffset() == timedelta(0)


def answered(simulator: Simulator, answer: Any) -> Any:
    """What `describe` makes of this JSON."""
    simulator.faults.put("titanic", Page(json.dumps(answer), content_type="application/json"))
    return make_kaggle(simulator.url).describe("titanic")


def test_describe_says_nothing_where_kaggle_says_nothing(simulator: Simulator) -> None:
    """Fields that are missing or empty are None; NUL, which PostgreSQL cannot hold, is replaced."""
    said = answered(simulator, {"title": "a\0b", "description": "", "maxDailySubmissions": 0})
    assert (said.title, said.description, said.enabled_date) == ("a\ufffdb", None, None)
    assert (said.deadline, said.evaluation_metric, said.max_daily_submissions) == (None, None, None)


@pytest.mark.parametrize("answer", [7, None, {"deadline": "tomorrow"}, {"title": 7}, {"code": "x"}, {"title": ["a"]}])
def test_metadata_in_another_form_is_never_a_fault_of_ours(simulator: Simulator, answer: Any) -> None:
    """Whatever JSON comes, it is refused in words for the user."""
    with pytest.raises(Transient, match="cannot be understood"):
        answered(simulator, answer)


@pytest.mark.parametrize("answer", [{}, [], "x"])
def test_metadata_without_a_field_that_we_know_says_nothing(simulator: Simulator, answer: Any) -> None:
    """Nothing is filled in then."""
    assert answered(simulator, answer) == Description(None, None, None, None, None, None)


def test_an_error_under_status_200_is_an_error(simulator: Simulator) -> None:
    """Kaggle says some of its refusals so."""
    with pytest.raises(NeedsPerson, match="404"):
        answered(simulator, {"code": 404, "message": "Competition not found"})


def test_a_message_of_kaggle_is_shown_on_one_short_line(simulator: Simulator) -> None:
    """However long and wild it is."""
    simulator.faults.put("titanic", Status(400, message="bad\n\x1b[31m request " * 50))
    with pytest.raises(NeedsPerson, match="bad") as caught:
        downloaded(make_kaggle(simulator.url))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("credential", "header"), CREDENTIALS, ids=["Bearer", "Basic"])
def test_a_header_that_kaggle_echoes_is_hidden(simulator: Simulator, credential: Credential, header: str) -> None:
    """The key as it is and as Basic sends it; half of one that the end of a long message cuts, too."""
    secret = header.split()[1]
    for before in ("got ", "x" * 188 + " "):
        simulator.faults.put("titanic", Status(400, message=f"{before}{header} geheim"))
        with pytest.raises(NeedsPerson, match="400") as caught:
            downloaded(make_kaggle(simulator.url, credential=credential))
        assert secret[:4] not in str(caught.value)
        assert "geheim" not in str(caught.value)


def test_an_access_token_that_kaggle_echoes_is_hidden(
    simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although it stands in the file alone; so is the token that it is renewed with."""
    simulator.faults.put("titanic", Status(400, message="no Bearer oauth-access, no refresh-geheim"))
    credential = replace(oauth(home, monkeypatch, "oauth-access"), refresh_token="refresh-geheim")
    with pytest.raises(NeedsPerson, match=r": no Bearer \*\*\*, no \*\*\*$"):
        downloaded(make_kaggle(simulator.url, credential=credential))


def test_a_download_beyond_the_limit_is_given_up(simulator: Simulator) -> None:
    """Its message names the setting that allows more."""
    with pytest.raises(NeedsPerson, match="exceeds 0 MB; PGLEADERBOARD_MAX_DOWNLOAD_MB allows more"):
        downloaded(make_kaggle(simulator.url, limit=1000))
