"""Ten thousand ongoing competitions in a thousand events: one server, one or two workers, one page."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psutil

from tests.bench.boards import Board
from tests.bench.page import MIB, seconds_of, streams
from tests.bench.timing import median, seconds
from tests.bench.world import CREDENTIAL, Database, Scale, World, wait_until
from tests.scale.meter import Meter, Used, server_of
from tests.support.page import started
from tests.support.processes import Broken, Worker, wait_for

BUDGET = 30  # requests a minute that one credential has (PGLEADERBOARD_REQUESTS_PER_MINUTE)
INTERVAL = 300  # seconds, the sync_interval of every competition
CHANGED = 10  # one board of so many changes from sync to sync
NUDGED = 5  # teams of it
ADDRESSES = ("c/board000-0", "e/event-1", "e/event-2", "c/board001-1", "c/board002-2")  # each has as many viewers
GRACE = 60  # seconds that the last due syncs of the steady time may be late

FILL = """
INSERT INTO kaggle.events (slug, title, start_date, end_date)
SELECT 'event-' || n, 'Event ' || n, now() - interval '10 days', now() + make_interval(days => 2 + n %% 60)
FROM generate_series(0, %(events)s - 1) n;
INSERT INTO kaggle.competitions (kaggle_competition_id, event_id, sync_interval)
SELECT 'board' || lpad((n %% %(boards)s)::text, 3, '0') || '-' || n, e.id, make_interval(secs => %(interval)s)
FROM generate_series(0, %(competitions)s - 1) n
JOIN kaggle.events e ON e.slug = 'event-' || n / (%(competitions)s / %(events)s);
"""
LEFT = "SELECT EXISTS (SELECT FROM kaggle_internal.sync_requests)"
# Each board that is there stands for all competitions of its name.
COPY = """
CREATE TEMP TABLE made ON COMMIT DROP AS
SELECT DISTINCT ON (c.id) c.id, c.kaggle_competition_id AS slug, c.link_revision, b.id AS board_id
FROM kaggle.competitions c
JOIN kaggle.boards b ON split_part(b.slug, '-', 1) = split_part(c.kaggle_competition_id, '-', 1)
WHERE NOT EXISTS (SELECT FROM kaggle.boards o WHERE o.competition_id = c.id) ORDER BY c.id, b.id;
INSERT INTO kaggle.boards (competition_id, slug, kind, higher_is_better, teams, digest, observed_from, observed_at)
SELECT m.id, m.slug, b.kind, b.higher_is_better, b.teams, b.digest, b.observed_from, b.observed_at
FROM made m JOIN kaggle.boards b ON b.id = m.board_id;
INSERT INTO kaggle.leaderboard_entries
SELECT b.id, e.team_id, e.order_key, e.valid_from, e.first_seen_at, e.last_submission_at, e.submission_count,
       e.is_benchmark, e.score, e.team_name, e.member_usernames
FROM made m JOIN kaggle.boards b ON b.competition_id = m.id
JOIN kaggle.leaderboard_entries e ON e.board_id = m.board_id;
INSERT INTO kaggle_internal.sync_state (competition_id, link_revision, last_run_id, due_at, due_interval,
                                        last_attempt_at, last_success_at, tried_credentials)
SELECT m.id, m.link_revision, nextval('kaggle_internal.run_ids'), now(), '5 minutes', now(), now(),
       ARRAY[%(credential)s]
FROM made m
ON CONFLICT (competition_id) DO UPDATE SET due_at = now(), due_interval = '5 minutes', last_success_at = now();
DELETE FROM kaggle_internal.sync_requests;
"""
WAITING = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - next_sync_at)), 0)::float8
FROM kaggle_internal.sync_state WHERE running_run_id IS NULL AND next_sync_at <= clock_timestamp()
"""
QUEUED = "SELECT EXISTS (SELECT FROM procrastinate.procrastinate_jobs)"
STATEMENTS = """
SELECT calls, mean_exec_time, max_exec_time, 100 * total_exec_time / sum(total_exec_time) OVER (),
       regexp_replace(query, '\\s+', ' ', 'g')
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC
"""


