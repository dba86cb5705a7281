"""Rows 1 to 3: how soon an INSERT is followed by a job, and by a whole board."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from random import Random
from typing import LiteralString

import psycopg

from tests.bench.listener import SETUP
from tests.bench.report import Figure, ms
from tests.bench.sync import growth
from tests.bench.timing import in_turns, median, percentile, seconds
from tests.bench.world import Database, World, kaggle_client, wait_until

TINY = 10  # teams: the worker is idle again long before the next insert
POLL = 0.25  # seconds; whoever waits longer has waited for a poll


def job_starts(world: World) -> Iterator[Figure]:
    """Row 1: 1,000 inserts while the worker is idle, in blocks by turns with a plain listener."""
    inserts = world.scale.of(1_000, 60)
    block = inserts // 10
    random = Random(1)
    world.serve("tiny", world.board(TINY).csv())
    ours: list[float] = []
    floor: list[float] = []
    with world.database() as database, world.kaggle() as kaggle:
        database.db.execute(SETUP)
        with world.worker(database, kaggle), world.process("tests.bench.listener", database.url) as listener:
            listener.wait_until_it_says("listening")
            _insert(database, random, 5)
            for _ in range(10):
                ours += _insert(database, random, block)
                asked = []
                for _ in range(block // 2):
                    time.sleep(random.uniform(0.05, 0.1))
                    begun = time.time()
                    asked.append((database.one("INSERT INTO floor_jobs DEFAULT VALUES RETURNING id"), begun))
                last = str(asked[-1][0])
                while not any(line.startswith(f"{last} ") for line in listener.said.splitlines()[-3:]):
                    time.sleep(0.01)
                claimed = {int(i): float(at) for i, at in map(str.split, listener.said.splitlines()[1:])}
                floor += [claimed[i] - begun for i, begun in asked]
    work = f"INSERT → job starts, {inserts:,} inserts"
    against = "a listener that claims a row"
    samples = {"ours": ours, "floor": floor}
    for name, share, limit in (("median", 0.5, 3), ("99th percentile", 0.99, 5)):
        mine, least = percentile(ours, share), percentile(floor, share)
        yield Figure(
            1, f"{work}, {name}", against, ms(mine), ms(least), mine / least, f"≤ {limit} ×", mine / least <= limit,
            samples if share == 0.5 else {},
        )  # fmt: skip
    yield Figure(1, "… the slowest", ours=ms(max(ours)), target="≤ 250 ms", met=max(ours) <= POLL)


def _insert(database: Database, random: Random, times: int) -> list[float]:
    """Insert competitions one by one. Returns the seconds from each INSERT to the start of its attempt."""
    begun = {}
    for _ in range(times):
        time.sleep(random.uniform(0.05, 0.1))
        moment = time.time()
        competition_id, _ = database.insert("tiny")
        begun[competition_id] = moment
    ids = list(begun)
    wait_until(database, "SELECT count(*) = %s FROM kaggle.sync_runs WHERE competition_id = ANY (%s)", times, ids)
    started = database.db.execute(
        "SELECT competition_id, extract(epoch FROM min(started_at))::float8 FROM kaggle.sync_runs"
        " WHERE competition_id = ANY (%s) GROUP BY competition_id",
        (ids,),
    ).fetchall()
    return [at - begun[competition_id] for competition_id, at in started]


def behind_an_old_snapshot(world: World) -> Iterator[Figure]:
    """Row 19: 50,000 jobs and requests have come and gone while somebody's transaction keeps their dead rows."""
    inserts, batches = world.scale.of(60, 10), world.scale.of(50, 2)
    random = Random(19)
    world.serve("tiny", world.board(TINY).csv())
    with world.database() as database, world.kaggle() as kaggle:
        db = database.db
        db.execute("ALTER SYSTEM SET autovacuum_naptime = '2s'")
        db.execute("SELECT pg_reload_conf()")
        with world.worker(database, kaggle):
            _insert(database, random, 10)
            before = _insert(database, random, inserts)
            with psycopg.connect(database.url) as holder:
                holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                holder.execute("SELECT 1")
                db.execute("SET session_replication_role = replica")  # no trigger wakes the worker
                for _ in range(batches):
                    with db.transaction():
                        for statement in _COME_AND_GO:
                            db.execute(statement)
                db.execute("SET session_replication_role = origin")
                time.sleep(3 * NAP)
                under = _insert(database, random, inserts)
            time.sleep(3 * NAP)
            after = _insert(database, random, inserts)
        db.execute("ALTER SYSTEM RESET autovacuum_naptime")
        db.execute("SELECT pg_reload_conf()")
    work = f"INSERT → job starts, {batches},000 dead jobs behind an old snapshot"
    for name, samples in ((work, under), ("… once it has ended", after)):
        mine, least = median(samples), median(before)
        yield Figure(
            19, name, "the same before", ms(mine), ms(least), mine / least, "reported", None,
            {"ours": samples, "floor": before},
        )  # fmt: skip


