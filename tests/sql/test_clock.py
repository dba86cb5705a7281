"""A database's clock that was ahead for a while: nothing waits for the moment it showed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pgleaderboard.doctor import competitions
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import insert, rows, synced, value
from tests.support.boards import shown, teams, zip_of
from tests.support.syncs import Syncs

AHEAD = timedelta(hours=5)


def sweep(db: Connection, requests_per_minute: int = 0) -> None:
    """A thorough sweep."""
    worker_id = value(
        db,
        "SELECT kaggle_internal.register_worker('test', 'credential', requests_per_minute => %s)",
        requests_per_minute,
    )
    db.execute("SELECT kaggle_internal.sweep(%s, true)", (worker_id,))
    db.execute("SELECT kaggle_internal.unregister_worker(%s)", (worker_id,))


def test_a_grant_is_at_most_one_spacing_away(db: Connection) -> None:
    """Of 30 requests a minute the next one is 2 s away, however far ahead the last one says."""
    db.execute(
        "INSERT INTO kaggle_internal.kaggle_budget (credential, next_grant_at) VALUES ('c', now() + %s)", (AHEAD,)
    )
    granted, wait = rows(db, "SELECT granted, wake_at - clock_timestamp() FROM kaggle_internal.take_grant('c', 30)")[0]
    assert not granted
    assert timedelta(0) < wait < timedelta(seconds=2.1)
    assert value(db, "SELECT next_request_at - clock_timestamp() < '2.1 s' FROM kaggle.budget")


def test_a_pause_is_at_most_as_long_as_kaggle_asked_for(db: Connection) -> None:
    """A pause of ten minutes that was noted by a clock five hours ahead lasts ten minutes from now."""
    db.execute("SELECT kaggle_internal.block_budget('c', '10 minutes')")
    db.execute("UPDATE kaggle_internal.kaggle_budget SET blocked_until = blocked_until + %s", (AHEAD,))
    for requests_per_minute in (0, 30):
        wake_at = "SELECT wake_at - clock_timestamp() FROM kaggle_internal.take_grant('c', %s)"
        assert timedelta(minutes=9) < value(db, wake_at, requests_per_minute) < timedelta(minutes=10, seconds=1)
    db.execute("SELECT kaggle_internal.block_budget('c', '2 minutes')")  # a shorter one ends none
    assert value(db, "SELECT blocked_until - clock_timestamp() FROM kaggle_internal.kaggle_budget") > timedelta(
        minutes=9
    )


def test_a_sweep_goes_by_the_grant_that_is_left(db: Connection, syncs: Syncs) -> None:
    """What is asked by hand gets a job as soon as one spacing has passed, and a worker is told when to come."""
    db.execute(
        "INSERT INTO kaggle_internal.kaggle_budget (credential, next_grant_at) VALUES ('credential', now() + %s)",
        (AHEAD,),
    )
    db.execute("SELECT kaggle.sync_now('a-board')")
    db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")
    worker_id = value(db, "SELECT kaggle_internal.register_worker('test', 'credential', requests_per_minute => 30)")
    swept = "SELECT queued, wake_at - clock_timestamp() < '2.1 s' FROM kaggle_internal.sweep(%s, false)"
    assert rows(db, swept, worker_id) == [(0, True)]
    db.execute("UPDATE kaggle_internal.kaggle_budget SET next_grant_at = next_grant_at - interval '2.1 s'")
    assert value(db, "SELECT queued FROM kaggle_internal.sweep(%s, false)", worker_id) == 1


@pytest.mark.parametrize("failing", [False, True])
def test_a_due_time_is_at_most_its_pace_away(db: Connection, syncs: Syncs, failing: bool) -> None:
    """So is a retry, and a question for metadata at most a day."""
    db.execute("UPDATE kaggle.competitions SET auto_sync = true, sync_interval = '5 minutes'")
    syncs.sync(zip_of(teams(1)))
    if failing:
        run_id = syncs.begin().run_id
        db.execute("SELECT kaggle_internal.fail_run(%s, 1, 'it broke', 'person', '3 minutes')", (run_id,))
    db.execute(
        "UPDATE kaggle_internal.sync_state SET due_at = due_at + %(ahead)s, retry_at = retry_at + %(ahead)s, "
        "describe_at = clock_timestamp() + interval '1 day' + %(ahead)s",
        {"ahead": AHEAD},
    )
    sweep(db)
    wait = value(db, "SELECT next_sync_at - clock_timestamp() FROM kaggle.sync_status")
    pace = timedelta(minutes=3 if failing else 5)
    assert pace - timedelta(seconds=5) < wait <= pace
    assert value(db, "SELECT describe_at <= clock_timestamp() + interval '1 day' FROM kaggle_internal.sync_state")
    before = rows(db, "SELECT due_at, retry_at, describe_at FROM kaggle_internal.sync_state")
    sweep(db)
    assert before == rows(db, "SELECT due_at, retry_at, describe_at FROM kaggle_internal.sync_state")


def test_what_has_happened_does_not_lie_ahead(db: Connection, syncs: Syncs) -> None:
    """A date that was checked while the clock was ahead still acts, and a silent worker's heartbeat ends in time."""
    db.execute("INSERT INTO kaggle.events (slug, title, end_date) VALUES ('night', 'Night', now() + interval '1 hour')")
    db.execute("UPDATE kaggle.competitions SET end_date = now() + interval '1 hour'")
    for table in ("events", "competitions"):
        db.execute(f"ALTER TABLE kaggle.{table} DISABLE TRIGGER USER")
        db.execute(f"UPDATE kaggle.{table} SET dates_checked_at = dates_checked_at + %s", (AHEAD,))
        db.execute(f"ALTER TABLE kaggle.{table} ENABLE TRIGGER USER")
    db.execute(
        "INSERT INTO kaggle_internal.worker_processes (version, credential, requests_per_minute, seen_at) "
        "VALUES ('1', '', 0, now() + %s)",
        (AHEAD,),
    )
    db.execute("INSERT INTO kaggle_internal.sync_state (competition_id, missing_since) VALUES (%s, now() + %s) "
               "ON CONFLICT (competition_id) DO UPDATE SET missing_since = excluded.missing_since",
               (syncs.competition, AHEAD))  # fmt: skip
    sweep(db)
    for ahead in (
        "SELECT count(*) FROM kaggle.events WHERE dates_checked_at > clock_timestamp()",
        "SELECT count(*) FROM kaggle.competitions WHERE dates_checked_at > clock_timestamp()",
        "SELECT count(*) FROM kaggle_internal.worker_processes WHERE seen_at > clock_timestamp()",
        "SELECT count(*) FROM kaggle_internal.sync_state WHERE missing_since > clock_timestamp()",
    ):
        assert value(db, ahead) == 0