@dataclass(frozen=True)
class Size:
    """How much of everything.

    first: seconds that the first syncs may take. window: seconds in which as many syncs as possible are counted.
    steady: within so many seconds each competition is due once. watched: seconds with viewers. news: boards of which it
    is seen when they come.
    """

    competitions: int
    teams: int
    events: int
    boards: int
    viewers: int
    first: int
    window: int
    steady: int
    watched: int
    news: int
    credentials: int

    @classmethod
    def of(cls, scale: Scale) -> Size:
        """In full, or quick."""
        return cls(
            scale.of(10_000, 60), scale.of(200, 20), scale.of(1_000, 6), scale.of(100, 10), scale.of(5_000, 20),
            scale.of(90, 1), scale.of(30, 2), scale.of(INTERVAL, 2), scale.of(60, 1), scale.of(5, 1), scale.of(4, 2),
        )  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """A statement of the steady time. Milliseconds; share: percent of the time that the server took for all of them."""

    calls: int
    mean: float
    slowest: float
    share: float
    text: str


@dataclass(frozen=True)
class Watched:
    """The page with its viewers.

    used: with the syncs. memory: MiB. shown: from a run's end to the last byte at the last viewer of its board. index,
    index_size: seconds and bytes of the first page.
    """

    used: Used
    memory: float
    shown: list[float]
    index: float
    index_size: int


@dataclass(frozen=True)
class Measured:
    """All of it. Sizes in bytes, times in seconds, each of syncs where nothing else is said.

    first: the first syncs. one, two, shared: all due, by one worker, by two, by some that have a credential each and
    its budget. steady, waits: five minutes as they are, and how long the sync due longest had waited, second by
    second. entry, run, pack: on disk. board_read: a board in SQL. page: with its viewers, or
    why it could not be measured.
    """

    size: Size
    inserted: float
    first: Used
    one: Used
    two: Used
    shared: Used
    steady: Used
    waits: list[float]
    statements: list[Statement]
    tables: Mapping[str, int]
    entry: float
    run: float
    pack: float
    board_read: float
    worker_memory: float
    page: Watched | str

    @property
    def sweep(self) -> Statement:
        """The sweeps of the steady time."""
        return next(statement for statement in self.statements if "kaggle_internal.sweep(" in statement.text)