NAP = 2.0  # seconds between looks of autovacuum
_COME_AND_GO: tuple[LiteralString, ...] = (
    "INSERT INTO kaggle_internal.sync_requests (competition_id, reason, link_revision) "
    "SELECT -g, 'manual', 1 FROM generate_series(1, 1000) g",
    "INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, priority, args) "
    "SELECT 'kaggle', 'sync', 5, jsonb_build_object('competition_id', -g) FROM generate_series(1, 1000) g",
    "UPDATE procrastinate.procrastinate_jobs SET status = 'doing' WHERE status = 'todo'",
    "DELETE FROM procrastinate.procrastinate_jobs WHERE status = 'doing'",
    "DELETE FROM kaggle_internal.sync_requests WHERE competition_id < 0",
)


def asked_while_one_ends(world: World) -> Iterator[Figure]:
    """Row 2: wishes at random moments around the end of a sync; one INSERT of 1,000 rows."""
    tries = world.scale.of(1_000, 60)
    random = Random(2)
    world.serve("tiny", world.board(TINY).csv())
    again: list[float] = []
    other: list[float] = []
    with world.database() as database, world.kaggle() as kaggle, world.worker(database, kaggle):
        watched, slug = database.insert("tiny")
        length = 0.02
        for attempt in range(tries + 10):
            before = database.one("SELECT coalesce(max(id), 0) FROM kaggle.sync_runs")
            database.db.execute("SELECT kaggle.sync_now(%s)", (slug,))
            time.sleep(random.uniform(0, 1.5) * length)
            moment = time.time()
            if attempt % 2:
                database.db.execute("SELECT kaggle.sync_now(%s)", (slug,))
                asked = watched
            else:
                asked, _ = database.insert("tiny")
            started = wait_until(
                database,
                "SELECT extract(epoch FROM min(started_at))::float8 FROM kaggle.sync_runs"
                " WHERE competition_id = %s AND started_at >= to_timestamp(%s)",
                asked,
                moment,
                limit=20,
                pause=0.001,
            )
            wait_until(
                database, "SELECT count(*) = 0 FROM kaggle_internal.sync_requests", limit=20, pause=0.001
            )  # both are served
            begun, ended = database.db.execute(
                "SELECT extract(epoch FROM min(started_at))::float8, extract(epoch FROM min(finished_at))::float8"
                " FROM kaggle.sync_runs WHERE id > %s AND competition_id = %s",
                (before, watched),
            ).fetchone() or (0.0, 0.0)
            length = ended - begun + 0.005  # from the wish to the end of its sync, roughly
            if attempt < 10:
                continue
            # A sync of the same competition can only begin when the one that runs has ended.
            waited = started - (max(moment, ended) if asked == watched and begun < moment else moment)
            (again if asked == watched else other).append(waited)
    for name, waits in (("sync_now of the same competition", again), ("INSERT of another", other)):
        yield Figure(
            2, f"{name} while a sync ends, {len(waits)} tries: the slowest start after that end",
            ours=ms(max(waits)), target="none waits for a poll (≤ 250 ms)", met=max(waits) <= POLL,
            samples={"ours": waits},
        )  # fmt: skip
    yield _insert_of_many(world)