def test_another_number_of_requests_a_minute_cuts_no_spacing(db: Connection) -> None:
    """A grant that was taken at one a minute is a minute away for whoever asks with another setting."""
    assert value(db, "SELECT granted FROM kaggle_internal.take_grant('c', 1)")
    wait = value(db, "SELECT wake_at - clock_timestamp() FROM kaggle_internal.take_grant('c', 30)")
    assert timedelta(seconds=55) < wait < timedelta(seconds=61)


def test_boards_dated_ahead_are_followed_by_later_ones(db: Connection, syncs: Syncs) -> None:
    """They are right, and so is what comes after; doctor names them."""
    syncs.sync(zip_of(teams(1, 2)))
    ahead = "SET observed_at = observed_at + %s"
    db.execute(f"UPDATE kaggle.boards {ahead}, observed_from = observed_from + %s", (AHEAD, AHEAD))
    db.execute(f"UPDATE kaggle.sync_runs {ahead}", (AHEAD,))
    db.execute("UPDATE kaggle.leaderboard_entries SET valid_from = valid_from + %s", (AHEAD,))
    for board in (teams(2, 1), teams(2, 1, 3)):
        assert syncs.sync(zip_of(board)).outcome == "changed"
        assert syncs.leaderboard() == shown(board)
    assert syncs.sync(zip_of(teams(2, 1, 3))).outcome == "unchanged"
    moments = [at for (at,) in rows(db, "SELECT observed_at FROM kaggle.sync_runs ORDER BY id")]
    assert moments == sorted(set(moments))
    (found,) = competitions.ahead(db)
    assert found.level == "warning"
    assert "the public board of a-board is dated" in found.message


def test_nothing_waits_with_a_worker(db: Connection, worker: MakeWorker) -> None:
    """All of it at once: a sync by hand comes, and one by the clock within its interval."""
    with worker(requests_per_minute=600):
        insert(db, "simulated-1-teams")
        synced(db, "simulated-1-teams")
        db.execute("UPDATE kaggle_internal.kaggle_budget SET next_grant_at = next_grant_at + %s", (AHEAD,))
        db.execute("UPDATE kaggle.boards SET observed_at = observed_at + %s", (AHEAD,))
        db.execute("UPDATE kaggle_internal.sync_state SET due_at = due_at + %s", (AHEAD,))
        db.execute("SELECT kaggle.sync_now('simulated-1-teams')")
        assert synced(db, "simulated-1-teams") == ("manual", "unchanged")


def test_a_day_is_24_hours_whatever_the_time_zone(db: Connection, syncs: Syncs) -> None:
    """An interval of days and hours advances by the same time on the day on which the clocks go forward."""
    db.execute("SET timezone = 'Europe/Berlin'")
    db.execute("UPDATE kaggle.competitions SET auto_sync = true, sync_interval = '1 day -23:30:00'")
    pace = "SELECT start + kaggle_internal.sync_pace(c, NULL, NULL) - start"
    assert value(
        db, f"{pace} FROM kaggle.competitions c, (SELECT timestamptz '2026-03-28 12:00' AS start) s"
    ) == timedelta(minutes=30)
