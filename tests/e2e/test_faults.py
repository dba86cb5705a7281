"""Whatever Kaggle answers: the last good board stays, the row says what happened, and healing is noticed at once.

FAULTS and ACCEPTED below are to be read as documentation. One database, one worker and one simulated Kaggle serve all
of it; each test has a competition of its own.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import socket
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from typing import IO, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import namedtuple_row

from pgleaderboard.database import migrate
from pgleaderboard.kaggle.client import Credential, Description, Kaggle
from pgleaderboard.process.supervisor import Supervisor, Work, running
from pgleaderboard.simulator import Drip, Fault, Half, Page, Redirect, Reset, Silent, Simulator, Status, Zipped
from pgleaderboard.simulator.names import ODD_TEAM_NAMES
from tests.support.aliases import Connection, MakeWorker
from tests.support.kaggle import close, make_kaggle

HEADER = "Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,TeamMemberUserNames"
FIRST = '1,11,Otters,"2026-01-31 23:59:59",0.90,5,"ann,Bob"'
SECOND = '2,12,Badgers,"2026-01-30 00:00:00",0.85,3,cleo'
MEMBER = "x-publicleaderboard-2026-05-05T15:36:33.csv"
LIMIT = 2**20
WAIT = "30 seconds"
_numbers = itertools.count(5)
_databases = itertools.count(1)

# How long until the next try, in seconds: the bounds, and a little for what the database does between two clocks.
SOON = (11.25, 20.0)
PATIENTLY = (299.9, 305.0)


def text(*rows: str, header: str = HEADER, mark: str = "\ufeff", end: str = "\n") -> bytes:
    """A CSV as Kaggle writes it."""
    return (mark + end.join([header, *rows, ""])).encode()


def csv(*rows: str, **form: str) -> Callable[[], Fault]:
    """Kaggle answers with this CSV."""
    return lambda: Zipped(text(*rows, **form), MEMBER)


def first(old: str, new: str) -> Callable[[], Fault]:
    """Kaggle answers with a board whose first row is changed so."""
    assert old in FIRST
    return csv(FIRST.replace(old, new), SECOND)


def second(old: str, new: str) -> Callable[[], Fault]:
    """Kaggle answers with a board whose second row is changed so."""
    assert old in SECOND
    return csv(FIRST, SECOND.replace(old, new))


def archive(*names: str, flags: int = 0) -> bytes:
    """A ZIP with a board under each of these names; flags: bits that both of its headers get."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in names:
            zipped.writestr(name, text(FIRST, SECOND))
    patched = bytearray(made.getvalue())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)) if flags else ():
        at = patched.index(signature) + offset
        patched[at : at + 2] = struct.pack("<H", flags)
    return bytes(patched)


def misplaced() -> bytes:
    """A ZIP whose directory claims to be larger than the file: one byte was hurt on the way."""
    whole = bytearray(archive(MEMBER))
    whole[whole.index(b"PK\5\6") + 18] ^= 1
    return bytes(whole)


def zipped(body: bytes) -> Callable[[], Fault]:
    """Kaggle answers with these bytes as a ZIP."""
    return lambda: Page(body, content_type="application/zip")


@dataclass(frozen=True)
class Client:
    """The worker asks through another client meanwhile: another URL, shorter limits, and what it meets there."""

    url: str = ""
    fault: Callable[[], Fault] | None = None
    limits: dict[str, Any] = field(default_factory=dict)


