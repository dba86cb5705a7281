"""kaggle.workers and kaggle.sync_status show which workers live and what state a sync is in."""

from __future__ import annotations

from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import (
    OTHER,
    PATIENCE,
    SLUG,
    eventually,
    insert,
    move_time,
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


def test_a_problem_is_first_what_a_person_must_mend(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Not the missing worker, as for those who run `work --once` from cron; and that only once something is late."""
    simulator.faults.put(OTHER, Status(403), times=None)
    with worker():
        insert(db)
        insert(db, OTHER)
        synced(db)
        assert synced(db, OTHER)[1] == "failed"
    assert (status(db, "problem"), status(db, "is_late")) == (None, False)
    assert "403" in status(db, "problem", OTHER)
    for interval, gap, age, late in (
        ("5 min", None, "9 min", False),
        ("5 min", None, "11 min", True),
        ("5 min", "1 hour", "119 min", False),
        ("5 min", "1 hour", "121 min", True),
        ("3 hours", "1 hour", "121 min", False),
    ):
        move_time(db, "UPDATE kaggle.competitions SET sync_interval = %s", interval)
        move_time(db, "UPDATE kaggle_internal.sync_state SET success_gap = %s, due_interval = %s", gap, interval)
        move_time(db, "UPDATE kaggle.boards SET observed_at = clock_timestamp() - %s::interval", age)
        assert status(db, "is_late") == late
        assert ((status(db, "problem") or "")[:20] == "no worker is running") == late
    assert "403" in status(db, "problem", OTHER)


def test_waiting_for_the_budget_is_said(db: Connection, connect: Connect) -> None:
    """A worker is there, the board is late, and the next request goes out in a while; or Kaggle asked for a pause."""
    session = connect()
    value(session, "SELECT kaggle_internal.register_worker('test', 'c', requests_per_minute => 1)")
    session.commit()
    insert(db)
    assert status(db, "problem") is None
    db.execute("SELECT kaggle_internal.take_grant('c', 1)")
    assert status(db, "problem").startswith("waiting for the budget of requests to Kaggle")
    db.execute("SELECT kaggle_internal.block_budget('c', '1 minute')")
    assert status(db, "problem") == "Kaggle asked for a pause"


def test_a_late_board_names_its_failure_before_the_budget(
    db: Connection, connect: Connect, worker: MakeWorker, simulator: Simulator
) -> None:
    """Kaggle failed, and another sync has the next request: what failed is what a person wants to know."""
    with worker():
        insert(db)
        synced(db)
        simulator.faults.put(SLUG, Status(503), times=None)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db)[1] == "failed"
    session = connect()
    value(session, "SELECT kaggle_internal.register_worker('test', 'c', requests_per_minute => 1)")
    session.commit()
    db.execute("SELECT kaggle_internal.take_grant('c', 1)")
    move_time(db, "UPDATE kaggle.boards SET observed_at = clock_timestamp() - interval '3 hours'")
    assert status(db, "is_late")
    assert "503" in status(db, "problem")


def test_the_gap_between_successes_is_known(db: Connection, worker: MakeWorker) -> None:
    """After the second one."""
    gap = "SELECT success_gap FROM kaggle_internal.sync_state"
    with worker():
        insert(db)
        synced(db)
        assert value(db, gap) is None
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
    finished = "SELECT max(finished_at) - min(finished_at) FROM kaggle.sync_runs"
    assert value(db, gap) == value(db, finished)


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
    assert [(worker_id,)] == rows(db, "SELECT worker_id FROM kaggle.workers")
    db.execute("UPDATE kaggle_internal.worker_processes SET seen_at = now() - interval '31 s'")
    assert rows(db, "SELECT worker_id FROM kaggle.workers") == []
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