class Site:
    """The world while it is measured."""

    def __init__(self, world: World, database: Database, kaggle: str, size: Size) -> None:
        self.world, self.database, self.kaggle, self.size = world, database, kaggle, size
        self.boards = {f"board{n:03}": Board(size.teams, seed=n, first_user=n * size.teams) for n in range(size.boards)}
        for name, board in self.boards.items():
            world.serve(name, board.csv())
        simulator = next(p for p in psutil.Process().children() if "tests.bench.kaggle" in p.cmdline())
        self.parts = {"server": server_of(database), "simulator": lambda: seconds_of(simulator)}

    def change(self) -> None:
        """Change one board of CHANGED, always the same ones, so that this share of the competitions has news."""
        for name in list(self.boards)[::CHANGED]:
            self.boards[name].nudge(NUDGED)
            self.world.serve(name, self.boards[name].csv())

    @contextmanager
    def workers(self, count: int, *, budget: bool = False) -> Iterator[Meter]:
        """So many workers that are ready, and what is used from then on. budget: each has a credential of its own."""
        with ExitStack() as running:
            processes = []
            for n in range(count):
                own = {"KAGGLE_API_TOKEN": f"bench-{n}", "PGLEADERBOARD_REQUESTS_PER_MINUTE": str(BUDGET)}
                worker = self.world.worker(self.database, self.kaggle, **(own if budget else {}))
                processes.append(psutil.Process(running.enter_context(worker).process.pid))
            self.worker = processes[0]
            self.parts |= {"workers": lambda: sum(map(seconds_of, processes))}
            yield Meter(self.database, self.parts)
            del self.parts["workers"]

    def make_due(self, within: float) -> None:
        """Make every competition due within so many seconds, and sweep. What waits from before is removed."""
        self.database.db.execute("SET search_path = procrastinate")  # where its triggers look
        self.database.db.execute("DELETE FROM procrastinate_jobs WHERE status = 'todo'")
        self.database.db.execute("RESET search_path")
        self.database.db.execute(
            "UPDATE kaggle_internal.sync_state SET due_at = clock_timestamp() + random() * make_interval(secs => %s),"
            " describe_at = clock_timestamp() + random() * interval '1 day' + interval '1 minute'",
            (within,),
        )
        self.database.db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")

    def fill(self) -> tuple[float, Used]:
        """Insert all of it, and sync it once; what takes too long is copied from boards that are synced.

        Returns the seconds of the INSERT, and what the syncs took.
        """
        size, db = self.size, self.database.db
        with self.workers(1):
            values = {
                "events": size.events, "boards": size.boards, "competitions": size.competitions, "interval": INTERVAL,
            }  # fmt: skip
            with db.transaction():
                inserted = seconds(lambda: [db.execute(each.encode(), values) for each in FILL.split(";")[:2]])
            meter, until = Meter(self.database, self.parts), time.monotonic() + size.first
            wait_until(
                self.database, "SELECT count(DISTINCT split_part(slug, '-', 1)) = %s FROM kaggle.boards", size.boards
            )
            while time.monotonic() < until and self.database.one(LEFT):
                time.sleep(0.1)
            used = meter.used()
        if self.database.one(LEFT):
            with db.transaction():
                for each in COPY.split(";")[:-1]:
                    db.execute(each.encode(), {"credential": CREDENTIAL.fingerprint} if "%(" in each else None)
        db.execute("VACUUM ANALYZE")
        return inserted, used

    def drain(self, workers: int, *, budget: bool = False) -> Used:
        """As many syncs as possible, all being due."""
        self.change()
        with self.workers(workers, budget=budget):
            self.make_due(0)
            meter = Meter(self.database, self.parts)
            until = time.monotonic() + self.size.window
            while time.monotonic() < until and (self.database.one(WAITING) or self.database.one(QUEUED)):
                time.sleep(0.1)
            return meter.used()

    def live(self) -> tuple[Used, list[float], float]:
        """Every competition once, spread evenly; from a checkpoint on, so that the WAL has the share of one in it.

        Returns what was used, `waits`, and the worker's memory.
        """
        self.change()
        waits = []
        with self.workers(1):
            last = self.database.one("SELECT max(id) FROM kaggle.sync_runs")
            self.make_due(self.size.steady)
            self.database.db.execute("CHECKPOINT")
            self.database.db.execute("SELECT pg_stat_statements_reset()")
            meter, begun = Meter(self.database, self.parts), time.monotonic()
            synced = "SELECT count(*) >= %s FROM kaggle.sync_runs WHERE id > %s"
            while (lasted := time.monotonic() - begun) < self.size.steady or (
                lasted < self.size.steady + GRACE and not self.database.one(synced, self.size.competitions, last)
            ):
                waits.append(self.database.one(WAITING))
                time.sleep(1)
            return meter.used(), waits, self.worker.memory_info().rss / MIB

    def watch(self) -> Watched:
        """The same with viewers on the page."""
        self.change()
        with (
            self.workers(1),
            started(self.database.url, PGLEADERBOARD_HOME=str(self.world.folder / "page")) as (process, address),
            ExitStack() as running,
        ):
            page, each = psutil.Process(process.pid), self.size.viewers // len(ADDRESSES)
            everyone = [
                running.enter_context(streams(self.world, address, f"/live/{path}", each)) for path in ADDRESSES
            ]
            viewers = [psutil.Process(watching.process.pid) for watching in everyone]
            self.make_due(INTERVAL)
            parts = {"page": lambda: seconds_of(page), "viewers": lambda: sum(map(seconds_of, viewers))}
            meter = Meter(self.database, self.parts | parts)
            time.sleep(self.size.watched)
            used, memory = meter.used(), page.memory_info().rss / MIB
            shown = [self._news(ADDRESSES[0].removeprefix("c/"), everyone[0]) for _ in range(self.size.news)]
            with urllib.request.urlopen(address) as answer:  # noqa: S310 - ours
                size = len(answer.read())
            index = seconds(lambda: urllib.request.urlopen(address).read())  # noqa: S310
        return Watched(used, memory, shown, index, size)

    def _news(self, slug: str, viewers: Worker) -> float:
        """Change the board of a competition, and have it synced. Returns `shown`."""
        name = slug.partition("-")[0]
        self.boards[name].nudge(NUDGED)
        self.world.serve(name, self.boards[name].csv())
        last = self.database.one("SELECT max(id) FROM kaggle.sync_runs")
        self.database.db.execute("SELECT kaggle.sync_now(%s)", (slug,))
        done = (
            "SELECT max(extract(epoch FROM r.finished_at))::float8 FROM kaggle.sync_runs r JOIN kaggle.competitions c"
            " ON c.id = r.competition_id WHERE c.kaggle_competition_id = %s AND r.outcome = 'changed' AND r.id > %s"
        )
        ended: float = wait_until(self.database, done, slug, last, limit=60, pause=0.01)

        def seen() -> float:
            moments = (float(line.split()[0]) for line in viewers.said.splitlines()[1:])
            return next((moment - ended for moment in moments if moment > ended), 0.0)

        return wait_for(seen, 60, "an update of the page")