class Broken(Kaggle):
    """A client with a fault of its own."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", None, timeout=1, deadline=1, limit=1)

    def download_leaderboard(self, slug: str, into: IO[bytes]) -> None:
        """Fail as no client should."""
        raise RuntimeError("geheim")


HASTY = {"timeout": 30.0, "deadline": 0.5}
IMPATIENT = {"timeout": 0.3, "deadline": 30.0}

# what Kaggle does: (how, error_kind, words that a user finds in last_error, seconds until the next try)
FAULTS: dict[str, tuple[Any, str, str, tuple[float, float]]] = {
    # The line. All of it passes by itself.
    "no answer": (Client(fault=Silent, limits=IMPATIENT), "transient", "did not answer for 0.3 s", SOON),
    "half an answer": (Half, "transient", "broke off", SOON),
    "half an answer without a length": (lambda: Half(declare_length=False), "transient", "may have been cut", SOON),
    "half an answer, then reset": (lambda: Half(reset=True), "transient", "broke off", SOON),
    "a drip in the body": (Client(fault=Drip, limits=HASTY), "transient", "did not finish within 0.5 s", SOON),
    "a drip in the headers": (
        Client(fault=lambda: Drip(headers=True), limits=HASTY),
        "transient",
        "did not finish within 0.5 s",
        SOON,
    ),
    "refused": (Client(url="http://127.0.0.1:{closed}"), "transient", "refused (127.0.0.1)", SOON),
    "reset": (Reset, "transient", "broke off", SOON),
    "no such host": (Client(url="http://nonexistent.invalid"), "transient", "cannot be resolved (nonexist", SOON),
    "no TLS there": (Client(url="https://127.0.0.1:{port}"), "transient", "certificates if it stays so", SOON),
    "a redirect to nowhere": (lambda: Redirect("http://nonexistent.invalid/x"), "transient", "resolved", SOON),
    "redirects in a circle": (Client(fault=lambda: Redirect("/signed/circle.zip")), "transient", "too often", SOON),
    # What Kaggle says.
    "400": (lambda: Status(400, message="no way"), "person", "status 400): no way", PATIENTLY),
    "401": (lambda: Status(401), "person", "make a new one", PATIENTLY),
    "403": (lambda: Status(403), "person", "/{slug}/rules", PATIENTLY),
    "404": (lambda: Status(404), "person", "check the slug in its URL", PATIENTLY),
    "403 under 200": (
        lambda: Page('{"code": 403, "message": "x"}', content_type="application/json"),
        "person",
        "/{slug}/rules",
        PATIENTLY,
    ),
    "500": (lambda: Status(500), "transient", "status 500: Simulated 500", SOON),
    "502": (lambda: Status(502, body="<html>bad gateway", content_type="text/html"), "transient", "status 502", SOON),
    "503": (lambda: Status(503), "transient", "status 503", SOON),
    "503 for ten minutes": (lambda: Status(503, {"Retry-After": "600"}), "transient", "status 503", (600, 605)),
    # What is no board, and may be one next time.
    "a web page": (lambda: Page("<html>back soon"), "transient", "web page instead of a leaderboard", SOON),
    "an empty body": (lambda: Page(b""), "transient", "nothing at all", SOON),
    "JSON": (lambda: Page("{}", content_type="application/json"), "transient", "not a sound ZIP", SOON),
    "a cut ZIP": (zipped(archive(MEMBER)[:-30]), "transient", "not a sound ZIP", SOON),
    "a hurt ZIP": (zipped(misplaced()), "transient", "not a sound ZIP", SOON),
    "an empty file": (lambda: Zipped(b"", MEMBER), "transient", "is empty", SOON),
    # What is no board, and will be none next time.
    "two members": (zipped(archive(MEMBER, f"y{MEMBER}")), "person", "holds 2 files", PATIENTLY),
    "a path in the name": (zipped(archive(f"../{MEMBER}")), "person", "has a path in its name", PATIENTLY),
    "encrypted": (zipped(archive(MEMBER, flags=1)), "person", "is encrypted", PATIENTLY),
    "neither public nor private": (zipped(archive("x.csv")), "person", "neither a public nor a private", PATIENTLY),
    "a ZIP bomb": (
        lambda: Zipped(text(FIRST) + b"0" * 2**24, MEMBER),
        "person",
        "more than 1 MB; PGLEADERBOARD_MAX_DOWNLOAD_MB allows more",
        PATIENTLY,
    ),
    "a large download": (Client(limits={"limit": 10}), "person", "PGLEADERBOARD_MAX_DOWNLOAD_MB", PATIENTLY),
    # What contradicts itself. Line and column are named where there is one.
    "not UTF-8": (lambda: Zipped(text(FIRST).replace(b"Otters", b"\xffx"), MEMBER), "person", "line 2", PATIENTLY),
    "a column is missing": (
        csv("1,11,x", header="Rank,TeamId,TeamName"),
        "person",
        "lacks the column Score",
        PATIENTLY,
    ),
    "a column twice": (csv(header=f"{HEADER},Score"), "person", "column 'Score' twice", PATIENTLY),
    "a team twice": (second(",12,", ",11,"), "person", "TeamId 11 stands there 2 times", PATIENTLY),
    "a row too short": (second(",cleo", ""), "person", "line 3: missing data", PATIENTLY),
    "a row too long": (second("cleo", "cleo,more"), "person", "line 3: extra data", PATIENTLY),
    "ranks with a gap": (second("2,12", "3,12"), "person", "rank 3 stands where rank 2 was expected", PATIENTLY),
    "a rank twice": (second("2,12", "1,12"), "person", "rank 1 stands where rank 2 was expected", PATIENTLY),
    "a negative rank": (first("1,11", "-1,11"), "person", "rank -1 stands where rank 1 was expected", PATIENTLY),
    "no rank": (first("1,11", ",11"), "person", "rank (empty) stands where rank 1 was expected", PATIENTLY),
    "a rank in words": (second("2,12", "two,12"), "person", "line 3, column rank: ", PATIENTLY),
    "no TeamId": (second(",12,", ",,"), "person", "line 3: ", PATIENTLY),
    "a TeamId too large": (second(",12,", f",{2**63},"), "person", "line 3, column team_id: ", PATIENTLY),
    "score NaN": (second("0.85", "NaN"), "person", "line 3: ", PATIENTLY),
    "score Infinity": (second("0.85", "Infinity"), "person", "line 3: ", PATIENTLY),
    "score -Infinity": (second("0.85", "-Infinity"), "person", "line 3: ", PATIENTLY),
    "score 1e1000": (second("0.85", "1e1000"), "person", "line 3: ", PATIENTLY),
    "score 1e200000": (second("0.85", "1e200000"), "person", "line 3, column score: ", PATIENTLY),
    "score in words": (second("0.85", "best"), "person", "line 3, column score: ", PATIENTLY),
    "a day that is none": (first("2026-01-31", "2026-13-45"), "person", "line 2, column last_sub", PATIENTLY),
    "a date in words": (second("2026-01-30 00:00:00", "yesterday-ish"), "person", "line 3, column last", PATIENTLY),
    "a date in words first": (first("2026-01-31 23:59:59", "yesterday-ish"), "person", "first date is", PATIENTLY),
    "date infinity": (second("2026-01-30 00:00:00", "infinity"), "person", "line 3: ", PATIENTLY),
    "another form of date": (first("2026-01-31 23:59:59", "31/12/2026"), "person", "'31/12/2026', not in", PATIENTLY),
    "a count in words": (second(",3,", ",many,"), "person", "line 3, column submission_count: ", PATIENTLY),
    # Ours.
    "a fault of ours": (Broken, "ours", "pgleaderboard itself failed (RuntimeError); its log has", SOON),
}

# what Retry-After says on a 429: seconds that every request of the credential waits
PAUSES: dict[str, tuple[Callable[[], str | None], tuple[float, float]]] = {
    "seconds": (lambda: "120", (119.9, 125)),
    "a date": (lambda: format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True), (3500, 3605)),
    "nonsense": (lambda: "soon", (59.9, 65)),
    "a date that is none": (lambda: "Wed, 21 Oct 99999999999 07:28:00 GMT", (59.9, 65)),
    "more than a day": (lambda: "99999999", (59.9, 65)),
    "zero": (lambda: "0", (59.9, 65)),
    "nothing": (lambda: None, (59.9, 65)),
}

Row = tuple[Any, ...]
OTTERS: Row = (1, 11, "Otters", "2026-01-31 23:59:59", "0.90", 5, ["ann", "Bob"], False)
BADGERS: Row = (2, 12, "Badgers", "2026-01-30 00:00:00", "0.85", 3, ["cleo"], False)
OLD = "TeamId,TeamName,SubmissionDate,Score"


def but(row: Row, **changed: Any) -> Row:
    """The same row with another rank, name, score, count, members or benchmark."""
    names = ("rank", "team_id", "name", "date", "score", "count", "members", "benchmark")
    return tuple(changed.get(name, value) for name, value in zip(names, row, strict=True))


# what is accepted: (the file, the board)
ACCEPTED: dict[str, tuple[bytes, list[Row]]] = {
    "as Kaggle writes it": (text(FIRST, SECOND), [OTTERS, BADGERS]),
    "CRLF": (text(FIRST, SECOND, end="\r\n"), [OTTERS, BADGERS]),
    "no byte-order mark": (text(FIRST, SECOND, mark=""), [OTTERS, BADGERS]),
    "no newline at the end": (text(FIRST, SECOND)[:-1], [OTTERS, BADGERS]),
    "another order of columns": (
        text(
            '"ann,Bob",5,0.90,"2026-01-31 23:59:59",Otters,11,1',
            'cleo,3,0.85,"2026-01-30 00:00:00",Badgers,12,2',
            header=",".join(reversed(HEADER.split(","))),
        ),
        [OTTERS, BADGERS],
    ),
    "columns of later years": (
        text(f"gold,{FIRST},", f',{SECOND},"a ""b"""', header=f"Medal,{HEADER},Note"),
        [OTTERS, BADGERS],
    ),
    "NUL in a name": (
        text(FIRST.replace("Otters", "Ot\0ters\0"), SECOND),
        [but(OTTERS, name="Ot\ufffdters\ufffd"), BADGERS],
    ),
    "empty score": (text(FIRST, SECOND.replace("0.85", "")), [OTTERS, but(BADGERS, score=None)]),
    "negative score": (text(FIRST.replace("0.90", "-0.10"), SECOND), [but(OTTERS, score="-0.10"), BADGERS]),
    "score with an exponent": (text(FIRST, SECOND.replace("0.85", "1e-5")), [OTTERS, but(BADGERS, score="0.00001")]),
    "a long score": (
        text(FIRST.replace("0.90", "239426808406486000.00000"), SECOND),
        [but(OTTERS, score="239426808406486000.00000"), BADGERS],
    ),
    "empty date, count and members": (
        text(FIRST, "2,12,Badgers,,0.85,,"),
        [OTTERS, but(BADGERS, date=None, count=None, members=[])],
    ),
    "benchmarks, one with a username": (
        text('0,98,"Host Baseline",,0.95,1,', FIRST, "0,99,benchmark.csv,,0.88,1,TheHost", SECOND),
        [
            (None, 98, "Host Baseline", None, "0.95", 1, [], True),
            OTTERS,
            (None, 99, "benchmark.csv", None, "0.88", 1, ["TheHost"], True),
            BADGERS,
        ],
    ),
    "ties in the file's order": (
        text(FIRST, SECOND.replace("0.85", "0.90"), '3,7,Zebras,"2025-01-01 00:00:00",0.90,1,deb'),
        [OTTERS, but(BADGERS, score="0.90"), (3, 7, "Zebras", "2025-01-01 00:00:00", "0.90", 1, ["deb"], False)],
    ),
    "a deleted member": (
        text(FIRST.replace("Bob", "del=0123456789abcdef"), SECOND),
        [but(OTTERS, members=["ann", "del=0123456789abcdef"]), BADGERS],
    ),
    "the header of before 2023": (
        text('11,Otters,"2026-01-31 23:59:59",0.90', '12,Badgers,"2026-01-30 00:00:00",0.85', header=OLD),
        [but(OTTERS, count=None, members=[]), but(BADGERS, count=None, members=[])],
    ),
    "the header of before 2020, a row an improvement": (
        text(
            '11,Otter,"2026-01-01 00:00:00",0.50',
            '12,Badgers,"2026-01-30 00:00:00",0.85',
            '11,Ott,"2026-01-02 00:00:00",0.60',
            '13,Cats,"2026-01-30 00:00:00",0.70',
            '11,Otters,"2026-01-31 23:59:59",0.90',
            header=OLD,
            end="\r\n",
        ),
        [
            but(BADGERS, rank=1, count=None, members=[]),
            (2, 13, "Cats", "2026-01-30 00:00:00", "0.70", None, [], False),
            but(OTTERS, rank=3, count=None, members=[]),
        ],
    ),
    "the header alone": (text(), []),
}

