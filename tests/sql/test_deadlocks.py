"""Sessions that lock the same rows in another order do not deadlock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from pgleaderboard.sync.staging import BASE, Staging
from tests.support.aliases import Connect, Connection
from tests.support.boards import places, shown, teams, zip_of
from tests.support.hands import EDITS, IMPATIENT, Hands, insert, once_synced
from tests.support.past import time_passes
from tests.support.syncs import Syncs


def test_asking_in_opposite_order_step_by_step(db: Connection, editor: Connection, connect: Connect) -> None:
    """Two sessions ask for two competitions, each in its own order, before either commits: nobody waits."""
    first, second = insert(db), insert(db)
    other = connect()
    other.execute(IMPATIENT)
    asks = "SELECT kaggle.sync_now(%(slug)s)"
    editor.execute(asks, first)
    other.execute(asks, second)
    editor.execute(asks, second)
    other.execute(asks, first)
    editor.commit()
    other.commit()
    asked = (
        "SELECT competition_id, count(*) FROM kaggle_internal.sync_requests "
        "WHERE reason = 'manual' GROUP BY 1 ORDER BY 1"
    )
    assert db.execute(asked).fetchall() == [(first["id"], 2), (second["id"], 2)]


@pytest.mark.parametrize("how", ["by hand", "statements on rows of their own"])
def test_sessions_ask_for_a_hundred_in_opposite_order(db: Connection, hands: Hands, connect: Connect, how: str) -> None:
    """Four sessions, each in one transaction, half of them backwards: no deadlock, no wait, everything synced."""
    rows = [insert(db, "auto_sync = false") for _ in range(100)]
    start = threading.Barrier(4)

    def session(number: int) -> None:
        connection = connect()
        connection.execute(IMPATIENT)
        connection.commit()
        start.wait(30)
        own = rows if how == "by hand" else rows[number::4]
        for row in own if number % 2 else own[::-1]:
            if how == "by hand":
                connection.execute("SELECT kaggle.sync_now(%(slug)s)", row)
            else:
                connection.execute("UPDATE kaggle.competitions SET auto_sync = true WHERE id = %(id)s", row)
        connection.commit()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(session, number) for number in range(4)]:
            done.result()
    hands.ending = "failed"  # the shorter way to an end
    hands.work_off()
    assert {competition_id for competition_id, _ in hands.begun} == {row["id"] for row in rows}


def until_waiting(db: Connection, pids: Sequence[int]) -> None:
    """Return when all of these sessions wait for a lock."""
    for _ in range(1000):
        waiting = db.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s) AND wait_event_type = 'Lock'", (list(pids),)
        ).fetchone()
        if waiting == (len(pids),):
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def test_a_throttled_end_and_a_description_never_deadlock(db: Connection, hands: Hands, connect: Connect) -> None:
    """A sync that ends with 429 and the asking for the same competition's metadata take their locks in one order.

    Both need the competition's state and the budget. A deadlock here would leave the attempt running for ever, since
    the worker that ran it lives.
    """
    row = once_synced(db, hands, EDITS["sync_now"])
    db.execute("SELECT * FROM kaggle_internal.take_grant('cred', 60)")
    db.execute("UPDATE kaggle_internal.kaggle_budget SET next_grant_at = '-infinity'")
    hands.fetch()
    hands.begin()
    db.execute("UPDATE kaggle_internal.sync_state SET describe_at = '-infinity'")
    holder, ender, describer = connect(), connect(), connect()
    (budgeted,) = db.execute("SELECT kaggle_internal.register_worker('test', 'cred', 60)").fetchone()
    holder.execute("SELECT * FROM kaggle_internal.kaggle_budget FOR UPDATE")
    ends = "SELECT kaggle_internal.fail_run(%s, %s, '429', 'transient', interval '1 minute', interval '1 minute')"
    with ThreadPoolExecutor(2) as pool:
        ended = pool.submit(lambda: [ender.execute(ends, (hands.run, hands.worker_id)).fetchone(), ender.commit()][0])
        until_waiting(db, [ender.info.backend_pid])
        described = pool.submit(
            lambda: [
                describer.execute(
                    "SELECT action FROM kaggle_internal.begin_describe(%s, %s)", (row["id"], budgeted)
                ).fetchone(),
                describer.commit(),
            ][0]
        )
        until_waiting(db, [ender.info.backend_pid, describer.info.backend_pid])
        holder.rollback()
        assert ended.result(30) == ("failed",)
        assert described.result(30) in [("describe",), ("wait",)]
    hands.run = None


def test_thinning_waits_for_no_sync_and_a_sync_for_thinning(
    db: Connection, compete: Callable[..., Syncs], connect: Connect
) -> None:
    """Both write a board's entries; whoever comes second waits at the board, before it has locked any of them."""
    syncs = compete(history_interval=timedelta(hours=1))
    for ids in ((1, 2, 3), (3, 1, 2), (2, 3, 1)):
        syncs.sync(zip_of(teams(*ids)))
    time_passes(db, timedelta(days=2))
    (interval,) = db.execute("SELECT * FROM kaggle_internal.intervals_to_thin()").fetchall()
    thinner = connect()
    thinner.autocommit = True
    staging = Staging(thinner)
    with staging.transaction(), ThreadPoolExecutor(1) as pool:
        assert thinner.execute("SELECT kaggle_internal.merge_boards(%s, %s)", interval).fetchone() == (True,)
        staging.place(BASE)
        synced = pool.submit(syncs.sync, zip_of(teams(1, 3, 2)))
        waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while not (pids := db.execute(waiting).fetchall()):
            assert not synced.done()
            time.sleep(0.01)
        until_waiting(db, [pid for (pid,) in pids])
        thinner.execute("SELECT kaggle_internal.pack_anew(%s, %s)", (interval[0], interval[1][-1]))
        thinner.execute("COMMIT")
        assert synced.result(30).outcome == "changed"
    assert syncs.leaderboard() == shown(teams(1, 3, 2))
    assert syncs.at(interval[1][-1]) == places(teams(2, 3, 1))

    # The other way round the interval is left for the next time.
    run_id = syncs.begin().run_id
    holder = connect()
    holder.execute("SELECT FROM kaggle.boards FOR NO KEY UPDATE")
    with thinner.transaction():
        thinner.execute("SELECT kaggle_internal.prepare_staging(12)")
        assert thinner.execute("SELECT kaggle_internal.merge_boards(%s, %s)", interval).fetchone() == (False,)
    holder.rollback()
    assert syncs.end(run_id, zip_of(teams(1, 2, 3))).outcome == "changed"
