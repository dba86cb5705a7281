"""Managed databases: the main job behind PgBouncer in transaction mode, as a role that may do next to nothing."""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
import threading
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgleaderboard.database import migrate
from pgleaderboard.errors import NeedsPerson, Transient
from pgleaderboard.process.session import Configuration
from pgleaderboard.process.supervisor import State, Supervisor, running
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import OTHER, SLUG, eventually, insert, rows, runs, status, sweep_soon, synced, value
from tests.support.boards import COLUMNS, leaderboard, read_csv, shown
from tests.support.faults import Simulator, Status
from tests.support.kaggle import make_kaggle
from tests.support.pooler import pgbouncer


@pytest.fixture
def plain(empty_database: str) -> Iterator[str]:
    """DSN of a migrated database that belongs to a role without superuser, CREATEDB and CREATEROLE."""
    role = f"plain_{secrets.token_hex(4)}"
    name = conninfo_to_dict(empty_database)["dbname"]
    with Connection.connect(empty_database, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'plain'").format(sql.Identifier(role)))
        admin.execute(
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(str(name)), sql.Identifier(role))
        )
        yield make_conninfo(empty_database, user=role, password="plain")
        admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def assert_exact(db: Connection, simulator: Simulator, slug: str = SLUG) -> None:
    """Every field of every row is what Kaggle served."""
    found = rows(db, f"SELECT {COLUMNS} FROM kaggle.leaderboard WHERE kaggle_competition_id = %s", slug)
    served = zipfile.ZipFile(io.BytesIO(simulator.download(slug) or b""))
    assert leaderboard(found) == leaderboard(shown(read_csv(served.read(served.namelist()[0]))))


def test_the_whole_job_behind_pgbouncer(plain: str, simulator: Simulator, worker: MakeWorker) -> None:
    """Insert, change, failure and recovery, budget, import, metadata, completion, history, deletion: all as without."""
    with pgbouncer(plain) as pooled:
        assert migrate.migrate(plain)
        with (
            worker(
                url=pooled,
                direct_url=plain,
                kaggle=make_kaggle(simulator.url),
                requests_per_minute=6000,
                concurrency=6,
                history_for=timedelta(days=1),
            ),
            Connection.connect(pooled, autocommit=True, prepare_threshold=None) as db,
        ):
            competition_id = insert(db)
            assert synced(db) == ("inserted", "changed")
            assert_exact(db, simulator)
            eventually(db, True, "SELECT bool_or(title IS NOT NULL) FROM kaggle.competitions")

            simulator.advance(5)
            db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
            assert synced(db) == ("manual", "changed")
            assert_exact(db, simulator)
            assert rows(db, "SELECT rank_now, what FROM kaggle.movers(%s, interval '1 hour')", SLUG) == [(1, "new")]

            simulator.faults.put(SLUG, Status(503))
            db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
            assert synced(db) == ("manual", "failed")
            move_to_retry(plain)
            eventually(db, 0, "SELECT consecutive_failures FROM kaggle.sync_status")
            assert "failed" not in runs(db)[-1]

            with db.transaction():  # many at once, in one transaction of the pooler's
                imported = rows(
                    db,
                    "SELECT outcome FROM kaggle.import_competitions(%s)",
                    [f"simulated-{n}-teams" for n in range(10, 22)],
                )
            assert imported == [("created",)] * 12
            eventually(db, 13, "SELECT count(*) FROM kaggle.sync_status WHERE sync_state = 'idle' AND teams > 0")
            for teams in (10, 21):
                assert_exact(db, simulator, f"simulated-{teams}-teams")

            db.execute("UPDATE kaggle.competitions SET status = 'completed' WHERE id = %s", (competition_id,))
            assert synced(db) == ("completed", "unchanged")
            insert(db, OTHER, auto_sync=False)
            assert status(db, "sync_state", OTHER) == "off"
            db.execute("DELETE FROM kaggle.competitions WHERE id = %s", (competition_id,))
            eventually(db, 0, "SELECT count(*) FROM kaggle.boards WHERE competition_id = %s", competition_id)
            assert value(db, "SELECT count(*) FROM kaggle.workers") == 1
        assert value_of(plain, "SELECT count(*) FROM kaggle_internal.worker_processes") == 0


