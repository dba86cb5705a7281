"""The live page where things change under it: freezes while it reads, what ceases, what comes late; odd requests."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.aliases import Connect, Connection
from tests.support.boards import zip_of
from tests.support.evening import Evening, ranked
from tests.support.page import serving
from tests.support.syncs import Syncs


def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    for _ in range(1500):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never held")


class Stream:
    """What a viewer of an address has received."""

    def __init__(self, connection: socket.socket, address: str, path: str) -> None:
        self._connection = connection
        connection.sendall(f"GET /live{path} HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\n\r\n".encode())
        self.text = ""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        while chunk := self._connection.recv(65536):
            self.text += chunk.decode(errors="replace")


@contextmanager
def watching(address: str, path: str) -> Iterator[Stream]:
    """Watch an address, from its first version on."""
    parts = urlsplit(address)
    with socket.create_connection((str(parts.hostname), parts.port or 0)) as connection:
        stream = Stream(connection, address, path)
        until(lambda: "\nid: " in stream.text)
        try:
            yield stream
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            stream.reader.join()


def test_a_read_that_waits_sees_no_sync_behind_a_freeze(evening: Evening, url: str, connect: Connect) -> None:
    """A freeze and a sync are committed while a board is being read: all show the board of the freeze."""
    evening.sync(["Ann", "Bo"], ["Bo", "Ann"])
    answers: list[requests.Response] = []
    with serving(url) as address, watching(address, "/c/first") as stream:
        holder = connect()
        holder.execute("LOCK TABLE kaggle.participants IN ACCESS EXCLUSIVE MODE")
        evening.db.execute("UPDATE kaggle.competitions SET title = 'another'")  # what was read is out of date
        asking = threading.Thread(target=lambda: answers.append(requests.get(f"{address}/c/first", timeout=30)))
        asking.start()
        waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'kaggle.participants'::regclass"
        until(lambda: evening.db.execute(waits).fetchone() == (True,))
        evening.freeze()
        evening.sync(["Zoe", "Bo", "Ann"])
        holder.rollback()
        asking.join()
        until(lambda: "Frozen since" in stream.text)
        assert "zoe" not in answers[0].text.lower()
        assert "zoe" not in stream.text.lower()
        evening.unfreeze()
        until(lambda: "Zoe" in stream.text)


def test_movement_is_never_that_from_behind_a_freeze(evening: Evening, url: str, db: Connection) -> None:
    """Where the day before a freeze is pruned, nobody has moved."""
    moments = [
        db.execute("SELECT clock_timestamp() - make_interval(days => %s)", (days,)).fetchone()
        for days in (20, 18, 15, 10)
    ]
    first, second, freeze, after = (moment[0] for moment in moments if moment)
    evening.first.sync_at(first, zip_of(ranked("Ann", "Bo", "Cy")))
    evening.first.sync_at(second, zip_of(ranked("Bo", "Ann", "Cy")))
    db.execute("UPDATE kaggle.events SET frozen_at = %s", (freeze,))
    evening.first.sync_at(after, zip_of(ranked("Cy", "Bo", "Ann")))
    db.execute("SELECT kaggle.prune_history('5 days')")
    with serving(url) as address:
        board = requests.get(f"{address}/c/first.json", timeout=30).json()
        assert [(entry["team_name"], entry["movement"]) for entry in board["entries"]] == [
            ("Bo", 0),
            ("Ann", 0),
            ("Cy", 0),
        ]
        for path in ("at", "movers", "chart"):
            answer = requests.get(f"{address}/c/first/{path}", timeout=30)
            assert answer.status_code == 404
            assert "was pruned" in answer.text


def test_what_is_told_to_those_who_run_it_is_not_told_to_strangers(evening: Evening, url: str, db: Connection) -> None:
    """A freeze at a moment that was pruned: neither the problem nor a setting is shown."""
    long_ago = db.execute("SELECT clock_timestamp() - interval '20 days'").fetchone()
    assert long_ago
    evening.first.sync_at(long_ago[0], zip_of(ranked("Ann", "Bo")))
    evening.first.sync_at(long_ago[0] + timedelta(days=1), zip_of(ranked("Bo", "Ann")))
    evening.sync(["Ann", "Bo"])
    db.execute("SELECT kaggle.prune_history('5 days')")
    db.execute("UPDATE kaggle.events SET frozen_at = %s", (long_ago[0] + timedelta(hours=1),))
    (problem,) = db.execute("SELECT problem FROM kaggle.event_states").fetchone() or (None,)
    assert "pruned" in problem
    with serving(url) as address:
        for path in ("/e/night", "/c/first", "/e/night.json", "/e/night/screen"):
            answer = requests.get(address + path, timeout=30)
            assert answer.status_code == 404, path
            assert "This cannot be shown" in answer.text
            assert "history of" not in answer.text
            assert "PGLEADERBOARD" not in answer.text


def test_a_competition_that_comes_late_to_an_event_counts_at_once(
    evening: Evening, url: str, compete: Callable[..., Syncs]
) -> None:
    """Its first sync reaches those who were watching the standing before it was added."""
    evening.sync(["Ann", "Bo"], ["Ann", "Bo"])
    third = compete("third")
    with serving(url) as address, watching(address, "/e/night") as stream:
        evening.db.execute(
            "INSERT INTO kaggle.event_competitions (event_id, competition_id) SELECT id, %s FROM kaggle.events",
            (third.competition,),
        )
        until(lambda: "third" in stream.text)
        third.sync(zip_of(ranked("Quinn", "Ann")))
        until(lambda: "quinn" in stream.text)


def test_what_is_gone_is_told_to_its_viewers(evening: Evening, url: str, db: Connection) -> None:
    """A page beyond the end, a competition, an event, a reveal: the browser is sent to what there is instead."""
    evening.sync([f"Team {number}" for number in range(60)], ["Ann", "Bo"])
    evening.freeze()
    with serving(url) as address, watching(address, "/e/night/reveal") as reveal:
        evening.unfreeze()
        until(lambda: "event: gone" in reveal.text)
        with watching(address, "/c/first?page=2") as page, watching(address, "/c/second") as board:
            evening.sync(["Team 1", "Team 2"])
            until(lambda: "event: gone" in page.text)
            db.execute("DELETE FROM kaggle.competitions WHERE kaggle_competition_id = 'second'")
            until(lambda: "event: gone" in board.text)
        with watching(address, "/e/night") as standing:
            db.execute("DELETE FROM kaggle.events")
            until(lambda: "event: gone" in standing.text)


def test_of_the_events_that_are_shown_one_may_go_or_be_renamed(evening: Evening, url: str, db: Connection) -> None:
    """The page of the others stays; of people who are in none of them nothing is told."""
    evening.sync(["Ann", "Bo"], ["Bo", "Ann"])
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('day', 'Day'), ('secret', 'Secret')")
    db.execute("INSERT INTO kaggle.participants VALUES ('hidden', 'Hidden Person'), ('ann', 'Ann A')")
    with serving(url, "--event", "night", "--event", "day") as address, watching(address, "/c/first") as stream:
        db.execute("DELETE FROM kaggle.events WHERE slug = 'day'")
        db.execute("UPDATE kaggle.events SET slug = 'evening' WHERE slug = 'night'")
        evening.sync(["Zoe", "Ann"])
        until(lambda: "Zoe" in stream.text)
        statuses = {
            path: requests.get(address + path, timeout=30).status_code
            for path in ("/", "/e/evening", "/e/night", "/e/day", "/e/secret", "/people/ann", "/people/hidden")
        }
        assert statuses == {
            "/": 200, "/e/evening": 200, "/e/night": 404, "/e/day": 404, "/e/secret": 404, "/people/ann": 200,
            "/people/hidden": 404,
        }  # fmt: skip
        assert "Hidden" not in requests.get(f"{address}/people/hiddem", timeout=30).text


def test_a_sync_during_the_reveal_reveals_nobody(evening: Evening, url: str, tmp_path: Path) -> None:
    """Newcomers stand first among those who are left; what a press revealed stays so; a second press goes nowhere."""
    evening.sync(["Ann", "Bo", "Cy"], ["Ann", "Bo", "Cy"])
    evening.freeze()
    evening.sync(["Cy", "Bo", "Ann"], ["Cy", "Bo", "Ann"])
    with serving(url, PGLEADERBOARD_HOME=str(tmp_path)) as address, watching(address, "/e/night/reveal") as stream:
        key = re.findall('"key": "([^"]+)"', "".join(path.read_text() for path in tmp_path.glob("page-*.json")))[0]
        step = f"{address}/e/night/reveal?key={key}"
        for _ in range(2):
            assert requests.post(step, data={"from": "0", "to": "1"}, timeout=30).status_code == 200
        until(lambda: "1 of 3 people revealed" in stream.text)
        evening.sync(["Quinn", "Cy", "Bo", "Ann"], ["Quinn", "Cy", "Bo", "Ann"])
        until(lambda: "1 of 4 people revealed" in stream.text)
        shown = requests.get(f"{address}/e/night/reveal", timeout=30).text
        assert re.findall(r'class="[^"]*revealed">.*?<bdi>(\w+)', shown, re.DOTALL) == ["cy"]
        assert "quinn" not in shown
        requests.post(step, data={"from": "1", "to": "2"}, timeout=30)
        until(lambda: "2 of 4 people revealed" in stream.text)
        assert "quinn" in stream.text.rpartition("\nid: ")[2]


@pytest.mark.parametrize("content", ['{"key": "", "revealed": {}}', '{"key": null, "revealed": []}', "[]", "\x00"])
def test_a_state_that_is_none_is_begun_anew(evening: Evening, url: str, tmp_path: Path, content: str) -> None:
    """What a file of the reveal holds is checked: nobody steps with an empty key."""
    evening.sync(["Ann", "Bo"], ["Ann", "Bo"])
    evening.freeze()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    home = {"PGLEADERBOARD_HOME": str(tmp_path)}
    with serving(url, "--port", port, **home):
        (file,) = tmp_path.glob("page-*.json")
    file.write_text(content)
    with serving(url, "--port", port, **home) as address:
        assert requests.post(f"{address}/e/night/reveal?key=", timeout=30).status_code == 403
        assert len(json.loads(file.read_text())["key"]) >= 16


def test_odd_requests_are_answered_in_one_sentence(evening: Evening, url: str) -> None:
    """Null characters, digits of other scripts, refused compression: as a browser's, with all safe headers."""
    evening.sync(["Ann", "Bo"], ["Bo", "Ann"])
    with serving(url) as address:
        for path, status in (
            ("/people/%00", 400),
            ("/c/first?page=%D9%A3", 400),
            ("/c/first?page=1_0", 400),
            ("/c/first/at?moment=2/3", 400),
            ("/c/first?page=999999999999999999999999", 400),
        ):
            answer = requests.get(address + path, timeout=30)
            assert answer.status_code == status, path
            assert "content-security-policy" in answer.headers
            assert answer.text.count("<h1>") == 1
        plain = requests.get(f"{address}/c/first", headers={"Accept-Encoding": "gzip;q=0"}, timeout=30)
        packed = requests.get(f"{address}/c/first", headers={"Accept-Encoding": "br, gzip"}, timeout=30)
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert plain.headers["etag"] != packed.headers["etag"]
        assert requests.get(f"{address}/c/first", headers={"If-None-Match": "*"}, timeout=30).status_code == 304
        assert requests.get(f"{address}/c/first", headers={"Host": "localhost."}, timeout=30).status_code == 200
