"""After the end a competition that was followed is asked again, ever less often: its private board may follow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import (
    SLUG,
    assert_nothing_is_wanted,
    eventually,
    insert,
    move_time,
    rows,
    runs,
    status,
    sweep_soon,
    synced,
    value,
)
from tests.support.boards import csv_of, teams
from tests.support.faults import Simulator, Zipped

SINCE_THE_LAST = "next_sync_at - (SELECT max(started_at) FROM kaggle.sync_runs)"
MINUTES, HOUR, DAY = timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)


def complete(db: Connection) -> None:
    """Have a competition that was followed end, and wait for its final sync."""
    db.execute("UPDATE kaggle.competitions SET status = 'completed'")
    assert synced(db)[0] == "completed"


def due_after(db: Connection, ago: timedelta) -> Any:
    """How long after this due time the next one comes, the final sync having been so long ago."""
    count = len(runs(db))
    move_time(
        db,
        "UPDATE kaggle_internal.sync_state SET completed_at = clock_timestamp() - %s, "
        "due_at = clock_timestamp() - interval '1 s'",
        ago,
    )
    due = value(db, "SELECT due_at FROM kaggle_internal.sync_state")
    sweep_soon(db)
    eventually(db, count + 1, "SELECT count(*) FROM kaggle.sync_runs")
    after = status(db, "next_sync_at")
    return after and after - due


def test_it_is_asked_every_interval_then_hourly_daily_weekly_then_no_more(db: Connection, worker: MakeWorker) -> None:
    """5 minutes apart for 2 hours, hourly for a day, daily for 30 days, weekly for a year; and it is told."""
    with worker():
        insert(db)
        synced(db)
        complete(db)
        assert status(db, SINCE_THE_LAST) == MINUTES
        assert status(db, "problem") is None
        assert due_after(db, HOUR) == MINUTES
        assert due_after(db, timedelta(hours=2) - MINUTES) == MINUTES
        move_time(db, "UPDATE kaggle_internal.sync_state SET due_interval = '1 hour'")
        assert due_after(db, timedelta(hours=2, minutes=1)) == HOUR
        assert due_after(db, timedelta(hours=25)) == HOUR
        move_time(db, "UPDATE kaggle_internal.sync_state SET due_interval = '1 day'")
        assert due_after(db, timedelta(hours=27)) == DAY
        assert due_after(db, timedelta(days=30)) == DAY
        move_time(db, "UPDATE kaggle_internal.sync_state SET due_interval = '7 days'")
        assert due_after(db, timedelta(days=32)) == 7 * DAY
        assert due_after(db, timedelta(days=395)) == 7 * DAY
        move_time(
            db,
            "UPDATE kaggle_internal.sync_state SET completed_at = clock_timestamp() - interval '397 days', "
            "due_at = clock_timestamp()",
        )
        sweep_soon(db)
        eventually(db, None, "SELECT next_sync_at FROM kaggle.sync_status")
        assert_nothing_is_wanted(db, value(db, "SELECT id FROM kaggle.competitions"), before=10)
    assert status(db, "sync_state") == "idle"


def test_a_slower_phase_moves_what_was_due_in_the_faster_one(db: Connection, worker: MakeWorker) -> None:
    """Due every five minutes until the two hours are over: the next is due an hour after the last, not five minutes."""
    with worker():
        insert(db)
        synced(db)
        complete(db)
        move_time(
            db,
            "UPDATE kaggle_internal.sync_state SET completed_at = clock_timestamp() - interval '2 hours', "
            "due_at = clock_timestamp() - interval '1 s'",
        )
        due = value(db, "SELECT due_at FROM kaggle_internal.sync_state")
        sweep_soon(db)
        eventually(db, due + HOUR - MINUTES, "SELECT next_sync_at FROM kaggle.sync_status")
        assert len(runs(db)) == 2


def test_the_phases_can_be_set(db: Connection, worker: MakeWorker) -> None:
    """A worker that was told no phases asks no more after the final sync."""
    with worker(follow_up=(timedelta(0), timedelta(0), timedelta(0), timedelta(0))):
        insert(db)
        synced(db)
        complete(db)
        assert status(db, "next_sync_at") is None
    with worker(follow_up=(timedelta(0), DAY, timedelta(0), timedelta(0))):
        db.execute("UPDATE kaggle.competitions SET status = 'ongoing'")
        synced(db)
        complete(db)
        assert status(db, SINCE_THE_LAST) == HOUR


@pytest.mark.parametrize("how", ["inserted as completed", "not synced by itself"])
def test_what_was_never_followed_is_not_asked(db: Connection, worker: MakeWorker, how: str) -> None:
    """One that was completed when it came, or is synced by hand only: each sync is asked for."""
    columns: dict[str, Any] = {"status": "completed"} if how == "inserted as completed" else {"auto_sync": False}
    with worker():
        insert(db, **columns)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
        db.execute("UPDATE kaggle.competitions SET status = 'completed'")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
    assert status(db, "next_sync_at") is None


@pytest.mark.parametrize(
    "change", ["status = 'ongoing'", "auto_sync = false", "kaggle_competition_id = 'simulated-2-teams'"]
)
def test_a_change_ends_it(db: Connection, worker: MakeWorker, change: str) -> None:
    """Reopened or switched off, nothing is left of the end; linked elsewhere, the new board's follow-up begins."""
    with worker():
        competition_id = insert(db)
        synced(db)
        complete(db)
        db.execute(f"UPDATE kaggle.competitions SET {change}")
        db.execute("SELECT kaggle.sync_now(kaggle_competition_id) FROM kaggle.competitions")
        slug = value(db, "SELECT kaggle_competition_id FROM kaggle.competitions")
        synced(db, slug)
        assert (
            value(db, "SELECT completed_at FROM kaggle_internal.sync_state WHERE competition_id = %s", competition_id)
            is None
        ) == ("ongoing" in change)
        assert (status(db, "next_sync_at", slug) is None) == ("auto_sync" in change)


