"""An inserted competition is synced at once."""

from __future__ import annotations

import pytest

from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import (
    BYSTANDER,
    OTHER,
    assert_nothing_is_wanted,
    insert,
    rows,
    synced,
    value,
)
from tests.support.faults import Simulator
from tests.support.statements import INSERTING, MANY, Write, copy_rows, insert_rows, merge_rows, upsert_rows


@INSERTING
def test_an_inserted_competition_is_synced_at_once(db: Connection, worker: MakeWorker, write: Write) -> None:
    """With a Kaggle id and ongoing, a row is all it takes, whichever statement writes it."""
    with worker():
        write(db, 1, "ongoing")
        assert synced(db) == ("inserted", "changed")
    assert rows(db, "SELECT rank FROM kaggle.leaderboard WHERE rank IS NOT NULL") == [(1,)]


@INSERTING
def test_ten_thousand_inserted_in_one_statement_ask_once_each(db: Connection, write: Write) -> None:
    """Each has exactly one request, and one job stands for all of them."""
    db.execute("SET client_min_messages = error")
    write(db, MANY, "ongoing")
    assert rows(db, "SELECT reason, count(*) FROM kaggle_internal.sync_requests GROUP BY reason") == [
        ("inserted", MANY)
    ]
    assert value(db, "SELECT count(DISTINCT competition_id) FROM kaggle_internal.sync_requests") == MANY
    assert rows(db, "SELECT task_name FROM procrastinate.procrastinate_jobs") == [("sweep",)]


def work_of_inserting(session: Connection, count: int) -> dict[str, int]:
    """What an INSERT of so many rows does, rolled back: calls of functions; scans of tables, and rows written."""
    session.execute("SET LOCAL track_functions = 'all'")
    insert_rows(session, count, "ongoing")
    done = rows(
        session,
        "SELECT 'calls of ' || funcname, calls FROM pg_stat_xact_user_functions UNION ALL "
        "SELECT 'scans of ' || relname, seq_scan + coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables UNION ALL "
        "SELECT 'rows in ' || relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables",
    )
    session.rollback()
    return dict(done)


def test_ten_thousand_inserted_cost_one_row_more_each_than_in_a_plain_table(connect: Connect) -> None:
    """A row is looked at once and its request is written; all else is done once, for ten thousand as for ten."""
    # Each in a session of its own, whose counts begin at nothing.
    ten, all_of_them = (work_of_inserting(connect(), count) for count in (10, MANY))
    for_each = ("rows in competitions", "rows in sync_requests", "calls of complete_competition", "calls of slug_of")
    assert ten | dict.fromkeys(for_each, MANY) == all_of_them
    assert [ten[what] for what in for_each] == [10] * 4
    assert ten["calls of competitions_inserted"] == ten["rows in procrastinate_jobs"] == 1


def test_several_in_one_statement_are_all_synced(db: Connection, worker: MakeWorker) -> None:
    """A statement on several rows fans out: every one of them gets its board."""
    with worker(concurrency=8):
        insert_rows(db, 25, "ongoing")
        for n in range(1, 26):
            assert synced(db, f"simulated-{n}-teams") == ("inserted", "changed")
    assert sum(range(1, 26)) == value(db, "SELECT count(*) FROM kaggle.leaderboard WHERE NOT is_benchmark")


def test_a_transaction_asks_at_its_commit(
    db: Connection, connect: Connect, worker: MakeWorker, simulator: Simulator
) -> None:
    """Nothing is asked before a longer transaction commits."""
    with worker():
        longer = connect()
        competition_id = insert(longer)
        longer.execute("UPDATE kaggle.competitions SET title = 'Mine'")
        assert_nothing_is_wanted(db, competition_id)
        assert {BYSTANDER} == {request.slug for request in simulator.requests}
        longer.commit()
        assert synced(db) == ("inserted", "changed")


@pytest.mark.parametrize("write", [insert_rows, copy_rows, upsert_rows, merge_rows])
def test_a_transaction_that_rolls_back_asks_for_nothing(
    db: Connection, connect: Connect, worker: MakeWorker, simulator: Simulator, write: Write
) -> None:
    """What was undone is not synced."""
    with worker():
        longer = connect()
        write(longer, 1, "ongoing")
        competition_id = value(longer, "SELECT id FROM kaggle.competitions")
        longer.rollback()
        assert_nothing_is_wanted(db, competition_id)
    assert {BYSTANDER} == {request.slug for request in simulator.requests}


def test_a_savepoint_that_rolls_back_takes_only_its_own_along(db: Connection, worker: MakeWorker) -> None:
    """What was written before the savepoint is synced, what came after is not."""
    with worker():
        with db.transaction():
            kept = insert(db)
            with db.transaction(force_rollback=True):
                dropped = insert(db, OTHER)
        assert synced(db) == ("inserted", "changed")
        assert_nothing_is_wanted(db, dropped)
    assert [(kept,)] == rows(db, "SELECT competition_id FROM kaggle.boards WHERE slug <> %s", BYSTANDER)
