"""kaggle.wait_for_sync."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import errors

from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import (
    PATIENCE,
    SLUG,
    eventually,
    insert,
    rows,
    synced,
)
from tests.support.faults import Simulator, Status


def test_waiting_returns_at_once_what_covers_it(db: Connection, worker: MakeWorker) -> None:
    """A run that has finished answers without waiting, with or without a worker."""
    with worker():
        insert(db)
        synced(db)
    assert rows(db, "SELECT reason, outcome FROM kaggle.wait_for_sync(%s, '0 s')", SLUG) == [("inserted", "changed")]


def test_waiting_returns_a_failed_run_too(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """The first that covers what was asked, and not the retry long after."""
    simulator.faults.put(SLUG, Status(503), method="DownloadLeaderboard")
    with worker():
        insert(db)
        assert synced(db) == ("inserted", "failed")
    assert rows(db, "SELECT outcome FROM kaggle.wait_for_sync(%s, '0 s')", SLUG) == [("failed",)]


def test_waiting_times_out_with_the_reason(db: Connection) -> None:
    """The error says how the sync stands and what to do."""
    insert(db)
    with pytest.raises(errors.QueryCanceled, match="no sync of") as timed_out:
        db.execute("SELECT kaggle.wait_for_sync(%s, '50 ms')", (SLUG,))
    assert timed_out.value.diag.message_detail == "sync_state is queued"
    assert timed_out.value.diag.message_hint == "no worker is running: start one with pgleaderboard work"


def test_waiting_for_null_is_waiting_as_by_default(db: Connection, connect: Connect) -> None:
    """It sleeps between two looks, and ends when it is cancelled."""
    insert(db)
    session = connect()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.execute, "SELECT kaggle.wait_for_sync(%s, NULL)", (SLUG,))
        try:
            asleep = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"
            eventually(db, "PgSleep", asleep, session.info.backend_pid)
        finally:
            session.cancel_safe()
        with pytest.raises(errors.QueryCanceled, match="user request"):
            waiting.result(PATIENCE)


@pytest.mark.parametrize("unknown", ["nowhere", "https://www.kaggle.com/c/nowhere"])
def test_waiting_for_an_unknown_competition_raises(db: Connection, unknown: str) -> None:
    """At once."""
    with pytest.raises(errors.NoDataFound):
        db.execute("SELECT kaggle.wait_for_sync(%s)", (unknown,))


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_waiting_above_read_committed_raises(db: Connection, level: str) -> None:
    """It would see nothing new there."""
    insert(db)
    with db.transaction():
        db.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with pytest.raises(errors.InvalidTransactionState, match="READ COMMITTED"):
            db.execute("SELECT kaggle.wait_for_sync(%s)", (SLUG,))
        db.execute("ROLLBACK")
        db.execute("BEGIN")


@pytest.mark.parametrize("nested", [False, True])
def test_waiting_in_the_transaction_that_asked_raises(db: Connection, connect: Connect, nested: bool) -> None:
    """At once, with the remedy; a savepoint makes no difference."""
    session = connect()
    insert(session)
    if nested:
        session.execute("SAVEPOINT inner_one")
    with pytest.raises(errors.InvalidTransactionState) as refused:
        session.execute("SELECT kaggle.wait_for_sync(%s, '5 s')", (SLUG,))
    assert refused.value.diag.message_hint == "COMMIT first, then call wait_for_sync."