def test_a_pooler_on_the_direct_way_is_named(plain: str, simulator: Simulator) -> None:
    """The worker's log says which setting is missing, before whatever else goes wrong there."""
    assert migrate.migrate(plain)
    named = threading.Event()

    class Named(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "set PGLEADERBOARD_DIRECT_URL" in record.getMessage():
                named.set()

    logger, handler = logging.getLogger("pgleaderboard"), Named()
    logger.addHandler(handler)
    try:
        with pgbouncer(plain) as pooled, running(once(pooled, simulator)):
            assert named.wait(30)
    finally:
        logger.removeHandler(handler)


def test_a_database_that_the_pooler_does_not_know(
    plain: str, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The direct URL works: the pooler's words, once, and the end, with nothing registered."""
    monkeypatch.setattr("pgleaderboard.process.supervisor.POOLER_PATIENCE", 1.0)
    assert migrate.migrate(plain)
    with pgbouncer(plain) as pooled:
        kaggle = make_kaggle(simulator.url)
        url = make_conninfo(pooled, dbname="nothing_here")
        worker = Supervisor(Configuration(url, plain, kaggle, 4, 0, 2**28, timedelta(days=30)))
        with pytest.raises(NeedsPerson, match="no such database: nothing_here"):
            asyncio.run(worker.run())
    assert value_of(plain, "SELECT count(*) FROM kaggle_internal.worker_processes") == 0


def move_to_retry(url: str) -> None:
    """Let the retry's time come. session_replication_role needs a superuser; sync_state has no triggers."""
    with Connection.connect(url, autocommit=True) as db:
        db.execute("UPDATE kaggle_internal.sync_state SET retry_at = clock_timestamp() WHERE retry_at IS NOT NULL")
        sweep_soon(db)


def value_of(url: str, query: str) -> object:
    """The one value of a query on a connection of its own."""
    with Connection.connect(url, autocommit=True) as db:
        return value(db, query)


def once(url: str, simulator: Simulator) -> Supervisor:
    """A worker for one round."""
    kaggle = make_kaggle(simulator.url)
    return Supervisor(
        Configuration(url, url, kaggle, concurrency=4, requests_per_minute=0, limit=2**28, runs_for=timedelta(days=30))
    )


def test_once_wakes_a_database_that_refuses_at_first(
    url: str, db: Connection, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cron's `work --once` meets a database that sleeps: it is tried again for some seconds, then all is done."""
    host = str(db.info.host)
    if not host.startswith("/"):
        pytest.skip("the server has no Unix socket that could be hidden")
    monkeypatch.setattr("pgleaderboard.process.supervisor.WAKING", 60.0)
    insert(db)
    name = f".s.PGSQL.{db.info.port}"
    supervisor = once(make_conninfo(url, host=str(tmp_path)), simulator)

    async def wake(seconds: float) -> None:
        """Wakes it the first time that it is waited for."""
        assert supervisor.health.state is State.WAITING
        (tmp_path / name).symlink_to(Path(host) / name)

    monkeypatch.setattr(supervisor, "_pause", wake)
    asyncio.run(supervisor.run(once=True))
    assert runs(db) == [("inserted", "changed")]


def test_once_gives_up_on_a_database_that_stays_away(
    url: str, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clear line after the patience; a database that does not exist is told without any."""
    monkeypatch.setattr("pgleaderboard.process.supervisor.WAKING", 0.3)
    with pytest.raises(Transient, match=r"^the database is out of reach: [^\n]*$"):
        asyncio.run(once(make_conninfo(url, host=str(tmp_path)), simulator).run(once=True))
    monkeypatch.setattr("pgleaderboard.process.supervisor.WAKING", 3600.0)
    with pytest.raises(NeedsPerson, match="does not exist"):
        asyncio.run(once(make_conninfo(url, dbname="nothing_here"), simulator).run(once=True))