NAMES = (
    *ODD_TEAM_NAMES,
    "two\nlines",
    "DOS\r\nlines",
    '"',
    '""',
    'all "quoted"',
    "\\.",
    "\\.x",
    "a\n\\.\nb",
    "\\",
    "\\n",
    "''",
    " ",
    "",
    "NULL",
    "true",
    "1e5",
    "[Deleted]",
    "[Deleted]",
    "\ufeffmark",
    "\u2028",
    "\u0085",
    "tab\there",
    "%s %(x)s {} $1",
    "'; DROP TABLE kaggle.competitions; --",
)


# The stage


class Switched(Kaggle):
    """A client that can be exchanged for one competition while the worker runs."""

    def __init__(self, usual: Kaggle) -> None:
        super().__init__("http://127.0.0.1:9", None, timeout=1, deadline=1, limit=1)
        self.usual = usual
        self.instead: dict[str, Kaggle] = {}

    @property
    def fingerprint(self) -> str:
        """The usual one's."""
        return self.usual.fingerprint

    def download_leaderboard(self, slug: str, into: IO[bytes]) -> None:
        """Ask whoever is in charge."""
        self.instead.get(slug, self.usual).download_leaderboard(slug, into)

    def describe(self, slug: str) -> Description:
        """Ask the usual one."""
        return self.usual.describe(slug)