def measure(scale: Scale) -> tuple[Measured, str]:
    """Measure all of it. Returns also the server in words."""
    size = Size.of(scale)
    with World(scale) as world, world.database() as database, world.kaggle() as kaggle:
        database.db.execute("CREATE EXTENSION pg_stat_statements")
        site = Site(world, database, kaggle, size)
        inserted, first = site.fill()
        entries = database.one("SELECT pg_total_relation_size('kaggle.leaderboard_entries')")
        entry = entries / database.one("SELECT count(*) FROM kaggle.leaderboard_entries")
        one, two, shared = site.drain(1), site.drain(2), site.drain(size.credentials, budget=True)
        packs = _packs(database)
        steady, waits, memory = site.live()
        statements = [Statement(*row) for row in database.db.execute(STATEMENTS.encode()).fetchall()]
        pack = (_packs(database) - packs) / max(1, steady.changed)
        some = "SELECT kaggle_competition_id FROM kaggle.competitions ORDER BY random() LIMIT 100"
        slugs = [row[0] for row in database.db.execute(some.encode()).fetchall()]
        read = "SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = %s"
        reads = [seconds(lambda s=slug: database.db.execute(read, (s,)).fetchall()) for slug in slugs]
        tables = dict(database.db.execute(
            "SELECT n.nspname || '.' || c.relname, pg_total_relation_size(c.oid) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND n.nspname IN ('kaggle', 'kaggle_internal', 'procrastinate')"
            " ORDER BY 2 DESC LIMIT 6").fetchall())  # fmt: skip
        run = tables["kaggle.sync_runs"] / database.one("SELECT count(*) FROM kaggle.sync_runs")
        try:
            page: Watched | str = site.watch()
        except (Broken, TimeoutError, subprocess.TimeoutExpired) as error:  # the rest was measured all the same
            page = f"{type(error).__name__}: {error}"
        return Measured(
            size=size, inserted=inserted, first=first, one=one, two=two, shared=shared, steady=steady, waits=waits,
            statements=statements, tables=tables, entry=entry, run=run, pack=pack, board_read=median(reads),
            worker_memory=memory, page=page,
        ), world.description  # fmt: skip


def _packs(database: Database) -> int:
    size: int = database.one(
        "SELECT pg_total_relation_size('kaggle_internal.packs') + pg_total_relation_size('kaggle_internal.past_names')"
    )
    return size
