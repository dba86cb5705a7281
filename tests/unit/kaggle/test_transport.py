"""How long a request may take, and what becomes of its connection."""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from urllib3.util import connection as urllib3_connection

from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient
from tests.support import kaggle as clients
from tests.support.faults import Drip, Half, Page, Redirect, Reset, Silent, Simulator, Status
from tests.support.kaggle_clients import downloaded, make_kaggle, raw, whole

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


def test_a_redirect_does_not_begin_the_deadline_anew() -> None:
    """Each redirect takes a fraction of the deadline; all that are followed would take six times as long."""

    def redirect(connection: socket.socket, _: int) -> None:
        time.sleep(0.1)
        connection.sendall(whole(b"", "302 Found", Location="/again"))

    with raw(redirect) as server, pytest.raises(Transient, match=r"did not finish within 0\.5 s"):
        downloaded(make_kaggle(server.url, deadline=0.5))


def test_storage_that_drips_is_given_up_at_the_deadline(simulator: Simulator) -> None:
    """The host to which Kaggle redirects is under the same deadline."""
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


def test_a_connection_that_was_cut_is_not_used_again() -> None:
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
            until(lambda: kaggle._idle[0].sockets._duplicates[-1].recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")


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