@dataclass
class Stage:
    """What all tests share."""

    db: Connection
    simulator: Simulator
    kaggle: Switched
    closed_port: int

    def one(self, query: str, *values: Any) -> Any:
        """The one row, by names."""
        return self.db.cursor(row_factory=namedtuple_row).execute(query, values).fetchone()

    def all(self, query: str, *values: Any) -> list[Any]:
        """All rows."""
        return self.db.execute(query, values).fetchall()

    def synced(self, slug: str, statement: str | None = "SELECT kaggle.sync_now(%s)") -> Any:
        """The run that a statement about this competition leads to."""
        if statement:
            self.db.execute(statement, [slug])
        return self.one("SELECT * FROM kaggle.wait_for_sync(%s, %s::interval)", slug, WAIT)

    def competition(self) -> str:
        """A competition that was synced once, well."""
        slug = f"simulated-{next(_numbers)}-teams"
        run = self.synced(slug, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
        assert (run.outcome, run.error) == ("changed", None)
        return slug

    def status(self, slug: str) -> Any:
        """Its row of kaggle.sync_status."""
        return self.one("SELECT * FROM kaggle.sync_status WHERE kaggle_competition_id = %s", slug)

    def board(self, slug: str) -> list[Any]:
        """All that is known of its board: now, before, and the board itself."""
        return [
            self.all("SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = %s ORDER BY team_id", slug),
            self.all("SELECT e.* FROM kaggle.leaderboard_entries e JOIN kaggle.boards b ON b.id = e.board_id"
                     " WHERE b.slug = %s ORDER BY e.team_id", slug),
            self.all("SELECT h.* FROM kaggle.leaderboard_history h JOIN kaggle.boards b ON b.id = h.board_id"
                     " WHERE b.slug = %s ORDER BY h.team_id, h.valid_from", slug),
            self.all("SELECT * FROM kaggle.boards WHERE slug = %s ORDER BY id", slug),
        ]  # fmt: skip

    @contextmanager
    def fault(self, slug: str, how: Any) -> Iterator[None]:
        """Kaggle, or the way to it, is like that for this competition."""
        usual: dict[str, Any] = {"timeout": 30, "deadline": 60, "limit": 2**28}
        play: Callable[[], Fault] | None = None
        if isinstance(how, Client):
            url = how.url.format(closed=self.closed_port, port=self.simulator.port) or self.simulator.url
            self.kaggle.instead[slug] = make_kaggle(url, **(usual | how.limits))
            play = how.fault
        elif how is Broken:
            self.kaggle.instead[slug] = Broken()
        else:
            play = how
        fault = self.simulator.faults.put(slug, play(), times=None, method="DownloadLeaderboard") if play else None
        if isinstance(fault, Redirect) and fault.url == "/signed/circle.zip":
            self.simulator.faults.put("circle", fault, times=None)
        try:
            yield
        finally:
            self.simulator.faults.clear()
            if fault:
                fault.release()
            if slug in self.kaggle.instead:
                close(self.kaggle.instead.pop(slug))

    def until(self, holds: str, *values: Any) -> None:
        """Wait until a condition in SQL holds."""
        deadline = time.monotonic() + 30
        while not self.one(f"SELECT {holds} AS holds", *values).holds:
            assert time.monotonic() < deadline, f"it never held: {holds}"
            time.sleep(0.01)


@pytest.fixture(scope="module")
def stage(server_url: str) -> Iterator[Stage]:
    """A database, a simulated Kaggle and a worker between them."""
    name = sql.Identifier(f"pgl_faults_{os.getpid()}_{next(_databases)}")
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(name))
        url = make_conninfo(server_url, dbname=name.as_string().strip('"'))
        migrate.migrate(url)
        with (
            Simulator(speed=0) as simulator,
            socket.socket() as closed,  # bound, and listening to nobody
            psycopg.connect(url, autocommit=True) as db,
        ):
            closed.bind(("127.0.0.1", 0))
            kaggle = Switched(make_kaggle(simulator.url))
            work = Work(
                url=url,
                direct_url=url,
                kaggle=kaggle,
                concurrency=4,
                requests_per_minute=0,
                limit=LIMIT,
                runs_for=timedelta(days=30),
            )
            with running(Supervisor(work)):
                yield Stage(db, simulator, kaggle, closed.getsockname()[1])
            close(kaggle.usual)
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


