"""A standby is promoted, with and without the last transactions; a COMMIT waits for a standby."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from pgleaderboard.database import migrate
from pgleaderboard.database.connect import conninfo
from pgleaderboard.sync.store import Store
from tests.e2e.test_examples import listening
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import OTHER, SLUG, eventually, insert, runs, synced, value
from tests.support.boards import teams, zip_of
from tests.support.faults import Simulator
from tests.support.pooler import pgbouncer
from tests.support.standby import Standby, replicated
from tests.support.syncs import Syncs


@pytest.fixture
def standby() -> Iterator[Standby]:
    """The standby of a migrated database, which `standby.primary_url` names."""
    with replicated() as (url, made):
        migrate.migrate(url)
        yield made


@pytest.fixture
def url(standby: Standby) -> str:
    """The database of `worker`, while there is a primary."""
    return standby.primary_url


@contextmanager
def client(url: str) -> Iterator[Connection]:
    """Somebody's connection."""
    with Connection.connect(conninfo(url, "test"), autocommit=True) as connection:
        yield connection


@contextmanager
def registered(url: str) -> Iterator[Store]:
    """The store of a worker that has registered."""
    with client(url) as session:
        store = Store(
            url, value(session, "SELECT kaggle_internal.register_worker('test', 'credential')"), connections=1
        )
        store.open()
        yield store
        store.close()


def begin(db: Connection, store: Store, competition: int, slug: str = SLUG) -> tuple[int, UUID]:
    """Begin an attempt that somebody asked for."""
    db.execute("SELECT kaggle.sync_now(%s)", (slug,))
    begun = store.begin_sync(competition, token=uuid4())
    assert begun.action == "sync"
    assert begun.token
    return begun.run_id, begun.token


NUMBERS = """
    SELECT least((SELECT min(id) FROM kaggle.boards WHERE competition_id = %(new)s),
                 (SELECT link_revision FROM kaggle.competitions WHERE id = %(new)s),
                 (SELECT max(id) FROM kaggle.sync_runs WHERE competition_id = %(old)s),
                 (SELECT max(id) FROM kaggle_internal.sync_requests),
                 (SELECT max(id) FROM kaggle_internal.worker_processes))
"""


def test_numbers_that_were_lost_stand_for_nothing_else(standby: Standby, tmp_path: Path) -> None:
    """A standby becomes the primary without the last transactions: nothing that was begun before is applied to it.

    Whoever listens hears what is new there, although it heard of a run that is gone.
    """
    with listening(standby.either, tmp_path / "seen.json") as listener:
        with client(standby.primary_url) as db, registered(standby.primary_url) as store:
            old = insert(db, SLUG)
            syncs = Syncs(db, store, old)
            kept = syncs.end(*ended(begin(db, store, old), teams(1)))
            assert kept.outcome == "changed"
            running = begin(db, store, old)
            standby.caught_up()
            standby.stop()
            syncs.end(*ended(running, teams(2, 1)))
            first, lost = listener.run(), listener.run()
            unfinished = begin(db, store, old)
        standby.crash_primary()
        standby.start()
        standby.promote()

        with client(standby.url) as db:
            before = Store(standby.url, store.worker_id, connections=1)
            before.open()
            with pytest.raises(psycopg.errors.AdminShutdown, match="before this server was promoted"):
                before.begin_sync(old)
            syncs = Syncs(db, before, old)
            for begun in (running, unfinished):
                assert syncs.end(*ended(begun, teams(3))).outcome is None
            with registered(standby.url) as after:
                for begun in (running, unfinished):
                    assert syncs.end(*ended(begun, teams(3))).outcome is None
                again = begin(db, after, old)
                assert Syncs(db, after, old).end(*ended(again, teams(2, 1))).outcome == "changed"
                new = insert(db, OTHER)
                Syncs(db, after, new).end(*ended(begin(db, after, new, OTHER), teams(1)))
                insert(db, "a-third")
                assert db.execute(NUMBERS, {"old": old, "new": new}).fetchone() > (1_000_000,)
            before.close()
        assert [listener.run(), listener.run()] == [again[0], value_after(standby, new)]
        assert first < lost < 1_000_000 < again[0]
        assert listener.kill() == []


def ended(begun: tuple[int, UUID], board: object) -> tuple[int, bytes, UUID]:
    """For `Syncs.end`."""
    return begun[0], zip_of(board), begun[1]


def value_after(standby: Standby, competition: int) -> int:
    """The last run of a competition."""
    with client(standby.url) as db:
        return int(value(db, "SELECT max(id) FROM kaggle.sync_runs WHERE competition_id = %s", competition))


def test_a_worker_follows_the_primary(standby: Standby, worker: MakeWorker) -> None:
    """What was wanted at the old one and what is wanted at the new one is synced there."""
    with worker(url=standby.either, direct_url=standby.either):
        with client(standby.primary_url) as db:
            insert(db, SLUG)
            assert synced(db) == ("inserted", "changed")
            standby.caught_up()
        standby.take_over()
        with client(standby.url) as db:
            insert(db, OTHER)
            assert synced(db, OTHER) == ("inserted", "changed")
            db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
            assert synced(db) == ("manual", "unchanged")
            assert runs(db) == [("inserted", "changed"), ("manual", "unchanged")]


def test_a_worker_whose_pooler_leads_to_a_standby_waits(
    standby: Standby, worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes no job that it cannot end; when the standby has become the primary it works."""
    with pgbouncer(standby.url) as pooled, client(standby.primary_url) as db:
        insert(db, SLUG)
        standby.caught_up()
        with worker(url=pooled, direct_url=standby.either):
            db.close()
            standby.take_over()
            with client(standby.url) as promoted:
                assert synced(promoted) == ("inserted", "changed")


def waiting(db: Connection) -> list[tuple[int, str]]:
    """Who waits for a standby that confirms a COMMIT."""
    return db.execute(
        "SELECT pid, application_name FROM pg_stat_activity WHERE wait_event = 'SyncRep' ORDER BY pid"
    ).fetchall()


@pytest.mark.parametrize("ends", ["pg_cancel_backend", "pg_terminate_backend", None])
def test_a_commit_that_waits_for_a_standby_is_no_failure(
    standby: Standby,
    worker: MakeWorker,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    ends: str | None,
) -> None:
    """Heartbeats, sweeps and beginnings wait for none; the board is there when somebody has ended the wait."""
    if ends is None:
        monkeypatch.setattr("pgleaderboard.database.connect.Connection.statement_seconds", 5)
        monkeypatch.setattr("pgleaderboard.database.connect._GRACE", 1)
    with client(standby.primary_url) as db:
        db.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        db.execute("SELECT pg_reload_conf()")
        db.execute("SET synchronous_commit = local")
        with worker():
            insert(db, SLUG)
            eventually(db, 1, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            beat = value(db, "SELECT seen_at FROM kaggle.workers")
            eventually(db, True, "SELECT seen_at > %s FROM kaggle.workers", beat)
            ((pid, name),) = waiting(db)
            assert name == "pgleaderboard"
            if ends:
                db.execute(f"SELECT {ends}(%s)", (pid,))
            assert synced(db) == ("inserted", "changed")
            eventually(db, "idle", "SELECT sync_state FROM kaggle.sync_status")
            assert runs(db) == [("inserted", "changed")]
    assert [record for record in caplog.records if "sync failed" in record.message] == []
