"""One database of the cluster, reached in one way: its workers, its clients, and whether it is whole."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from random import Random
from typing import Any, LiteralString, TypeVar

import psycopg

from pgleaderboard.database.connect import Connection, connect, transaction
from tests.cluster.clients import INSERT, SLUGS, Editor, Kaggle, Listener, Page, Screen
from tests.cluster.cluster import EVERY_HOST, SUPERUSER, Cluster, url_of
from tests.cluster.network import HUB
from tests.cluster.node import PASSWORD, Node
from tests.cluster.tally import Row
from tests.support.boards import COLUMNS, leaderboard
from tests.support.processes import ROOT, Broken, Worker, wait_for
from tests.support.undone import UNDONE

HOSTS = {"multi-host": EVERY_HOST, "HAProxy": f"{HUB}:5000", "PgBouncer": f"{HUB}:6432"}
_DIRECT = HOSTS | {"PgBouncer": HOSTS["HAProxy"]}
WORKERS, EDITORS = 2, 2
WATCHED = "watched"  # a competition that nobody edits, and a screen shows
SETTLED_WITHIN = 60.0  # seconds after the last edit
TOLD_WITHIN = 15.0  # seconds after that, for what is told of it
SYNCED_WITHIN = 90.0  # seconds after a promotion
PAST_BOARDS = 200  # that are compared after a fault
SYNCED_AGAIN = 20  # competitions that are asked for after it
T = TypeVar("T")
ROLES = {"of_worker": "pgleaderboard_worker", "of_editor": "pgleaderboard_editor", "of_reader": "pgleaderboard_reader"}

_WANTED: LiteralString = """
SELECT count(*), extract(epoch FROM clock_timestamp() - greatest(min(since), to_timestamp(%s)))::float8
FROM (SELECT asked_at AS since FROM kaggle_internal.sync_requests WHERE reason <> 'deleted'
      UNION ALL
      SELECT due_at FROM kaggle_internal.sync_state WHERE due_at <= clock_timestamp()) AS wanted
"""
_NEXT: LiteralString = """
SELECT c.kaggle_competition_id, extract(epoch FROM r.finished_at)::float8
FROM kaggle.sync_runs r JOIN kaggle.competitions c ON c.id = r.competition_id
WHERE r.finished_at > to_timestamp(%s) AND r.outcome IN ('changed', 'unchanged')
ORDER BY r.finished_at LIMIT 1
"""
_LAST: LiteralString = """
SELECT c.kaggle_competition_id, r.started_at, r.finished_at
FROM kaggle.competitions c
LEFT JOIN LATERAL (SELECT * FROM kaggle.sync_runs r
                   WHERE r.competition_id = c.id AND r.outcome IN ('changed', 'unchanged')
                   ORDER BY r.observed_at DESC LIMIT 1) r ON true
"""
_WATCHED: LiteralString = """
SELECT extract(epoch FROM max(r.finished_at))::float8
FROM kaggle.sync_runs r JOIN kaggle.competitions c ON c.id = r.competition_id
WHERE c.kaggle_competition_id = %s AND r.finished_at > to_timestamp(%s) AND r.outcome IN ('changed', 'unchanged')
"""
_PAST: LiteralString = """
SELECT b.slug, r.observed_at, r.started_at, r.finished_at
FROM kaggle.sync_runs r
JOIN kaggle.boards b ON b.id = r.board_id
JOIN kaggle.competitions c ON c.id = b.competition_id AND lower(c.kaggle_competition_id) = lower(b.slug)
WHERE r.outcome IN ('changed', 'unchanged') AND r.finished_at > to_timestamp(%s)
ORDER BY r.finished_at
"""
_BOARD: LiteralString = f"SELECT {COLUMNS} FROM kaggle.leaderboard WHERE kaggle_competition_id = %s"
_BOARD_AS_OF: LiteralString = f"SELECT {COLUMNS} FROM kaggle.leaderboard_as_of(%s, %s)"
_ASK: LiteralString = "SELECT kaggle.sync_now(kaggle_competition_id) FROM kaggle.competitions WHERE id = ANY (%s)"
_OVERLAPPING: LiteralString = """
SELECT format('runs %%s and %%s of competition %%s overlap', id, next_id, competition_id)
FROM (SELECT id, competition_id, finished_at, lead(id) OVER competition AS next_id,
             lead(started_at) OVER competition AS next_started_at
      FROM kaggle.sync_runs WHERE finished_at > to_timestamp(%s) AND outcome IN ('changed', 'unchanged')
      WINDOW competition AS (PARTITION BY competition_id ORDER BY started_at)) AS runs
