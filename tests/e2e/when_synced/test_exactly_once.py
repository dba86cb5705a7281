"""No request is missed, and none is done twice."""

from __future__ import annotations

import pytest

from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import (
    OTHER,
    PATIENCE,
    SLUG,
    assert_nothing_is_wanted,
    eventually,
    insert,
    move_time,
    rows,
    runs,
    synced,
    value,
)
from tests.support.faults import Simulator


def test_what_was_asked_while_the_worker_was_down_is_done_when_it_is_back(db: Connection, worker: MakeWorker) -> None:
    """Each kind of change, and with the queue's jobs all lost."""
    with worker():
        for slug in (SLUG, OTHER, "simulated-5-teams"):
            insert(db, slug)
            synced(db, slug)
    insert(db, "simulated-6-teams")
    insert(db, "simulated-7-teams", status="completed")
    db.execute("SELECT kaggle.sync_now('simulated-7-teams')")
    db.execute("UPDATE kaggle.competitions SET status = 'completed' WHERE kaggle_competition_id = %s", (SLUG,))
    db.execute(
        "UPDATE kaggle_internal.sync_state SET due_at = now() FROM kaggle.competitions c "
        "WHERE c.id = competition_id AND kaggle_competition_id = %s",
        (OTHER,),
    )
    gone = value(db, "DELETE FROM kaggle.competitions WHERE kaggle_competition_id = 'simulated-5-teams' RETURNING id")
    with db.transaction():
        db.execute("SET LOCAL search_path = procrastinate")  # its triggers use unqualified names
        db.execute("DELETE FROM procrastinate_jobs")
    with worker():
        assert synced(db, "simulated-6-teams") == ("inserted", "changed")
        assert synced(db, "simulated-7-teams") == ("manual", "changed")
        assert synced(db, SLUG) == ("completed", "unchanged")
        eventually(
            db,
            "scheduled",
            "SELECT reason FROM kaggle.sync_runs r JOIN kaggle.competitions c "
            "ON c.id = r.competition_id WHERE kaggle_competition_id = %s ORDER BY r.id DESC LIMIT 1",
            OTHER,
        )
        eventually(db, 0, "SELECT count(*) FROM kaggle_internal.sync_state WHERE competition_id = %s", gone)


@pytest.mark.parametrize("running", [False, True])
def test_a_burst_of_changes_is_one_sync(
    db: Connection, worker: MakeWorker, simulator: Simulator, running: bool
) -> None:
    """Or one more, if one was running that may have been too early for them."""
    gate = simulator.faults.hold(SLUG, "DownloadLeaderboard")
    competition_id = insert(db, auto_sync=False)
    if running:
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
    with worker():
        if running:
            assert gate.arrived.wait(PATIENCE)
        with db.transaction():
            for _ in range(20):
                db.execute("UPDATE kaggle.competitions SET auto_sync = NOT auto_sync")
                db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        for _ in range(20):
            if running:
                db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
                db.execute("UPDATE kaggle.competitions SET auto_sync = NOT auto_sync")
        assert gate.arrived.wait(PATIENCE)
        gate.release()
        assert ("manual", "unchanged" if running else "changed") == synced(db)
        assert_nothing_is_wanted(db, competition_id, before=1 + running)


def test_a_change_from_each_of_several_sessions_is_covered(
    db: Connection, connect: Connect, worker: MakeWorker, simulator: Simulator
) -> None:
    """A request that commits while a sync runs is followed by another sync, even if it was written before it began."""
    insert(db, auto_sync=False)
    early, late = connect(), connect()
    early.execute("SELECT kaggle.sync_now(%s)", (SLUG,))  # written first, committed last
    late.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
    gate = simulator.faults.hold(SLUG, "DownloadLeaderboard")
    with worker():
        late.commit()
        assert gate.arrived.wait(PATIENCE)
        early.commit()
        gate.release()
        assert synced(db) == ("manual", "unchanged")
        assert runs(db) == [("manual", "changed"), ("manual", "unchanged")]


def test_a_sweep_finds_rows_that_came_without_triggers(db: Connection, connect: Connect, worker: MakeWorker) -> None:
    """A restore, or a replica: a thorough sweep queues what nobody asked for."""
    move_time(db, "INSERT INTO kaggle.competitions (kaggle_competition_id, status) VALUES (%s, 'ongoing')", SLUG)
    assert value(db, "SELECT count(*) FROM kaggle_internal.sync_requests") == 0
    session = connect()
    worker_id = value(session, "SELECT kaggle_internal.register_worker('test', '')")
    session.commit()
    assert rows(db, "SELECT queued FROM kaggle_internal.sweep(%s, true)", worker_id) == [(1,)]
    with worker():
        assert synced(db) == ("scheduled", "changed")


def test_a_sweep_finds_a_link_that_changed_without_triggers(
    db: Connection, connect: Connect, worker: MakeWorker
) -> None:
    """A row that got another Kaggle id while triggers were off."""
    with worker():
        insert(db)
        synced(db)
    move_time(
        db,
        "UPDATE kaggle.competitions SET kaggle_competition_id = %s,"
        " link_revision = nextval('kaggle_internal.link_revisions')",
        OTHER,
    )
    with worker():
        eventually(db, "linked", "SELECT reason FROM kaggle.sync_runs ORDER BY id DESC LIMIT 1")
    assert value(db, "SELECT count(*) FROM kaggle.boards") == 2