def test_the_private_board_and_removals_after_it_arrive(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """The file's name says private: a board of its own, shown and asked for from then on; the public one stays."""

    def serve(kind: str, *order: int) -> None:
        name = f"{SLUG}-{kind}leaderboard-2026-05-05T15:36:33.csv"
        simulator.faults.put(SLUG, Zipped(csv_of(teams(*order)), name), method="DownloadLeaderboard")

    def asked_again() -> None:
        count = len(runs(db))
        move_time(db, "UPDATE kaggle_internal.sync_state SET due_at = clock_timestamp()")
        sweep_soon(db)
        eventually(db, count + 1, "SELECT count(*) FROM kaggle.sync_runs")

    shown = (
        "SELECT string_agg(team_id::text, ' ' ORDER BY rank), min(board), count(DISTINCT board) FROM kaggle.leaderboard"
    )
    with worker():
        serve("public", 1, 2, 3)
        insert(db)
        synced(db)
        serve("public", 1, 2, 3)
        complete(db)
        serve("private", 3, 1, 2)
        asked_again()
        assert rows(db, shown) == [("3 1 2", "private", 1)]
        assert rows(db, "SELECT team_id, public_rank, private_rank, places_climbed FROM kaggle.shakeup(%s)", SLUG) == [
            (3, 3, 1, 2),
            (1, 1, 2, -1),
            (2, 2, 3, -1),
        ]
        serve("private", 3, 2)
        asked_again()
        assert rows(db, shown) == [("3 2", "private", 1)]
        assert status(db, "next_sync_at") is not None
    assert runs(db) == [
        ("inserted", "changed"),
        ("completed", "unchanged"),
        ("scheduled", "changed"),
        ("scheduled", "changed"),
    ]


def test_the_end_counts_where_it_is_known(db: Connection, worker: MakeWorker) -> None:
    """A competition of 2019 that is completed only now has its final sync, and is asked no more."""
    with worker():
        competition_id = insert(db)
        synced(db)
        db.execute("UPDATE kaggle.competitions SET end_date = '2019-06-01'")
        assert synced(db)[0] == "completed"
        eventually(db, None, "SELECT next_sync_at FROM kaggle.sync_status")
        assert_nothing_is_wanted(db, competition_id, before=2)
