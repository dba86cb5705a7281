"""Sessions that sit in a transaction, more of them than syncs run at once, hold nobody up."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.faults import Simulator
from tests.support.hands import EDITS, IMPATIENT, Hands, insert, jobs, once_synced

HOLDING = (
    "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%(new)s)",
    "UPDATE kaggle.competitions SET kaggle_competition_id = %(new)s WHERE id = %(id)s",
    "UPDATE kaggle.competitions SET title = 'held', sync_interval = '1 hour' WHERE id = %(id)s",
    "DELETE FROM kaggle.competitions WHERE id = %(id)s",
    "SELECT kaggle.sync_now(%(slug)s)",
    "SELECT * FROM kaggle.competitions WHERE id = %(id)s FOR UPDATE",
    "SELECT kaggle.drop_board(%(slug)s, 'public')",
)


@pytest.fixture
def held(db: Connection, hands: Hands, connect: Connect) -> list[dict[str, object]]:
    """Competitions, synced before, that idle sessions have inserted, edited, deleted, asked for, locked or dropped."""
    rows = [insert(db) for _ in HOLDING]
    hands.work_off()
    hands.begun.clear()
    for row, statement in zip(rows, HOLDING, strict=True):
        connect().execute(statement, row)
    return rows


def test_idle_sessions_hold_nobody_up(
    db: Connection, hands: Hands, editor: Connection, held: list[dict[str, object]]
) -> None:
    """Others are inserted, edited, asked for, synced, swept, described and deleted; even the held ones are synced."""
    db.execute(IMPATIENT)
    free = [insert(db) for _ in range(3)]
    editor.execute("SELECT kaggle.sync_now(%(slug)s)", free[0])
    editor.execute(EDITS["another slug"].does, free[1])
    editor.commit()
    hands.work_off()
    for row in held:
        editor.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    editor.commit()
    hands.work_off()
    # What is not committed is not there yet: the held ones were synced as they were.
    assert {row["slug"] for row in held} <= {slug for _, slug in hands.begun}

    # Dates that have passed, on held and on free ones; a sweep leaves the held ones for later.
    db.execute(
        "UPDATE kaggle_internal.sync_state SET due_at = clock_timestamp() - interval '1 second', retry_at = NULL"
    )
    hands.begun.clear()
    hands.sweep(thorough=True)
    hands.work_off()
    assert {row["id"] for row in [*held, *free]} <= {competition_id for competition_id, _ in hands.begun}

    described = (
        "SELECT kaggle_internal.fill_from_kaggle(id, link_revision, 'A title', NULL, NULL, NULL, NULL, NULL)"
        " FROM kaggle.competitions WHERE id = %(id)s"
    )
    assert hands.connection.execute(described, free[2]).fetchone()[0] == "filled"
    said = [hands.connection.execute(described, row).fetchone()[0] for row in held]
    assert said == ["filled", "later", "later", "later", "filled", "later", "filled"]

    editor.execute("DELETE FROM kaggle.competitions WHERE id = %(id)s", free[0])
    editor.commit()
    hands.work_off()
    assert db.execute("SELECT count(*) FROM kaggle.boards WHERE competition_id = %(id)s", free[0]).fetchone() == (0,)


def test_dates_of_others_act_while_rows_are_held(db: Connection, hands: Hands, connect: Connect) -> None:
    """The sweep completes and starts the competitions whose dates passed, except those that somebody holds."""
    rows = [insert(db, "status = 'upcoming', start_date = now() + interval '1 hour'") for _ in range(6)]
    with db.transaction():  # the hour passes
        db.execute("ALTER TABLE kaggle.competitions DISABLE TRIGGER USER")
        db.execute(
            "UPDATE kaggle.competitions SET start_date = start_date - interval '2 hours',"
            " dates_checked_at = dates_checked_at - interval '2 hours'"
        )
        db.execute("ALTER TABLE kaggle.competitions ENABLE TRIGGER USER")
    holders = [connect() for _ in range(5)]
    for holder, row in zip(holders, rows, strict=False):
        holder.execute("UPDATE kaggle.competitions SET description = 'held' WHERE id = %(id)s", row)
    hands.sweep(thorough=False)
    hands.work_off()
    assert [competition_id for competition_id, _ in hands.begun] == [rows[5]["id"]]
    for holder in holders:
        holder.commit()
    hands.sweep(thorough=False)
    hands.work_off()
    assert Counter(competition_id for competition_id, _ in hands.begun) == Counter(row["id"] for row in rows)


def test_a_waiting_job_that_an_idle_session_holds_is_replaced(db: Connection, hands: Hands, editor: Connection) -> None:
    """What was asked and committed is synced although a session that asked again sits in its transaction.

    That session holds the waiting job, so no worker can fetch it; the sweep puts another beside it, once.
    """
    row = once_synced(db, hands, EDITS["another slug"])
    editor.execute(EDITS["another slug"].does, row)
    hands.work_off()
    assert hands.begun == []
    hands.sweep(thorough=True)
    hands.work_off()
    assert hands.begun == [(row["id"], row["slug"])]
    hands.sweep(thorough=True)
    assert jobs(db) == [("sync", row["id"])]  # the one that is held
    editor.commit()
    hands.work_off()
    assert hands.begun[1:] == [(row["id"], row["new"])]


def test_a_board_is_dropped_at_the_commit(db: Connection, hands: Hands, editor: Connection) -> None:
    """Until then everybody sees it, and syncs write it; afterwards nobody does, and the next sync begins another."""
    row = insert(db)
    hands.work_off()
    shown = "SELECT count(*) FROM kaggle.leaderboard"
    for end, expected in ((editor.rollback, 1), (editor.commit, 0)):
        editor.execute("SELECT kaggle.drop_board(%(slug)s, 'public'), kaggle.drop_board(%(slug)s, 'public')", row)
        db.execute("SELECT kaggle.sync_now(%(slug)s)", row)
        hands.work_off()
        assert [connection.execute(shown).fetchone()[0] for connection in (db, editor)] == [1, 1]
        end()
        assert [connection.execute(shown).fetchone()[0] for connection in (db, editor)] == [expected] * 2
        editor.commit()
        hands.work_off()
    assert db.execute("SELECT count(*) FROM kaggle.boards").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM kaggle_internal.boards_to_drop").fetchone() == (0,)
    db.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    hands.work_off()
    assert db.execute(shown).fetchone() == (1,)


def test_a_worker_serves_others_while_sessions_idle(
    db: Connection, worker: MakeWorker, simulator: Simulator, held: list[dict[str, object]]
) -> None:
    """A worker with four places and more idle sessions syncs everybody else, and later what those commit."""
    del held
    with worker():
        for slug in ("titanic", "orbit-wars"):
            db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)", (slug,))
            assert db.execute("SELECT outcome FROM kaggle.wait_for_sync(%s)", (slug,)).fetchone() == ("changed",)
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert db.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic')").fetchone() == ("unchanged",)