# What fails


@pytest.mark.parametrize(("how", "kind", "words", "again"), FAULTS.values(), ids=FAULTS)
def test_a_fault(stage: Stage, how: Any, kind: str, words: str, again: tuple[float, float]) -> None:
    """The run and the row say what happened and when it is tried again; the board stays as it was.

    A try by hand, or after the row was edited, is made at once, and its success clears the failure.
    """
    slug = stage.competition()
    board, before = stage.board(slug), stage.status(slug)

    for heal, reason in (
        ("UPDATE kaggle.competitions SET is_featured = true WHERE kaggle_competition_id = %s", "edited"),
        ("SELECT kaggle.sync_now(%s)", "manual"),
    ):
        with stage.fault(slug, how):
            run = stage.synced(slug)
        assert (run.outcome, run.error_kind, run.reason) == ("failed", kind, "manual")
        assert words.replace("{slug}", slug) in run.error
        assert_readable(run.error)
        assert (run.board, run.teams, run.added, run.removed, run.updated, run.moved) == (None,) * 6
        status = stage.status(slug)
        assert (status.sync_state, status.consecutive_failures, status.last_error) == ("failing", 1, run.error)
        assert status.problem == (None if kind == "transient" else run.error)
        assert again[0] <= (status.next_sync_at - run.finished_at).total_seconds() <= again[1]
        assert status.blocked_until is None
        assert (status.last_success_at, status.synced_at) == (before.last_success_at, before.synced_at)
        assert stage.board(slug) == board

        healed = stage.synced(slug, heal)
        assert (healed.outcome, healed.error, healed.reason) == ("unchanged", None, reason)
        before, board = stage.status(slug), stage.board(slug)
        assert (before.sync_state, before.consecutive_failures, before.last_error) == ("idle", 0, None)
        assert before.problem is None
        assert before.synced_at == healed.observed_at


