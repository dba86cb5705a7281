"""A competition that is changed so that it is to be synced is synced at once."""

from __future__ import annotations

from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import (
    OTHER,
    PATIENCE,
    SLUG,
    assert_nothing_is_wanted,
    insert,
    rows,
    runs,
    synced,
    value,
)
from tests.support.faults import Simulator
from tests.support.statements import CHANGING, Write, insert_rows, update_rows

MANY = 1_000


@CHANGING
def test_a_competition_that_becomes_ongoing_is_synced_at_once(db: Connection, worker: MakeWorker, write: Write) -> None:
    """From upcoming as from completed."""
    with worker():
        competition_id = insert(db, status="upcoming")
        assert_nothing_is_wanted(db, competition_id)
        update = (
            write
            if write is not update_rows
            else lambda *_: db.execute(
                "UPDATE kaggle.competitions SET status = 'ongoing' WHERE id = %s", (competition_id,)
            )
        )
        update(db, 1, "ongoing")
        assert synced(db) == ("ongoing", "changed")
        db.execute("UPDATE kaggle.competitions SET status = 'completed' WHERE id = %s", (competition_id,))
        assert synced(db) == ("completed", "unchanged")
        update(db, 1, "ongoing")
        assert synced(db) == ("ongoing", "unchanged")


@CHANGING
def test_a_thousand_that_become_ongoing_ask_once_each(db: Connection, write: Write) -> None:
    """One request each and one job, as for an insert."""
    insert_rows(db, MANY, "upcoming")
    assert value(db, "SELECT count(*) FROM procrastinate.procrastinate_jobs") == 0
    write(db, MANY, "ongoing")
    assert rows(db, "SELECT reason, count(*) FROM kaggle_internal.sync_requests GROUP BY reason") == [("ongoing", MANY)]
    assert value(db, "SELECT count(DISTINCT competition_id) FROM kaggle_internal.sync_requests") == MANY
    assert rows(db, "SELECT task_name FROM procrastinate.procrastinate_jobs") == [("sweep",)]


def test_a_kaggle_id_that_is_added_is_synced_at_once(db: Connection, worker: MakeWorker) -> None:
    """A competition that was not on Kaggle yet gets its board when the id is known."""
    with worker():
        competition_id = insert(db, None, title="Soon on Kaggle")
        assert_nothing_is_wanted(db, competition_id)
        db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s WHERE id = %s", (SLUG, competition_id))
        assert synced(db) == ("linked", "changed")


def test_a_thousand_kaggle_ids_added_ask_once_each(db: Connection) -> None:
    """One request each and one job."""
    db.execute(
        "INSERT INTO kaggle.competitions (title, status) SELECT 'T' || n, 'ongoing' FROM generate_series(1, %s) n",
        (MANY,),
    )
    assert value(db, "SELECT count(*) FROM kaggle_internal.sync_requests") == 0
    db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'slug-' || id")
    assert rows(db, "SELECT reason, count(*) FROM kaggle_internal.sync_requests GROUP BY reason") == [("linked", MANY)]
    assert rows(db, "SELECT task_name FROM procrastinate.procrastinate_jobs") == [("sweep",)]


def test_another_kaggle_id_starts_another_board(db: Connection, worker: MakeWorker) -> None:
    """The new board is shown at once; the old one stays under its slug, and comes back with it."""
    with worker():
        competition_id = insert(db)
        assert synced(db) == ("inserted", "changed")
        db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (OTHER,))
        assert synced(db, OTHER) == ("linked", "changed")
        assert rows(
            db,
            "SELECT kaggle_competition_id, count(*) FROM kaggle.leaderboard WHERE rank IS NOT NULL GROUP BY 1",
        ) == [(OTHER, 2)]
        assert rows(
            db,
            "SELECT b.slug, count(*) FROM kaggle.boards b JOIN kaggle.leaderboard_entries e ON e.board_id = b.id "
            "WHERE b.competition_id = %s AND NOT e.is_benchmark GROUP BY b.id, b.slug ORDER BY b.id",
            competition_id,
        ) == [(SLUG, 1), (OTHER, 2)]
        db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (SLUG,))
        assert synced(db) == ("linked", "unchanged")
    assert value(db, "SELECT count(*) FROM kaggle.boards") == 2


def test_a_download_for_the_former_kaggle_id_is_discarded(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """A → B → A while A is fetched: what was asked for before the change is not applied, and A is fetched again."""
    gate = simulator.faults.hold(SLUG, "DownloadLeaderboard")
    with worker():
        insert(db)
        assert gate.arrived.wait(PATIENCE)
        db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (OTHER,))
        db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (SLUG,))
        gate.release()
        assert synced(db) == ("linked", "changed")
    assert runs(db) == [("inserted", "skipped"), ("linked", "changed")]


def test_auto_sync_switched_on_is_synced_at_once(db: Connection, worker: MakeWorker) -> None:
    """Switched off nothing happens, switched on it does."""
    with worker():
        competition_id = insert(db, auto_sync=False)
        assert_nothing_is_wanted(db, competition_id)
        db.execute("UPDATE kaggle.competitions SET auto_sync = true WHERE id = %s", (competition_id,))
        assert synced(db) == ("auto_sync", "changed")


def test_a_thousand_switched_on_ask_once_each(db: Connection) -> None:
    """One request each and one job."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) "
        "SELECT 'slug-' || n, false FROM generate_series(1, %s) n",
        (MANY,),
    )
    assert value(db, "SELECT count(*) FROM kaggle_internal.sync_requests") == 0
    db.execute("UPDATE kaggle.competitions SET auto_sync = true")
    assert rows(db, "SELECT reason, count(*) FROM kaggle_internal.sync_requests GROUP BY reason") == [
        ("auto_sync", MANY)
    ]
    assert rows(db, "SELECT task_name FROM procrastinate.procrastinate_jobs") == [("sweep",)]
