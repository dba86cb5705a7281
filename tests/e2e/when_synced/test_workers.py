"""kaggle.workers and kaggle.sync_status show which workers live and what state a sync is in."""

from __future__ import annotations

from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import (
    OTHER,
    PATIENCE,
    SLUG,
    eventually,
    insert,
    rows,
    status,
    synced,
    value,
)
from tests.support.faults import Simulator, Status


def test_an_insert_says_when_no_worker_is_running(db: Connection, worker: MakeWorker) -> None:
    """And says nothing when one is, or when nothing was asked for."""
    notices: list[str] = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    insert(db)
    db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
    assert notices == ["no pgleaderboard worker is running"] * 2
    assert (status(db, "problem") or "").startswith("no worker is running")
    insert(db, "not-yet", status="upcoming")
    with worker():
        eventually(db, 1, "SELECT count(*) FROM kaggle.workers")
        insert(db, OTHER)
        synced(db, OTHER)
    assert len(notices) == 2


def test_workers_shows_who_is_alive(db: Connection, worker: MakeWorker) -> None:
    """Two while two are, none after they ended; each with its version and heartbeat."""
    with worker(), worker():
        eventually(db, 2, "SELECT count(*) FROM kaggle.workers")
        assert value(db, "SELECT count(*) FROM kaggle.workers WHERE version <> '' AND seen_at >= started_at") == 2
    assert value(db, "SELECT count(*) FROM kaggle.workers") == 0


def test_a_worker_whose_heartbeat_is_old_is_not_alive(db: Connection, connect: Connect) -> None:
    """Its connection may be up; it says nothing, so it does not count. Nor does one without its connection."""
    session = connect()
    worker_id = value(session, "SELECT kaggle_internal.register_worker('test', '')")
    session.commit()
    assert [(worker_id,)] == rows(db, "SELECT id FROM kaggle.workers")
    db.execute("UPDATE kaggle_internal.worker_processes SET seen_at = now() - interval '31 s'")
    assert rows(db, "SELECT id FROM kaggle.workers") == []
    db.execute("UPDATE kaggle_internal.worker_processes SET seen_at = now()")
    session.close()
    eventually(db, 0, "SELECT count(*) FROM kaggle.workers")


def test_each_sync_state_is_reached(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """queued, running, idle, failing, off: the first of them that holds."""
    gate = simulator.faults.hold(SLUG, "DownloadLeaderboard")
    insert(db)
    insert(db, None, title="Not on Kaggle")
    assert status(db, "sync_state") == "queued"
    with worker():
        assert gate.arrived.wait(PATIENCE)
        assert status(db, "sync_state") == "running"
        gate.release()
        synced(db)
        assert status(db, "sync_state") == "idle"
        simulator.faults.put(SLUG, Status(404), method="DownloadLeaderboard")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
        assert (status(db, "sync_state"), status(db, "consecutive_failures")) == ("failing", 1)
        assert "404" in status(db, "last_error")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
        assert tuple(status(db, each) for each in ("sync_state", "consecutive_failures", "last_error")) == (
            "idle",
            0,
            None,
        )
    db.execute("UPDATE kaggle.competitions SET auto_sync = false")
    assert status(db, "sync_state") == "off"
    assert rows(db, "SELECT sync_state FROM kaggle.sync_status WHERE title = 'Not on Kaggle'") == [("off",)]