def assert_readable(error: str) -> None:
    """One line of plain words: no name of ours that means nothing to a user, no control character."""
    assert error.isprintable()
    assert "staged" not in error
    assert not re.search(r"\b(of|for) violates", error), error
    assert len(error) <= 500


@pytest.mark.parametrize(("header", "pause"), PAUSES.values(), ids=PAUSES)
def test_too_many_requests_pause_everything(
    stage: Stage, header: Callable[[], str | None], pause: tuple[float, float]
) -> None:
    """After a 429 nothing is asked of Kaggle for as long as it wants: not for others, not by hand. Then all go on."""
    slug, other = stage.competition(), stage.competition()
    board = stage.board(slug)
    said = header()
    try:
        with stage.fault(slug, lambda: Status(429, {"Retry-After": said} if said is not None else {})):
            run = stage.synced(slug)
        assert (run.outcome, run.error_kind) == ("failed", "transient")
        assert "429, too many requests" in run.error
        assert stage.board(slug) == board
        for each in (stage.status(slug), stage.status(other)):
            assert pause[0] <= (each.blocked_until - run.finished_at).total_seconds() <= pause[1]
        status = stage.status(slug)
        assert (status.sync_state, status.last_error, status.problem) == ("failing", run.error, None)
        assert status.next_sync_at >= status.blocked_until - timedelta(seconds=1)

        asked = len(stage.simulator.requests)
        runs = stage.all("SELECT count(*) FROM kaggle.sync_runs")
        stage.db.execute("SELECT kaggle.sync_now(%s), kaggle.sync_now(%s)", [slug, other])
        for _ in range(2):  # the jobs that were queued come and go; so does a sweep
            stage.until("NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs)")
            stage.db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
        assert [stage.status(each).sync_state for each in (slug, other)] == ["queued"] * 2
        assert stage.all("SELECT count(*) FROM kaggle.sync_runs") == runs
        assert len(stage.simulator.requests) == asked
    finally:
        stage.db.execute(
            "UPDATE kaggle_internal.kaggle_budget SET blocked_until = clock_timestamp() - interval '1 second'"
        )
        stage.db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")

    for each in (slug, other):
        assert stage.synced(each, None).outcome == "unchanged"
        status = stage.status(each)
        assert (status.sync_state, status.last_error, status.blocked_until) == ("idle", None, None)


def test_the_delay_grows_and_a_retry_comes_by_itself(stage: Stage) -> None:
    """15 s, 30 s, 60 s; when the time has come nobody needs to ask."""
    slug = stage.competition()
    with stage.fault(slug, lambda: Status(500)):
        for failures, most in enumerate((15, 30, 60), start=1):
            run = stage.synced(slug)
            status = stage.status(slug)
            assert status.consecutive_failures == failures
            assert 0.75 * most <= (status.next_sync_at - run.finished_at).total_seconds() <= most + 5
    state = "FROM kaggle_internal.sync_state s JOIN kaggle.competitions c ON c.id = s.competition_id"
    stage.db.execute(
        f"UPDATE kaggle_internal.sync_state SET retry_at = clock_timestamp() - interval '1 s' WHERE competition_id ="
        f" (SELECT s.competition_id {state} WHERE kaggle_competition_id = %s)",
        [slug],
    )
    stage.db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
    stage.until(f"(SELECT consecutive_failures = 0 {state} WHERE kaggle_competition_id = %s)", slug)
    run = stage.synced(slug, None)
    assert (run.outcome, run.reason) == ("unchanged", "manual")  # what was asked for is done, late
    assert stage.status(slug).sync_state == "idle"