WHERE next_started_at < finished_at
"""


def _within(seconds: float, probe: Callable[[], T | None]) -> T | None:
    """What a probe gives first that is true; None: nothing within so many seconds."""
    until = time.monotonic() + seconds
    while not (answer := probe()) and time.monotonic() < until:
        time.sleep(0.1)
    return answer


class Waits(threading.Thread):
    """Notes the longest that a sync has been wanted, looking at one server without end."""

    def __init__(self, node: Node, database: str, promoted_at: float) -> None:
        super().__init__(name=f"waits of {database}", daemon=True)
        self._url, self._promoted_at = url_of(node.address, SUPERUSER, database), promoted_at
        self.longest = 0.0
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        """Look until it is ended."""
        while not self._ended.is_set():
            try:
                with connect(self._url, connect_timeout=2, reads=True) as connection:
                    while not self._ended.wait(0.2):
                        count, seconds = connection.execute(_WANTED, (self._promoted_at,)).fetchone() or (0, 0.0)
                        self.longest = max(self.longest, seconds if count else 0.0)
            except psycopg.Error:
                time.sleep(0.2)

    def end(self) -> float:
        """End it. Returns the seconds."""
        self._ended.set()
        self.join()
        return self.longest


class Site:
    """A database with all that works on it through one kind of URL."""

    def __init__(self, cluster: Cluster, kaggle: Kaggle, url: str, seed: int) -> None:
        self.url, self._cluster, self._kaggle = url, cluster, kaggle
        self.database = url.lower().replace("-", "_")
        self._random = Random(f"{seed} {url}")
        self._folder = cluster.folder / self.database
        (self._folder / "tmp").mkdir(parents=True)
        self.workers: list[Worker] = []
        self.editors: list[Editor] = []
        self._missed: set[int] = set()
        self._repeated = 0
        self._stack = ExitStack()

    # Its life

    def url_for(self, role: str, *, direct: bool = False) -> str:
        """The database as one reaches it here; direct: without a pooler."""
        return url_of((_DIRECT if direct else HOSTS)[self.url], role, self.database)

    @property
    def url_of_standbys(self) -> str:
        """The database, on whichever standby HAProxy gives."""
        return url_of(f"{HUB}:5001", "of_worker", self.database)

    def settings(self, **given: str) -> dict[str, str]:
        """The environment of the program: nothing of ours but these settings."""
        temporary = str(self._folder / "tmp")
        ours = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": temporary,
            "TMPDIR": temporary,
            "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": self.url_for("of_worker"),
            "PGLEADERBOARD_DIRECT_URL": self.url_for("of_worker", direct=True),
            "PGLEADERBOARD_KAGGLE_URL": self._kaggle.url,
            "PGLEADERBOARD_REQUESTS_PER_MINUTE": "0",
        }
        return ours | given

    def run(self, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        return subprocess.run(
            [sys.executable, "-m", "pgleaderboard", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=self.settings(**given),
            cwd=ROOT,
            timeout=120,
        )

    def open(self, competitions: int) -> None:
        """Make the database and its competitions, and have everybody start; nobody edits yet."""
        self._cluster.sql("postgres", f"CREATE DATABASE {self.database}")
        migrated = self.run("migrate", PGLEADERBOARD_DIRECT_URL=self.url_for(SUPERUSER, direct=True))
        if migrated.returncode != 0:
            raise Broken(f"migrate: {migrated.stderr}")
        self.sql("CREATE TABLE public.edits (client text, number bigint, PRIMARY KEY (client, number))")
        self.sql("GRANT INSERT ON public.edits TO pgleaderboard_editor")
        self._make_roles()
        slugs = self._random.sample(SLUGS, len(SLUGS))
        for number in range(EDITORS):
            name, own = f"editor {number}", slugs[number::EDITORS]
            self.sql(INSERT, name, own[: competitions // EDITORS])
            self.editors.append(Editor(name, self.url_for("of_editor"), own, f"{self.url} {number}"))
        self.sql("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)", WATCHED)
        self.start_workers()
        self.settle(120)
        self.screen = Screen(
            WATCHED, self._folder / "screen.log", self.settings(DATABASE_URL=self.url_for("of_reader"))
        )
        self._stack.callback(self.screen.process.kill)
        self.page = Page(self._folder / "page.log", self.settings(DATABASE_URL=self.url_for("of_reader")))
        self._stack.callback(self.page.process.kill)
        self.listener = Listener(self.url_for("of_reader", direct=True), self._folder, self.settings())
        self._stack.callback(self.listener.end)
        wait_for(lambda: self.listener.is_ready, 30, "the client that listens is ready")
        self._first_run = self._value("SELECT coalesce(max(id), 0) FROM kaggle.sync_runs")
        for editor in self.editors:
            editor.start()
            self._stack.callback(editor.ended.set)

    def _make_roles(self) -> None:
        for role, group in ROLES.items():
            if not self.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", role):
                self.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' IN ROLE {group}")

    def start_workers(self) -> None:
        """See that all workers run."""
        self.workers = [worker for worker in self.workers if worker.process.poll() is None]
        while len(self.workers) < WORKERS:
            log = self._folder / f"worker-{time.time_ns()}.log"
            self.workers.append(Worker(["pgleaderboard", "work"], log, self.settings()))
            self._stack.callback(self.workers[-1].kill)
            self.workers[-1].wait_until_it_says("worker ready", seconds=60)

    def close(self) -> None:
        """End everybody."""
        self._stack.close()

    def edit(self, *, on: bool) -> None:
        """Let the editors edit, or have them rest: with no edit under way afterwards."""
        for editor in self.editors:
            editor.editing.set() if on else editor.editing.clear()
        if not on:
            wait_for(lambda: all(editor.resting.is_set() for editor in self.editors), 60, "the editors rest")

    # What it holds

    def sql(self, query: LiteralString, *values: Any) -> list[Any]:
        """A statement on the primary, as the superuser."""
        return self._cluster.sql(self.database, query, *values)

    def _value(self, query: LiteralString, *values: Any) -> Any:
        return self.sql(query, *values)[0][0]

    def follow(self, row: Row, promoted_at: float, node: Node) -> None:
        """Note when the next sync after a promotion has ended, as that server knows it, and when the page shows it."""
        found = _within(SYNCED_WITHIN, lambda: self._next_sync(promoted_at, node))
        if found is None:
            return
        slug, finished_at = found
        row.next_sync = finished_at - promoted_at

        def shown_at() -> float | None:
            synced_at = self.page.synced_at(slug)
            return time.time() if synced_at and synced_at.timestamp() > promoted_at else None

        shown = _within(SYNCED_WITHIN, shown_at)
        row.page = None if shown is None else shown - finished_at
        self._look_at_screen(row, node)
        began = time.monotonic()
        told = self.run("doctor", "--json", DATABASE_URL=self.url_for("of_reader"))
        if '"check"' in told.stdout:
            row.doctor = time.monotonic() - began

    def _look_at_screen(self, row: Row, node: Node) -> None:
        printed = self.screen.length
        ask: LiteralString = "SELECT extract(epoch FROM clock_timestamp())::float8, kaggle.sync_now(%s)"
        asked_at = self._cluster.sql(self.database, ask, WATCHED, node=node)[0][0]
        ended = _within(
            SYNCED_WITHIN, lambda: self._cluster.sql(self.database, _WATCHED, WATCHED, asked_at, node=node)[0][0]
        )
        shown = _within(SYNCED_WITHIN, lambda: time.time() if self.screen.length > printed else None)
        row.screen = None if ended is None or shown is None else max(0.0, shown - ended)

    def _next_sync(self, promoted_at: float, node: Node) -> tuple[str, float] | None:
        try:
            found = self._cluster.sql(self.database, _NEXT, promoted_at, node=node)
        except psycopg.OperationalError:
            return None
        return found[0] if found else None

    def settle(self, seconds: float) -> list[str]:
        """Wait until nothing is left to do. Returns what is, after so many seconds."""
        until = time.monotonic() + seconds
        while (undone := [line for (line,) in self.sql(UNDONE)]) and time.monotonic() < until:
            time.sleep(0.3)
        return undone

    # Is it whole?

    def inspect(self, row: Row, since: float, waits: Waits) -> None:
        """Count what is wrong after a fault, with the cluster whole and the editors at rest. since: before it."""
        undone = self.settle(SETTLED_WITHIN)
        row.longest_wait = waits.end()
        row.stuck += len(undone)
        row.complaints += undone[:5]
        self._count_edits(row)
        overlapping = [line for (line,) in self.sql(_OVERLAPPING, since)]
        row.doubled += len(overlapping)
        row.complaints += overlapping[:5]
        self._count_told(row)
        self._compare(row, since)
        self._count_jobs(row)
        self._look_at_processes(row)

    def _count_edits(self, row: Row) -> None:
        for editor in self.editors:
            kept = {number for (number,) in self.sql("SELECT number FROM public.edits WHERE client = %s", editor.name)}
            row.edits += len(editor.confirmed)
            row.edits_lost += len(set(editor.confirmed) - kept)
            row.complaints += editor.complaints[:3]
            editor.confirmed.clear()
            editor.complaints.clear()

    def _count_told(self, row: Row) -> None:
        query: LiteralString = (
            "SELECT r.id FROM kaggle.sync_runs r JOIN kaggle.competitions c ON c.id = r.competition_id"
            " WHERE r.outcome = 'changed' AND r.reason <> 'backfill' AND r.id > %s"
        )

        def untold() -> set[int]:
            kept = {run for (run,) in self.sql(query, self._first_run)}
            return kept - self.listener.told.keys() - self._missed

        until = time.monotonic() + TOLD_WITHIN
        while (missed := untold()) and time.monotonic() < until and self.listener.process.process.poll() is None:
            time.sleep(0.3)
        row.missed += len(missed)
        self._missed |= missed
        repeated = sum(times - 1 for times in self.listener.told.values())
        row.repeated += repeated - self._repeated
        self._repeated = repeated

    def _compare(self, row: Row, since: float) -> None:
        """Compare each board, and many of the past, with what Kaggle served."""
        asked = self._random.sample(sorted(self._value("SELECT array_agg(id) FROM kaggle.competitions")), SYNCED_AGAIN)
        self.sql(_ASK, asked)
        undone = self.settle(SETTLED_WITHIN)
        row.stuck += len(undone)
        row.complaints += undone[:5]
        with (
            connect(url_of(self._cluster.primary.address, SUPERUSER, self.database)) as connection,
            transaction(connection, snapshot=True),
        ):
            for slug, started_at, finished_at in connection.execute(_LAST).fetchall():
                kept = connection.execute(_BOARD, (slug,)).fetchall()
                row.boards += 1
                row.boards_wrong += self._is_wrong(row, slug, kept, started_at, finished_at)
            for slug, observed_at, started_at, finished_at in self._some_of_the_past(connection, since):
                kept = connection.execute(_BOARD_AS_OF, (slug, observed_at)).fetchall()
                row.past += 1
                row.past_wrong += self._is_wrong(row, f"{slug} as of {observed_at}", kept, started_at, finished_at)

    def _some_of_the_past(self, connection: Connection, since: float) -> list[Any]:
        """Runs since a moment: those around the fail-over, and some of the others."""
        runs = connection.execute(_PAST, (since,)).fetchall()
        first, others = runs[: PAST_BOARDS // 2], runs[PAST_BOARDS // 2 :]
        return first + self._random.sample(others, min(len(others), PAST_BOARDS // 2))

    def _is_wrong(
        self, row: Row, what: str, kept: list[Any], started_at: datetime | None, finished_at: datetime | None
    ) -> bool:
        served = []  # where it was never synced
        if started_at is not None and finished_at is not None:
            served = self._kaggle.served(what.split()[0], started_at, finished_at)
        if leaderboard(kept) in served:
            return False
        if sum(said.startswith("the board of") for said in row.complaints) < 4:
            row.complaints.append(f"the board of {what} is none of the {len(served)} that Kaggle served then")
        return True

    def _count_jobs(self, row: Row) -> None:
        # As time would: the queue finds a dead worker by a heartbeat that is 30 s old.
        self.sql(
            "UPDATE procrastinate.procrastinate_workers SET last_heartbeat = now() - interval '1 minute'"
            " WHERE id IN (SELECT worker_id FROM procrastinate.procrastinate_jobs WHERE status = 'doing')"
        )
        self.sql("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
        query: LiteralString = "SELECT format('a job is left: %s', to_jsonb(j)) FROM procrastinate.procrastinate_jobs j"
        until = time.monotonic() + 10
        while (left := self.sql(query)) and time.monotonic() < until:
            time.sleep(0.3)
        row.stuck += len(left)
        row.complaints += [line for (line,) in left[:3]]

    def _look_at_processes(self, row: Row) -> None:
        for worker in self.workers:
            if worker.process.poll() is not None:
                row.complaints.append(f"a worker ended with {worker.process.returncode}: {worker.said[-1000:]}")
            elif worker.tracebacks and not worker.is_reported:
                worker.is_reported = True
                row.complaints.append(f"a worker shows {len(worker.tracebacks)} tracebacks: {worker.tracebacks[0]}")
        if self.screen.process.process.poll() is not None:
            row.complaints.append(f"board --watch ended: {self.screen.process.said[-500:]}")
        if self.listener.process.process.poll() is not None:
            row.complaints.append(f"examples/listen.py ended: {self.listener.process.said[-500:]}")
            self.listener.start()
        self.start_workers()
        faults = self.sql("SELECT DISTINCT error FROM kaggle.sync_runs WHERE error_kind = 'ours'")
        if faults:
            row.complaints.append(f"runs failed by a fault of ours: {faults}")