def _insert_of_many(world: World) -> Figure:
    rows = world.scale.of(1_000, 100)
    with world.database() as database:
        database.db.execute("CREATE TABLE plain (LIKE kaggle.competitions INCLUDING ALL)")

        def insert(table: str) -> float:
            database.db.execute("SET session_replication_role = replica")  # remove without a trigger
            database.db.execute(f"DELETE FROM {table}".encode())
            database.db.execute("DELETE FROM kaggle_internal.sync_requests")
            database.db.execute("DELETE FROM procrastinate.procrastinate_jobs")
            database.db.execute("RESET session_replication_role")
            statement = (
                f"INSERT INTO {table} (kaggle_competition_id, title, status)"
                f" SELECT 'many-' || n, 'Competition ' || n, 'ongoing' FROM generate_series(1, {rows}) n"
            )
            return seconds(lambda: database.db.execute(statement.encode()))

        ours, floor = in_turns(
            world.scale.of(15, 5), lambda: insert("kaggle.competitions"), lambda: insert("plain"), warm_up=3
        )
    mine, least = median(ours), median(floor)
    return Figure(
        2, f"one INSERT of {rows:,} competitions", "the same into a table without triggers", ms(mine), ms(least),
        mine / least, "≤ 3 ×", mine / least <= 3, {"ours": ours, "floor": floor},
    )  # fmt: skip


def board_visible(world: World) -> Iterator[Figure]:
    """Row 3: INSERT → whole board visible, everything between them real, against COPY and the download alone."""
    sizes = [1_744, world.scale.of(15_000, 3_000), world.scale.of(100_000, 6_000)]
    taken = []
    with world.kaggle() as kaggle:
        for teams in sizes:
            served = world.serve(f"whole{teams}", world.board(teams).csv())
            with world.database() as database, psycopg.connect(database.url, autocommit=True) as listening:
                database.make_floor()
                listening.execute("LISTEN kaggle_leaderboard")
                client = kaggle_client(kaggle)

                def ours(database=database, served=served, listening=listening, teams=teams) -> float:  # type: ignore[no-untyped-def]
                    database.empty()
                    begun = time.perf_counter()
                    _, slug = database.insert(served.name)
                    for _ in listening.notifies(stop_after=1):
                        pass
                    taken = time.perf_counter() - begun
                    query = "SELECT count(*) FROM kaggle.leaderboard WHERE kaggle_competition_id = %s"
                    if database.one(query, slug) != teams:
                        raise RuntimeError("the board was told before it could be seen")
                    return taken

                def download(client=client, served=served) -> float:  # type: ignore[no-untyped-def]
                    with tempfile.TemporaryFile() as archive:
                        return seconds(lambda: client.download_leaderboard(served.name, archive))

                with world.worker(database, kaggle):
                    visible, downloaded, copied = in_turns(
                        world.scale.of(9, 5), ours, download, lambda d=database, s=served: d.copy(s.csv), warm_up=2
                    )
            rest = median(visible) - median(downloaded) - 0.04
            least = median(copied)
            taken.append(median(visible))
            yield Figure(
                3, f"INSERT → whole board of {teams:,} visible",
                f"COPY; the download alone takes {ms(median(downloaded))}", ms(median(visible)), ms(least),
                median(visible) / least, f"≤ 5 × + download + 40 ms = {ms(5 * least + median(downloaded) + 0.04)}",
                rest <= 5 * least, {"ours": visible, "download": downloaded, "copy": copied},
            )  # fmt: skip
    yield growth(3, "INSERT → whole board", sizes, taken)
