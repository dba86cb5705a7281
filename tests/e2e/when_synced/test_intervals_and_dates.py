"""Syncs by the clock: the interval, the start, the end with its final sync."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import (
    BYSTANDER,
    OTHER,
    PATIENCE,
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
from tests.support.faults import Simulator, Status
from tests.support.statements import MANY, insert_rows


@pytest.mark.parametrize(("late", "intervals"), [("2 s", 1), ("4 min 59 s", 1), ("11 min", 3), ("3 days", 865)])
def test_a_competition_is_synced_every_interval(db: Connection, worker: MakeWorker, late: str, intervals: int) -> None:
    """The next due time is counted from the previous one; times that passed unserved are left out."""
    with worker():
        insert(db)
        synced(db)
        due = value(
            db, "UPDATE kaggle_internal.sync_state SET due_at = clock_timestamp() - %s::interval RETURNING due_at", late
        )
        sweep_soon(db)
        eventually(db, 2, "SELECT count(*) FROM kaggle.sync_runs")
    assert runs(db) == [("inserted", "changed"), ("scheduled", "unchanged")]
    assert due + intervals * timedelta(minutes=5) == status(db, "next_sync_at")


def test_a_sweep_names_the_moment_when_the_next_sync_is_due(
    db: Connection, connect: Connect, worker: MakeWorker
) -> None:
    """The worker sleeps until then and no longer: a date that lies ahead counts as well."""
    with worker():
        insert(db)
        synced(db)
    session = connect()
    worker_id = value(session, "SELECT kaggle_internal.register_worker('test', '')")
    session.commit()
    moment = datetime.now(UTC)
    sweep = "SELECT wake_at FROM kaggle_internal.sweep(%s, true)"
    move_time(
        db,
        "UPDATE kaggle_internal.sync_state SET due_at = %s, describe_at = '2999-01-01'",
        moment + timedelta(seconds=90),
    )
    assert moment + timedelta(seconds=90) == value(db, sweep, worker_id)
    insert(db, OTHER, start_date=moment + timedelta(seconds=60))
    assert moment + timedelta(seconds=60) == value(db, sweep, worker_id)
    insert(db, BYSTANDER, auto_sync=False, end_date=moment + timedelta(seconds=30))
    assert moment + timedelta(seconds=30) == value(db, sweep, worker_id)


def test_another_interval_moves_the_next_due_time(db: Connection, worker: MakeWorker) -> None:
    """Longer or shorter, counted from the same previous time; one that has passed by then is synced at once."""
    with worker():
        competition_id = insert(db)
        synced(db)
        due = status(db, "next_sync_at")
        for minutes in (60, 2):
            change = "UPDATE kaggle.competitions SET sync_interval = make_interval(mins => %s)"
            db.execute(change, (minutes,))
            moved = due + timedelta(minutes=minutes - 5)
            eventually(
                db, moved, "SELECT next_sync_at FROM kaggle.sync_status WHERE competition_id = %s", competition_id
            )
        assert runs(db) == [("inserted", "changed")]
        db.execute("UPDATE kaggle_internal.sync_state SET due_at = due_at - interval '90 s'")
        db.execute("UPDATE kaggle.competitions SET sync_interval = '1 minute'")
        eventually(db, 2, "SELECT count(*) FROM kaggle.sync_runs")
    assert runs(db)[-1] == ("scheduled", "unchanged")


def test_another_interval_during_a_sync_moves_the_next_due_time(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """A sync by hand runs while the interval is changed: the due time moves all the same."""
    with worker():
        competition_id = insert(db)
        synced(db)
        due = status(db, "next_sync_at")
        gate = simulator.faults.hold(SLUG, "DownloadLeaderboard")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert gate.arrived.wait(PATIENCE)
        db.execute("UPDATE kaggle.competitions SET sync_interval = '2 minutes'")
        gate.release()
        assert synced(db) == ("manual", "unchanged")
        eventually(
            db,
            due - timedelta(minutes=3),
            "SELECT next_sync_at FROM kaggle.sync_status WHERE competition_id = %s",
            competition_id,
        )


def test_a_competition_becomes_ongoing_when_its_start_passes(db: Connection, worker: MakeWorker) -> None:
    """And is synced then."""
    insert(db, start_date=datetime.now(UTC) + timedelta(hours=1))
    assert status(db, "status") == "upcoming"
    move_time(
        db,
        "UPDATE kaggle.competitions SET start_date = now() - interval '1 s', dates_checked_at = now() - interval '1 h'",
    )
    with worker():
        eventually(db, "ongoing", "SELECT status FROM kaggle.competitions")
        assert synced(db) == ("ongoing", "changed")


def test_ten_thousand_starts_pass_at_once(db: Connection, connect: Connect) -> None:
    """All of them become ongoing, a thousand at once, and ask once each."""
    insert_rows(db, MANY, "upcoming")
    move_time(
        db,
        "UPDATE kaggle.competitions SET start_date = now() - interval '1 s', dates_checked_at = now() - interval '1 h'",
    )
    while value(db, "SELECT kaggle_internal.let_dates_act()"):
        pass
    assert rows(db, "SELECT status, count(*) FROM kaggle.competitions GROUP BY 1") == [("ongoing", MANY)]
    assert rows(db, "SELECT reason, count(*) FROM kaggle_internal.sync_requests GROUP BY 1") == [("ongoing", MANY)]
    db.execute("SELECT kaggle_internal.let_dates_act()")
    assert value(db, "SELECT count(*) FROM kaggle_internal.sync_requests") == MANY


def test_a_date_that_a_users_constraint_refuses_stops_no_other(db: Connection) -> None:
    """The sweep lets all other dates act; the refused one acts once nothing refuses it any more."""
    worker_id = value(db, "SELECT kaggle_internal.register_worker('test', '')")
    refused, other = insert(db), insert(db, OTHER)
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    db.execute(
        f"ALTER TABLE kaggle.competitions ADD CONSTRAINT it_goes_on CHECK (id <> {refused} OR status <> 'completed')"
    )
    for table in ("kaggle.competitions", "kaggle.events"):
        past = "end_date = now() - interval '1 s', dates_checked_at = now() - interval '1 h'"
        move_time(db, f"UPDATE {table} SET {past}")
    statuses = "SELECT id, status FROM kaggle.competitions UNION ALL SELECT 0, status FROM kaggle.events ORDER BY 1"
    sweep = "SELECT wake_at FROM kaggle_internal.sweep(%s, false)"
    assert value(db, sweep, worker_id) is None  # the next sweep, not at once
    assert rows(db, statuses) == [(0, "completed"), (refused, "ongoing"), (other, "completed")]
    db.execute("ALTER TABLE kaggle.competitions DROP CONSTRAINT it_goes_on")
    rows(db, sweep, worker_id)
    assert rows(db, statuses) == [(0, "completed"), (refused, "completed"), (other, "completed")]


def pass_end(db: Connection) -> None:
    """The end of every competition passes."""
    move_time(
        db,
        "UPDATE kaggle.competitions SET end_date = now() - interval '1 s', dates_checked_at = now() - interval '1 h'",
    )
    sweep_soon(db)


def complete(db: Connection) -> None:
    """A user sets completed."""
    db.execute("UPDATE kaggle.competitions SET status = 'completed'")


def end_now(db: Connection) -> None:
    """A user sets an end that is past."""
    db.execute("UPDATE kaggle.competitions SET end_date = now()")


ENDINGS = pytest.mark.parametrize("end", [pass_end, complete, end_now])


@ENDINGS
def test_the_end_completes_a_competition_with_one_final_sync(
    db: Connection, worker: MakeWorker, simulator: Simulator, end: Callable[[Connection], None]
) -> None:
    """It is asked for exactly then, once; what comes later comes by the clock (test_follow_up)."""
    with worker():
        competition_id = insert(db)
        synced(db)
        simulator.advance(50)
        end(db)
        eventually(db, "completed", "SELECT status FROM kaggle.competitions")
        assert synced(db)[0] == "completed"
        assert_nothing_is_wanted(db, competition_id, before=2)
        assert (status(db, "sync_state"), status(db, "problem")) == ("idle", None)


@ENDINGS
@pytest.mark.parametrize("fault", [500, 403])
def test_the_final_sync_is_tried_until_it_succeeds(
    db: Connection, worker: MakeWorker, simulator: Simulator, end: Callable[[Connection], None], fault: int
) -> None:
    """It fails twice, whether that passes by itself or not; sync_status shows it outstanding until it is done."""
    with worker():
        insert(db)
        synced(db)
        simulator.faults.put(SLUG, Status(fault), times=2, method="DownloadLeaderboard")
        end(db)
        eventually(db, "completed", "SELECT status FROM kaggle.competitions")
        assert synced(db) == ("completed", "failed")
        for attempts in (3, 4):
            assert status(db, "sync_state") == "failing"
            assert status(db, "problem") is not None
            assert status(db, "next_sync_at") is not None
            db.execute("UPDATE kaggle_internal.sync_state SET retry_at = now()")
            sweep_soon(db)
            eventually(db, attempts, "SELECT count(*) FROM kaggle.sync_runs")
        assert [outcome for _, outcome in runs(db)[1:]] == ["failed", "failed", "unchanged"]
        assert (status(db, "sync_state"), status(db, "problem")) == ("idle", None)


def test_an_outstanding_final_sync_is_shown(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """While the final sync has not succeeded, sync_status says so."""
    with worker():
        insert(db)
        synced(db)
        gate = simulator.faults.hold(SLUG, "DownloadLeaderboard")
        complete(db)
        assert gate.arrived.wait(PATIENCE)
        assert (
            status(db, "sync_state"),
            status(db, "problem"),
        ) == ("running", "the final sync after the end is outstanding")
        gate.release()
        synced(db)
        assert status(db, "problem") is None


def test_completed_during_a_sync_still_gets_its_final_sync(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """The sync that runs at the end may have seen the board before the end."""
    gate = simulator.faults.hold(SLUG, "DownloadLeaderboard")
    with worker():
        insert(db)
        assert gate.arrived.wait(PATIENCE)
        complete(db)
        gate.release()
        assert synced(db) == ("completed", "unchanged")
    assert runs(db) == [("inserted", "changed"), ("completed", "unchanged")]


def test_no_final_sync_where_nothing_is_synced(db: Connection, worker: MakeWorker) -> None:
    """With auto_sync false, the end asks for nothing."""
    with worker():
        competition_id = insert(db, auto_sync=False)
        complete(db)
        assert_nothing_is_wanted(db, competition_id)


@pytest.mark.parametrize(
    ("dates", "chosen"),
    [
        ("end_date = now() - interval '1 day'", "ongoing"),
        ("end_date = now() - interval '1 day'", "upcoming"),
        ("start_date = now() - interval '1 day'", "upcoming"),
        ("start_date = now() - interval '1 day'", "completed"),
        ("start_date = now() + interval '1 day'", "ongoing"),
        ("end_date = now() + interval '1 day'", "completed"),
    ],
)
def test_a_status_set_by_hand_stays(db: Connection, dates: str, chosen: str) -> None:
    """A date acts once, when it passes: neither a later sweep nor an edit undoes what a user has set since."""
    insert(db)
    db.execute(f"UPDATE kaggle.competitions SET {dates}")
    db.execute("UPDATE kaggle.competitions SET status = %s", (chosen,))
    db.execute("SELECT kaggle_internal.let_dates_act()")
    db.execute("UPDATE kaggle.competitions SET title = 'Edited'")
    assert chosen == status(db, "status")


@pytest.mark.parametrize("edit", ["start_date = now() - interval '9 days'", "title = 'Edited'", "status = status"])
def test_an_edit_does_not_hide_an_end_that_nobody_has_noticed_yet(db: Connection, edit: str) -> None:
    """The end passed while no worker ran, and then somebody edits the row: it is completed all the same."""
    insert(db, end_date=datetime.now(UTC) + timedelta(hours=1))
    move_time(
        db,
        "UPDATE kaggle.competitions SET end_date = now() - interval '1 s', dates_checked_at = now() - interval '1 h'",
    )
    db.execute(f"UPDATE kaggle.competitions SET {edit}")
    db.execute("SELECT kaggle_internal.let_dates_act()")
    assert status(db, "status") == "completed"
    assert rows(db, "SELECT reason FROM kaggle_internal.sync_requests ORDER BY id") == [("inserted",), ("completed",)]


def test_both_dates_passed_while_nobody_looked(db: Connection, worker: MakeWorker) -> None:
    """Upcoming when the worker went, over when it came back: completed, with the final sync."""
    competition_id = insert(db, start_date=datetime.now(UTC) + timedelta(hours=1))
    move_time(
        db,
        "UPDATE kaggle.competitions SET start_date = now() - interval '2 s', end_date = now() - interval '1 s', "
        "dates_checked_at = now() - interval '1 h'",
    )
    with worker():
        eventually(db, "completed", "SELECT status FROM kaggle.competitions WHERE id = %s", competition_id)
        assert synced(db) == ("completed", "changed")
        assert_nothing_is_wanted(db, competition_id, before=1)


def test_an_end_that_comes_before_the_next_sync_is_the_next_sync(db: Connection, worker: MakeWorker) -> None:
    """sync_status shows the end; a later one changes nothing."""
    with worker():
        insert(db)
        synced(db)
    due = status(db, "next_sync_at")
    db.execute("UPDATE kaggle.competitions SET end_date = now() + interval '2 minutes'")
    assert status(db, "next_sync_at") == value(db, "SELECT end_date FROM kaggle.competitions") < due
    db.execute("UPDATE kaggle.competitions SET end_date = now() + interval '2 hours'")
    assert status(db, "next_sync_at") == due


@pytest.mark.parametrize("given", ["ongoing", "upcoming", "completed", "off"])
def test_the_end_of_an_event_in_which_it_counts_is_the_next_sync(
    db: Connection, worker: MakeWorker, given: str
) -> None:
    """Linked beside event_id, whatever its own dates: it is synced then, unless it is synced by hand only."""
    columns: dict[str, object] = {
        "ongoing": {},
        "upcoming": {"start_date": datetime.now(UTC) + timedelta(days=1)},
        "completed": {"end_date": datetime.now(UTC) - timedelta(days=700)},
        "off": {"auto_sync": False},
    }[given]  # type: ignore[assignment]
    with worker():
        competition_id = insert(db, **columns)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
    before = status(db, "next_sync_at")
    for slug, ahead in (("night", "2 minutes"), ("week", "7 days"), ("past", "-1 hour")):
        db.execute(
            "WITH e AS (INSERT INTO kaggle.events (slug, title, end_date) VALUES (%s, 'E', now() + %s::interval) "
            "RETURNING id) INSERT INTO kaggle.event_competitions SELECT id, %s FROM e",
            (slug, ahead, competition_id),
        )
    end = value(db, "SELECT end_date FROM kaggle.events WHERE slug = 'night'")
    assert status(db, "next_sync_at") == (None if given == "off" else end)
    db.execute("DELETE FROM kaggle.events WHERE slug <> 'past'")
    assert status(db, "next_sync_at") == before