def test_a_person_who_does_not_come_is_not_asked_every_five_minutes(stage: Stage) -> None:
    """After an hour of failing it is tried hourly."""
    slug = stage.competition()
    with stage.fault(slug, lambda: Status(403)):
        stage.synced(slug)
        stage.db.execute(
            "UPDATE kaggle_internal.sync_state SET failing_since = failing_since - interval '61 minutes'"
            " WHERE competition_id ="
            " (SELECT id FROM kaggle.competitions WHERE kaggle_competition_id = %s)",
            [slug],
        )
        run = stage.synced(slug)
    status = stage.status(slug)
    assert 3599.9 <= (status.next_sync_at - run.finished_at).total_seconds() <= 3605
    assert status.consecutive_failures == 2


def test_an_unknown_slug_is_mended_in_its_row(stage: Stage) -> None:
    """The mistyped competition has no board and says why; the right slug is synced at once."""
    wrong, right = f"unknown-{next(_numbers)}", f"simulated-{next(_numbers)}-teams"
    run = stage.synced(wrong, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
    status = stage.status(wrong)
    assert (run.outcome, run.error_kind, status.sync_state) == ("failed", "person", "failing")
    assert status.problem == status.last_error == run.error
    assert f"no competition {wrong} (404): check the slug" in run.error
    assert (status.teams, status.synced_at, status.last_success_at) == (None, None, None)

    stage.db.execute(
        "UPDATE kaggle.competitions SET kaggle_competition_id = %s WHERE kaggle_competition_id = %s", [right, wrong]
    )

    assert stage.synced(right, None).outcome == "changed"
    status = stage.status(right)
    assert (status.sync_state, status.last_error, status.problem) == ("idle", None, None)


def test_a_redirect_to_storage_is_followed_without_the_credential(stage: Stage) -> None:
    """As Kaggle does it for downloads: the board comes from another host, which never learns the token."""
    slug = stage.competition()
    with Simulator(speed=0) as storage, stage.fault(slug, lambda: Redirect(storage.signed_url(slug))):
        assert stage.synced(slug).outcome == "unchanged"
        (request,) = storage.requests
    assert request.method == "GET"
    assert "Authorization" not in request.headers
    close(stage.kaggle.usual)  # before the storage's port may be somebody else's


def test_without_a_credential_boards_fail_until_there_is_one(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """The row names every way to give one; a worker that has one syncs at once, unasked."""
    stage = Stage(db, simulator, Switched(make_kaggle(simulator.url)), 0)
    with worker(kaggle=make_kaggle(simulator.url, credential=None)):
        run = stage.synced("titanic", "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
        status = stage.status("titanic")
    assert (run.outcome, run.error_kind, status.sync_state) == ("failed", "person", "failing")
    assert status.problem == status.last_error == run.error
    assert all(name in run.error for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "kaggle.json"))
    assert simulator.requests == []

    with worker(kaggle=stage.kaggle):
        stage.until("(SELECT sync_state = 'idle' AND teams > 0 FROM kaggle.sync_status)")
        assert stage.status("titanic").last_error is None
    close(stage.kaggle.usual)


# What is accepted


@pytest.mark.parametrize(("file", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_accepted(stage: Stage, file: bytes, expected: list[Row]) -> None:
    """The board is the file: over no board, over another one, and over itself."""
    slug = f"simulated-{next(_numbers)}-teams"

    def shown() -> list[Row]:
        return stage.all(
            "SELECT l.rank, l.team_id, l.team_name, to_char(l.last_submission_at AT TIME ZONE 'UTC',"
            " 'YYYY-MM-DD HH24:MI:SS'), l.score::text, l.submission_count, l.member_usernames, l.is_benchmark"
            " FROM kaggle.leaderboard l JOIN kaggle.boards b ON b.slug = l.kaggle_competition_id"
            " JOIN kaggle.leaderboard_entries e ON e.board_id = b.id AND e.team_id = l.team_id"
            " WHERE l.kaggle_competition_id = %s ORDER BY e.order_key",
            slug,
        )

    with stage.fault(slug, lambda: Zipped(file, MEMBER)):
        run = stage.synced(slug, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
        assert (run.outcome, run.error, run.board) == ("changed", None, "public")
        assert (run.teams, run.added) == (len([row for row in expected if not row[7]]), len(expected))
        assert run.replaced_characters == file.count(0)
        assert shown() == expected
        assert stage.synced(slug).outcome == "unchanged"

    other = stage.synced(slug)
    assert (other.outcome, other.removed) == ("changed", len(expected))
    with stage.fault(slug, lambda: Zipped(file, MEMBER)):
        run = stage.synced(slug)
    assert (run.outcome, run.added, run.removed) == ("changed", len(expected), other.added)
    assert run.replaced_characters == file.count(0)
    assert shown() == expected
    assert stage.status(slug).last_error is None


def test_names_are_kept_byte_for_byte(stage: Stage) -> None:
    """Spaces, control characters, emoji, quotes, line ends and the words of databases: nothing is mended."""

    def quoted(name: str) -> str:
        special = any(character in name for character in ' ,"\n\r')
        return '"' + name.replace('"', '""') + '"' if special else name

    rows = [f'{n},{n},{quoted(name)},"2026-01-31 23:59:59",1.0,1,u{n}' for n, name in enumerate(NAMES, start=1)]
    slug = f"simulated-{next(_numbers)}-teams"
    with stage.fault(slug, csv(*rows)):
        run = stage.synced(slug, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
    assert (run.outcome, run.error, run.teams) == ("changed", None, len(NAMES))
    got = stage.all("SELECT team_name FROM kaggle.leaderboard WHERE kaggle_competition_id = %s ORDER BY rank", slug)
    assert [name for (name,) in got] == list(NAMES)


@pytest.mark.parametrize(
    ("member", "board"),
    [
        ("MLSP2023-Volunteers-01-publicleaderboard.csv", "public"),
        ("X_Private_Leaderboard.CSV", "private"),
        ("x-privateleaderboard-2026-05-05T15:36:33.csv", "private"),
        ("private-equity_public_leaderboard.csv", "public"),
    ],
)
def test_every_form_of_member_name_is_accepted(stage: Stage, member: str, board: str) -> None:
    """Capitals, both kinds, with and without a time; the competition's own capitals are kept too."""
    slug = f"Simulated-{next(_numbers)}-Teams"
    with stage.fault(slug, lambda: Zipped(text(FIRST, SECOND), member)):
        run = stage.synced(slug, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
    assert (run.outcome, run.board, run.teams) == ("changed", board, 2)
    status = stage.status(slug)
    assert (status.kaggle_competition_id, status.board) == (slug, board)


# Secrets


def test_no_secret_is_written_down(
    db: Connection,
    worker: MakeWorker,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No credential and no signed URL stands in a table, in the log, or in what the database shows of queries."""
    caplog.set_level(logging.DEBUG, logger="pgleaderboard")
    caplog.set_level(logging.DEBUG, logger="procrastinate")
    kaggle = make_kaggle(simulator.url, credential=Credential("a test", token="geheim-token"))
    basic = make_kaggle(simulator.url, credential=Credential("a test", username="geheim-user", key="geheim-key"))
    stage = Stage(db, simulator, Switched(kaggle), 0)
    signed = "http://nonexistent.invalid/x.zip?signature=geheim-signature"
    queries = ""
    for number, usual in enumerate((kaggle, basic)):
        stage.kaggle.usual = usual
        with worker(kaggle=stage.kaggle):
            slug = f"simulated-{next(_numbers)}-teams"
            stage.synced(slug, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
            for how in (
                lambda: Status(401),
                lambda: Status(500),
                lambda: Status(400),
                lambda: Redirect(signed),
                lambda: Redirect(signed.replace("http://nonexistent.invalid", simulator.url)),
                Broken,
                lambda: Status(429, {"Retry-After": "120"}),
            ):
                with stage.fault(slug, how):
                    assert stage.synced(slug).outcome == "failed"
            queries += stage.one(
                "SELECT string_agg(query || application_name, ' ') AS shown FROM pg_stat_activity"
                " WHERE datname = current_database()"
            ).shown
        assert len(simulator.requests) > 5 * number
        close(usual)

    dump = ""
    for schema, name in stage.all(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname IN ('kaggle', 'kaggle_internal', 'procrastinate') AND c.relkind IN ('r', 'v', 'm', 'p')"
    ):
        rows = db.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, name)))
        dump += "".join(row for (row,) in rows)
    assert "simulated-" in dump
    assert "kaggle." in queries
    assert "pgleaderboard itself failed" in caplog.text
    caught = "".join(record.getMessage() + str(vars(record)) for record in caplog.records)
    for secret in ("geheim-token", "geheim-user", "geheim-key", "geheim-signature"):
        assert secret not in dump
        assert secret not in queries
        assert secret not in caught
    with suppress(KeyError):
        del stage.kaggle.instead[slug]
