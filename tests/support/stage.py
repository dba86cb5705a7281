"""One database, one worker and one simulated Kaggle that many tests share, each with a competition of its own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from psycopg.rows import namedtuple_row

from pgleaderboard.kaggle.client import Description, Kaggle
from tests.support.aliases import Connection
from tests.support.faults import Fault, Redirect, Simulator, Zipped
from tests.support.kaggle import close, make_kaggle

HEADER = "Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,TeamMemberUserNames"


FIRST = '1,11,Otters,"2026-01-31 23:59:59",0.90,5,"ann,Bob"'


SECOND = '2,12,Badgers,"2026-01-30 00:00:00",0.85,3,cleo'


MEMBER = "x-publicleaderboard-2026-05-05T15:36:33.csv"


WAIT = "30 seconds"


numbers = itertools.count(5)


def text(*rows: str, header: str = HEADER, mark: str = "\ufeff", end: str = "\n") -> bytes:
    """A CSV as Kaggle writes it."""
    return (mark + end.join([header, *rows, ""])).encode()


def csv(*rows: str, **form: str) -> Callable[[], Fault]:
    """Kaggle answers with this CSV."""
    return lambda: Zipped(text(*rows, **form), MEMBER)


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

    def download_leaderboard(self, slug: str, into: IO[bytes]) -> bool:
        """Fail as no client should."""
        raise RuntimeError("geheim")


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

    def download_leaderboard(self, slug: str, into: IO[bytes]) -> bool:
        """Ask whoever is in charge."""
        return self.instead.get(slug, self.usual).download_leaderboard(slug, into)

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
        slug = f"simulated-{next(numbers)}-teams"
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
