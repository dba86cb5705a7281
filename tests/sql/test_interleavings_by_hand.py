"""Interleavings of an edit and a sync step by step, where they read like documentation."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.aliases import Connect, Connection
from tests.support.asking import heard
from tests.support.hands import EDITS, Hands, insert, jobs, once_synced


def test_a_job_fetched_before_the_commit_does_not_swallow_the_edit(
    db: Connection, hands: Hands, editor: Connection
) -> None:
    """The classic lost edit: the waiting job is fetched and begins while the rename is not committed yet.

    It reads the old slug. The rename has put a job of its own beside it, since it could not lock the fetched one.
    """
    row = once_synced(db, hands, EDITS["another slug"])
    hands.fetch()
    editor.execute(EDITS["another slug"].does, row)
    hands.begin()
    assert hands.begun == [(row["id"], row["slug"])]
    editor.commit()
    assert jobs(db) == [("sync", row["id"])]
    hands.work_off()
    assert hands.begun[-1] == (row["id"], row["new"])


def test_a_waiting_job_is_held_until_the_edit_is_committed(db: Connection, hands: Hands, editor: Connection) -> None:
    """An edit that finds a waiting job locks it: the fetch passes it by until the commit, and no job is added."""
    row = once_synced(db, hands, EDITS["another slug"])
    editor.execute(EDITS["another slug"].does, row)
    hands.fetch()
    assert hands.job is None
    editor.commit()
    assert jobs(db) == [("sync", row["id"])]
    hands.work_off()
    assert hands.begun == [(row["id"], row["new"])]


def test_a_job_that_meets_a_running_sync_leaves_the_decision_to_its_end(
    db: Connection, hands: Hands, connect: Connect
) -> None:
    """A second worker fetches the job of an edit while the first still runs: it does nothing, the end queues anew."""
    row = once_synced(db, hands, EDITS["another slug"])
    second = Hands(connect())
    hands.fetch()
    hands.begin()
    db.execute(EDITS["another slug"].does, row)
    second.work_off()
    assert (second.begun, jobs(db)) == ([], [])
    hands.end()
    assert jobs(db) == [("sync", row["id"])]
    second.work_off()
    assert second.begun == [(row["id"], row["new"])]


def test_the_download_of_a_slug_that_came_back_is_discarded(db: Connection, hands: Hands) -> None:
    """A → B → A during a download: what was fetched before is not taken for the present, a new sync begins."""
    row = once_synced(db, hands, EDITS["another slug"])
    hands.fetch()
    hands.begin()
    db.execute(EDITS["another slug"].does, row)
    db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %(slug)s WHERE id = %(id)s", row)
    hands.work_off()
    outcomes = db.execute("SELECT outcome FROM kaggle.sync_runs WHERE competition_id = %(id)s ORDER BY id", row)
    assert [outcome for (outcome,) in outcomes][1:] == ["skipped", "unchanged"]


def test_a_shorter_interval_given_during_a_sync_counts_from_its_start(db: Connection, hands: Hands) -> None:
    """sync_interval goes from a day to two minutes while a sync asked for by hand runs: the next one comes soon."""
    row = insert(db, "sync_interval = '1 day'")
    hands.work_off()
    db.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    hands.fetch()
    hands.begin()
    db.execute("UPDATE kaggle.competitions SET sync_interval = '2 minutes' WHERE id = %(id)s", row)
    hands.work_off()
    soon = db.execute(
        "SELECT next_sync_at < clock_timestamp() + interval '3 minutes' FROM kaggle_internal.sync_state"
        " WHERE competition_id = %(id)s",
        row,
    ).fetchone()[0]
    assert soon


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_job_fetched_since_the_snapshot_ends_no_transaction(
    db: Connection, hands: Hands, editor: Connection, connect: Connect, level: str
) -> None:
    """Above READ COMMITTED a session still sees jobs waiting that were fetched since: it puts its own beside them."""
    row = once_synced(db, hands, EDITS["sync_now"])
    db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
    editor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    editor.execute("SELECT FROM kaggle.competitions")
    for each in (hands, Hands(connect())):
        each.fetch()
        assert each.job is not None
    editor.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    editor.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('one'), ('two')")
    editor.commit()
    assert jobs(db) == [("sweep", None), ("sync", row["id"])]
    hands.work_off()
    assert Counter(slug for _, slug in hands.begun) == Counter(["one", "two", row["slug"]])


def test_each_commit_that_asks_notifies(db: Connection, connect: Connect, editor: Connection) -> None:
    """A listener hears of each commit that asked, also where a waiting job was reused, and of none before it."""
    listener = connect()
    listener.autocommit = True
    listener.execute('LISTEN "procrastinate_queue_v1#kaggle"')
    editor.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
    assert not heard(listener)
    editor.commit()
    assert heard(listener)
    for statement in (
        "SELECT kaggle.sync_now('titanic')",
        "UPDATE kaggle.competitions SET kaggle_competition_id = 'orbit-wars'",
        "SELECT kaggle.sync_now('orbit-wars')",
    ):
        editor.execute(statement)
        editor.commit()
        assert heard(listener), statement
    assert [task for task, _ in jobs(db)] == ["sync"]  # one job served them all
    editor.execute("SELECT kaggle.sync_now('orbit-wars')")
    editor.rollback()
    editor.execute("UPDATE kaggle.competitions SET title = 'Wars'")
    editor.commit()
    assert not heard(listener)
