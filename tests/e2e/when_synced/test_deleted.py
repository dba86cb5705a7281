"""A deleted competition takes its board, history and runs along."""

from __future__ import annotations

import pytest

from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import (
    OTHER,
    PATIENCE,
    SLUG,
    eventually,
    insert,
    rows,
    synced,
    value,
)
from tests.support.faults import Simulator
from tests.support.statements import MANY, insert_rows

OF_COMPETITIONS = (
    "kaggle_internal.sync_requests",
    "kaggle_internal.sync_state",
    "kaggle.sync_runs",
    "kaggle.boards",
    "kaggle.leaderboard_entries",
    "kaggle_internal.packs",
    "kaggle_internal.past_names",
)


def assert_nothing_is_left(db: Connection) -> None:
    """No table of the schema holds anything of a competition."""
    for table in OF_COMPETITIONS:
        eventually(db, 0, f"SELECT count(*) FROM {table}")
    assert value(db, "SELECT count(*) FROM kaggle.event_competitions") == 0


def test_deleting_a_competition_deletes_its_board_history_and_runs(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """Nothing of it is left in any table, and no job stays."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    with worker():
        insert(db, "titanic", event_id=value(db, "SELECT id FROM kaggle.events"))
        synced(db, "titanic")
        simulator.advance(5)
        db.execute("SELECT kaggle.sync_now('titanic')")
        synced(db, "titanic")
        assert value(db, "SELECT count(*) FROM kaggle.leaderboard_history") > 0
        db.execute("DELETE FROM kaggle.competitions")
        assert_nothing_is_left(db)
    assert value(db, "SELECT count(*) FROM procrastinate.procrastinate_jobs") == 0


def test_deleting_ten_thousand_asks_once_each(db: Connection) -> None:
    """One request each, one job."""
    insert_rows(db, MANY, "upcoming")
    db.execute("DELETE FROM kaggle.competitions")
    assert rows(db, "SELECT reason, count(*) FROM kaggle_internal.sync_requests GROUP BY 1") == [("deleted", MANY)]
    assert rows(db, "SELECT task_name FROM procrastinate.procrastinate_jobs") == [("sweep",)]


@pytest.mark.parametrize("again", [False, True])
def test_deleting_during_a_sync_leaves_nothing(
    db: Connection, worker: MakeWorker, simulator: Simulator, again: bool
) -> None:
    """The download is discarded; the same slug inserted anew is another competition."""
    gate = simulator.faults.hold(SLUG, "DownloadLeaderboard")
    with worker():
        old = insert(db)
        assert gate.arrived.wait(PATIENCE)
        db.execute("DELETE FROM kaggle.competitions")
        if again:
            insert(db)
            assert synced(db) == ("inserted", "changed")
        gate.release()
        for table in (
            "kaggle_internal.sync_requests",
            "kaggle_internal.sync_state",
            "kaggle.sync_runs",
            "kaggle.boards",
        ):
            eventually(db, 0, f"SELECT count(*) FROM {table} WHERE competition_id = %s", old)
        if again:
            assert value(db, "SELECT count(*) FROM kaggle.leaderboard WHERE NOT is_benchmark") == 1
            assert value(db, "SELECT count(*) FROM kaggle.boards") == 1
        else:
            assert_nothing_is_left(db)
    assert value(db, "SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE task_name = 'sync'") == 0


@pytest.mark.usefixtures("many_sweeps")
def test_truncating_leaves_nothing(db: Connection, worker: MakeWorker) -> None:
    """TRUNCATE … CASCADE, also with RESTART IDENTITY; numbers that come again meet nothing old."""
    with worker():
        for restart in ("", "RESTART IDENTITY"):
            insert(db)
            insert(db, OTHER, status="completed")
            synced(db)
            db.execute(f"TRUNCATE kaggle.competitions {restart} CASCADE")
            assert_nothing_is_left(db)
        assert insert(db, OTHER) == 1
        assert synced(db, OTHER) == ("inserted", "changed")
    assert rows(db, "SELECT DISTINCT kaggle_competition_id FROM kaggle.leaderboard") == [(OTHER,)]


def test_truncating_during_a_sync_leaves_nothing(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """The sync that ran finds its fence gone."""
    gate = simulator.faults.hold(SLUG, "DownloadLeaderboard")
    with worker():
        insert(db)
        assert gate.arrived.wait(PATIENCE)
        db.execute("TRUNCATE kaggle.competitions CASCADE")
        gate.release()
        insert(db, OTHER)
        synced(db, OTHER)
    assert rows(db, "SELECT slug FROM kaggle.boards") == [(OTHER,)]


def test_deleting_an_event_unlinks_its_competitions(db: Connection, worker: MakeWorker) -> None:
    """They and their boards stay."""
    event_id = value(db, "INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night') RETURNING id")
    with worker():
        insert(db, event_id=event_id)
        synced(db)
        db.execute("DELETE FROM kaggle.events")
    assert rows(db, "SELECT event_id FROM kaggle.competitions") == [(None,)]
    assert value(db, "SELECT count(*) FROM kaggle.event_competitions") == 0
    assert value(db, "SELECT count(*) FROM kaggle.leaderboard WHERE NOT is_benchmark") == 1
