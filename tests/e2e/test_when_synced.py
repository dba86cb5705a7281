"""When a competition is synced and when it is not, as any client of the database sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import errors

from pgleaderboard.simulator import Simulator, Status, Zipped
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

MANY = 10_000
HEADER = "Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,TeamMemberUserNames\n"
OF_COMPETITIONS = (
    "kaggle_internal.sync_requests",
    "kaggle_internal.sync_state",
    "kaggle.sync_runs",
    "kaggle.boards",
    "kaggle.leaderboard_entries",
    "kaggle.leaderboard_history",
)


def insert_rows(db: Connection, count: int, wanted: str) -> None:
    """A plain INSERT."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, status) "
        "SELECT format('simulated-%%s-teams', n), %s FROM generate_series(1, %s) n",
        (wanted, count),
    )


def copy_rows(db: Connection, count: int, wanted: str) -> None:
    """COPY."""
    with db.cursor().copy("COPY kaggle.competitions (kaggle_competition_id, status) FROM STDIN") as copy:
        for n in range(1, count + 1):
            copy.write_row((f"simulated-{n}-teams", wanted))


def upsert_rows(db: Connection, count: int, wanted: str) -> None:
    """INSERT … ON CONFLICT DO UPDATE."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, status) "
        "SELECT format('simulated-%%s-teams', n), %s FROM generate_series(1, %s) n "
        "ON CONFLICT (kaggle_competition_id) DO UPDATE SET status = excluded.status",
        (wanted, count),
    )


def merge_rows(db: Connection, count: int, wanted: str) -> None:
    """MERGE."""
    db.execute(
        "MERGE INTO kaggle.competitions c "
        "USING (SELECT format('simulated-%%s-teams', n) AS slug, %s AS status FROM generate_series(1, %s) n) s "
        "ON c.kaggle_competition_id = s.slug "
        "WHEN MATCHED THEN UPDATE SET status = s.status "
        "WHEN NOT MATCHED THEN INSERT (kaggle_competition_id, status) VALUES (s.slug, s.status)",
        (wanted, count),
    )


def update_rows(db: Connection, count: int, wanted: str) -> None:
    """A plain UPDATE."""
    db.execute("UPDATE kaggle.competitions SET status = %s", (wanted,))


INSERTING = pytest.mark.parametrize("write", [insert_rows, copy_rows, upsert_rows, merge_rows])
CHANGING = pytest.mark.parametrize("write", [update_rows, upsert_rows, merge_rows])
Write = Callable[[Connection, int, str], None]


# -- inserted ----------------------------------------------------------------------------------------------------------


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


# -- changed so that it is to be synced --------------------------------------------------------------------------------


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
def test_ten_thousand_that_become_ongoing_ask_once_each(db: Connection, write: Write) -> None:
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


def test_ten_thousand_kaggle_ids_added_ask_once_each(db: Connection) -> None:
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


def test_ten_thousand_switched_on_ask_once_each(db: Connection) -> None:
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


# -- changed so that nothing is to be done -----------------------------------------------------------------------------

IDLE: dict[str, dict[str, Any]] = {
    "upcoming": {"status": "upcoming"},
    "completed": {"status": "completed"},
    "no Kaggle id": {"kaggle_competition_id": None, "title": "Not there yet"},
    "auto_sync false": {"auto_sync": False},
}
EDITS = (
    "title = 'Another title'",
    "description = 'Words', evaluation_metric = 'RMSE', higher_is_better = true",
    "rating_weight = 2, points_for_perfect_score = 50, is_featured = true",
    "metric_min_value = 0, metric_max_value = 1",
    "max_submissions_per_day = 9, history_interval = '1 hour'",
    "sync_interval = '1 hour'",
    "start_date = now() + '1 day', end_date = now() + '2 days'",
    "event_id = (SELECT max(id) FROM kaggle.events)",
)


@pytest.mark.parametrize("columns", IDLE.values(), ids=IDLE)
def test_nothing_happens_to_a_competition_that_is_not_to_be_synced(
    db: Connection, worker: MakeWorker, simulator: Simulator, columns: dict[str, Any]
) -> None:
    """No change of title, weight, dates and the like brings a sync about."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    with worker():
        competition_id = (
            insert(db, **{"slug": SLUG} | columns)
            if "kaggle_competition_id" not in columns
            else insert(db, None, title=columns["title"])
        )
        for edit in EDITS:
            db.execute(f"UPDATE kaggle.competitions SET {edit} WHERE id = %s", (competition_id,))
        assert (
            value(db, "SELECT count(*) FROM kaggle_internal.sync_requests WHERE competition_id = %s", competition_id)
            == 0
        )
        assert_nothing_is_wanted(db, competition_id)
    assert {BYSTANDER} == {request.slug for request in simulator.requests}


def test_an_ongoing_competition_is_not_synced_for_a_new_title(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """A change that means nothing to a board leaves the next sync to the clock."""
    with worker():
        competition_id = insert(db)
        assert synced(db) == ("inserted", "changed")
        due = status(db, "next_sync_at")
        db.execute("UPDATE kaggle.competitions SET title = 'New', rating_weight = 3 WHERE id = %s", (competition_id,))
        assert_nothing_is_wanted(db, competition_id, before=1)
        assert due == status(db, "next_sync_at")


def test_ten_thousand_upcoming_bring_no_work(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Inserted and edited in one statement each: no request, no job, not a word to Kaggle."""
    with worker():
        insert_rows(db, MANY, "upcoming")
        db.execute("UPDATE kaggle.competitions SET title = 'T' || id, rating_weight = 2")
        assert value(db, "SELECT count(*) FROM kaggle_internal.sync_requests") == 0
        sweep_soon(db)
        assert (db.execute("SELECT kaggle.sync_now(%s)", (OTHER,)), synced(db, OTHER))[1] == ("manual", "changed")
        assert value(db, "SELECT count(*) FROM kaggle_internal.wanted('', true) WHERE task = 'sync'") == 0
    assert {OTHER} == {request.slug for request in simulator.requests}


@pytest.mark.parametrize(
    "change", ["auto_sync = false", "status = 'upcoming'", "kaggle_competition_id = NULL, title = 'Off Kaggle'"]
)
def test_switching_off_cancels_what_has_not_begun(
    db: Connection, worker: MakeWorker, simulator: Simulator, change: str
) -> None:
    """What was asked for while it was on is dropped."""
    competition_id = insert(db)
    assert status(db, "sync_state") == "queued"
    db.execute(f"UPDATE kaggle.competitions SET {change} WHERE id = %s", (competition_id,))
    assert value(db, "SELECT sync_state FROM kaggle.sync_status") in ("off", "idle")
    with worker():
        assert_nothing_is_wanted(db, competition_id)
    assert {BYSTANDER} == {request.slug for request in simulator.requests}


def test_switching_off_stops_the_clock(db: Connection, worker: MakeWorker) -> None:
    """A competition that was due is not synced any more, and nothing announces a next sync."""
    with worker():
        competition_id = insert(db)
        synced(db)
        with db.transaction():
            db.execute("UPDATE kaggle.competitions SET auto_sync = false")
            db.execute("UPDATE kaggle_internal.sync_state SET due_at = now() - interval '1 s'")
        sweep_soon(db)
        eventually(db, None, "SELECT due_at FROM kaggle_internal.sync_state WHERE competition_id = %s", competition_id)
        assert_nothing_is_wanted(db, competition_id, before=1)
    assert (status(db, "next_sync_at"), status(db, "sync_state")) == (None, "off")


def test_switching_off_keeps_what_was_asked_for_by_hand(db: Connection, worker: MakeWorker) -> None:
    """sync_now counts whatever the row says."""
    insert(db)
    db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
    db.execute("UPDATE kaggle.competitions SET auto_sync = false")
    with worker():
        assert synced(db) == ("manual", "changed")


# -- by the clock ------------------------------------------------------------------------------------------------------


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
    sweep = "SELECT wake_at FROM kaggle_internal.sweep(%s, '', 0, true)"
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
    """All of them become ongoing and ask once each."""
    insert_rows(db, MANY, "upcoming")
    move_time(
        db,
        "UPDATE kaggle.competitions SET start_date = now() - interval '1 s', dates_checked_at = now() - interval '1 h'",
    )
    db.execute("SELECT kaggle_internal.let_dates_act()")
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
    sweep = "SELECT wake_at FROM kaggle_internal.sweep(%s, '', 0, false)"
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


# -- by hand -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["upcoming", "ongoing", "completed"])
def test_sync_now_syncs_whatever_the_status(db: Connection, worker: MakeWorker, state: str) -> None:
    """By slug, by URL and in another case."""
    insert(db, "Simulated-4-Teams", status=state, auto_sync=False)
    with worker():
        for wrote, outcome in (
            ("Simulated-4-Teams", "changed"),
            ("simulated-4-TEAMS", "unchanged"),
            ("https://www.kaggle.com/competitions/simulated-4-teams/leaderboard?tab=public", "unchanged"),
        ):
            db.execute("SELECT kaggle.sync_now(%s)", (wrote,))
            assert ("manual", outcome) == synced(db, wrote)
    assert value(db, "SELECT count(*) FROM kaggle.sync_runs") == 3


def test_sync_now_syncs_after_a_failure_too(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Whoever asks by hand does not wait for the retry."""
    simulator.faults.put(SLUG, Status(404), method="DownloadLeaderboard")
    with worker():
        insert(db)
        assert synced(db) == ("inserted", "failed")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == ("manual", "changed")


def test_sync_now_on_an_unknown_competition_says_what_to_do(db: Connection) -> None:
    """The hint is the INSERT that makes it known."""
    with pytest.raises(errors.NoDataFound) as refused:
        db.execute("SELECT kaggle.sync_now('nowhere')")
    assert (
        refused.value.diag.message_hint == "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('nowhere');"
    )


def test_sync_now_in_a_transaction_that_rolls_back_asks_for_nothing(db: Connection, worker: MakeWorker) -> None:
    """It begins when the caller commits."""
    competition_id = insert(db, status="completed")
    with db.transaction(force_rollback=True):
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
    with worker():
        assert_nothing_is_wanted(db, competition_id)


# -- never missed, never too often -------------------------------------------------------------------------------------


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
    assert rows(db, "SELECT queued FROM kaggle_internal.sweep(%s, '', 0, true)", worker_id) == [(1,)]
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


# -- who is alive ------------------------------------------------------------------------------------------------------


def test_an_insert_says_when_no_worker_is_running(db: Connection, worker: MakeWorker) -> None:
    """And says nothing when one is, or when nothing was asked for."""
    notices: list[str] = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    insert(db)
    db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
    assert notices == ["no pgleaderboard worker is running"] * 2
    assert (status(db, "problem") or "").startswith("no worker is running")
    insert(db, "not-yet", status="upcoming")
    with worker():
        eventually(db, 1, "SELECT count(*) FROM kaggle.workers")
        insert(db, OTHER)
        synced(db, OTHER)
    assert len(notices) == 2


def test_workers_shows_who_is_alive(db: Connection, worker: MakeWorker) -> None:
    """Two while two are, none after they ended; each with its version and heartbeat."""
    with worker(), worker():
        eventually(db, 2, "SELECT count(*) FROM kaggle.workers")
        assert value(db, "SELECT count(*) FROM kaggle.workers WHERE version <> '' AND seen_at >= started_at") == 2
    assert value(db, "SELECT count(*) FROM kaggle.workers") == 0


def test_a_worker_whose_heartbeat_is_old_is_not_alive(db: Connection, connect: Connect) -> None:
    """Its connection may be up; it says nothing, so it does not count. Nor does one without its connection."""
    session = connect()
    worker_id = value(session, "SELECT kaggle_internal.register_worker('test', '')")
    session.commit()
    assert [(worker_id,)] == rows(db, "SELECT id FROM kaggle.workers")
    db.execute("UPDATE kaggle_internal.worker_processes SET seen_at = now() - interval '31 s'")
    assert rows(db, "SELECT id FROM kaggle.workers") == []
    db.execute("UPDATE kaggle_internal.worker_processes SET seen_at = now()")
    session.close()
    eventually(db, 0, "SELECT count(*) FROM kaggle.workers")


def test_each_sync_state_is_reached(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """queued, running, idle, failing, off: the first of them that holds."""
    gate = simulator.faults.hold(SLUG, "DownloadLeaderboard")
    insert(db)
    insert(db, None, title="Not on Kaggle")
    assert status(db, "sync_state") == "queued"
    with worker():
        assert gate.arrived.wait(PATIENCE)
        assert status(db, "sync_state") == "running"
        gate.release()
        synced(db)
        assert status(db, "sync_state") == "idle"
        simulator.faults.put(SLUG, Status(404), method="DownloadLeaderboard")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
        assert (status(db, "sync_state"), status(db, "consecutive_failures")) == ("failing", 1)
        assert "404" in status(db, "last_error")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
        assert tuple(status(db, each) for each in ("sync_state", "consecutive_failures", "last_error")) == (
            "idle",
            0,
            None,
        )
    db.execute("UPDATE kaggle.competitions SET auto_sync = false")
    assert status(db, "sync_state") == "off"
    assert rows(db, "SELECT sync_state FROM kaggle.sync_status WHERE title = 'Not on Kaggle'") == [("off",)]


# -- deleting ----------------------------------------------------------------------------------------------------------


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


# -- wait_for_sync -----------------------------------------------------------------------------------------------------


def test_waiting_returns_at_once_what_covers_it(db: Connection, worker: MakeWorker) -> None:
    """A run that has finished answers without waiting, with or without a worker."""
    with worker():
        insert(db)
        synced(db)
    assert rows(db, "SELECT reason, outcome FROM kaggle.wait_for_sync(%s, '0 s')", SLUG) == [("inserted", "changed")]


def test_waiting_returns_a_failed_run_too(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """The first that covers what was asked, and not the retry long after."""
    simulator.faults.put(SLUG, Status(503), method="DownloadLeaderboard")
    with worker():
        insert(db)
        assert synced(db) == ("inserted", "failed")
    assert rows(db, "SELECT outcome FROM kaggle.wait_for_sync(%s, '0 s')", SLUG) == [("failed",)]


def test_waiting_times_out_with_the_reason(db: Connection) -> None:
    """The error says how the sync stands and what to do."""
    insert(db)
    with pytest.raises(errors.QueryCanceled, match="no sync of") as timed_out:
        db.execute("SELECT kaggle.wait_for_sync(%s, '50 ms')", (SLUG,))
    assert timed_out.value.diag.message_detail == "sync_state is queued"
    assert timed_out.value.diag.message_hint == "no worker is running: start one with pgleaderboard work"


def test_waiting_for_null_is_waiting_as_by_default(db: Connection, connect: Connect) -> None:
    """It sleeps between two looks, and ends when it is cancelled."""
    insert(db)
    session = connect()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.execute, "SELECT kaggle.wait_for_sync(%s, NULL)", (SLUG,))
        try:
            asleep = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"
            eventually(db, "PgSleep", asleep, session.info.backend_pid)
        finally:
            session.cancel_safe()
        with pytest.raises(errors.QueryCanceled, match="user request"):
            waiting.result(PATIENCE)


@pytest.mark.parametrize("unknown", ["nowhere", "https://www.kaggle.com/c/nowhere"])
def test_waiting_for_an_unknown_competition_raises(db: Connection, unknown: str) -> None:
    """At once."""
    with pytest.raises(errors.NoDataFound):
        db.execute("SELECT kaggle.wait_for_sync(%s)", (unknown,))


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_waiting_above_read_committed_raises(db: Connection, level: str) -> None:
    """It would see nothing new there."""
    insert(db)
    with db.transaction():
        db.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with pytest.raises(errors.InvalidTransactionState, match="READ COMMITTED"):
            db.execute("SELECT kaggle.wait_for_sync(%s)", (SLUG,))
        db.execute("ROLLBACK")
        db.execute("BEGIN")


@pytest.mark.parametrize("nested", [False, True])
def test_waiting_in_the_transaction_that_asked_raises(db: Connection, connect: Connect, nested: bool) -> None:
    """At once, with the remedy; a savepoint makes no difference."""
    session = connect()
    insert(session)
    if nested:
        session.execute("SAVEPOINT inner_one")
    with pytest.raises(errors.InvalidTransactionState) as refused:
        session.execute("SELECT kaggle.wait_for_sync(%s, '5 s')", (SLUG,))
    assert refused.value.diag.message_hint == "COMMIT first, then call wait_for_sync."


# -- what is recorded and told -----------------------------------------------------------------------------------------


def test_each_attempt_is_one_run_with_right_counts(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """What appeared, vanished, changed its facts, changed its place; a failure with its error; nothing twice."""
    name = f"{SLUG}-publicleaderboard.csv"
    first = "1,11,a,2026-01-01 00:00:00,0.9,1,\n2,12,b,,0.8,1,\n3,13,c,,0.7,1,\n0,10,host,,0.5,1,\n"
    second = "1,13,c,,0.7,1,\n2,11,renamed,2026-01-01 00:00:00,0.9,1,\n3,14,d,,0.6,1,\n0,10,host,,0.5,1,\n"
    simulator.faults.put(SLUG, Zipped(HEADER + first, name), method="DownloadLeaderboard")
    with worker():
        insert(db)
        synced(db)
        for fault in (
            Zipped(HEADER + second, name),
            Zipped(HEADER + second, name),
            Status(500),
            Zipped(HEADER + second + "4,15,d,,0.1,1,x\n", name),
        ):
            simulator.faults.put(SLUG, fault, method="DownloadLeaderboard")
            db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
            synced(db)
    assert rows(
        db,
        "SELECT reason, outcome, board, teams, added, removed, updated, moved, error IS NOT NULL "
        "FROM kaggle.sync_runs ORDER BY id",
    ) == [
        ("inserted", "changed", "public", 3, 4, 0, 0, 0, False),
        ("manual", "changed", "public", 3, 1, 1, 1, 1, False),
        ("manual", "unchanged", "public", 3, 0, 0, 0, 0, False),
        ("manual", "failed", None, None, None, None, None, None, True),
        ("manual", "changed", "public", 4, 1, 0, 0, 0, False),
    ]
    assert (
        value(
            db,
            "SELECT count(*) FROM kaggle.sync_runs WHERE NOT (observed_at >= started_at AND finished_at >= started_at)",
        )
        == 0
    )


def test_finished_jobs_do_not_pile_up(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Whether a sync went well or not, its job goes."""
    simulator.faults.put(OTHER, Status(500), method="DownloadLeaderboard")
    with worker():
        for slug in (SLUG, OTHER):
            insert(db, slug)
            synced(db, slug)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
        eventually(db, 0, "SELECT count(*) FROM procrastinate.procrastinate_jobs")


def test_old_runs_that_changed_nothing_are_pruned(db: Connection, worker: MakeWorker) -> None:
    """Those that changed a board stay, and so does a competition's last one; the worker does it by itself."""
    with worker():
        insert(db, auto_sync=False)
        for _ in range(4):
            db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
            synced(db)
    assert [("manual", "changed"), *[("manual", "unchanged")] * 3] == runs(db)
    assert value(db, "SELECT kaggle_internal.prune_runs('1 hour')") == 0
    db.execute("UPDATE kaggle.sync_runs SET finished_at = finished_at - interval '40 days'")
    assert value(db, "SELECT kaggle_internal.prune_runs('30 days', 1)") == 1
    with worker():
        eventually(db, 2, "SELECT count(*) FROM kaggle.sync_runs")
    assert runs(db) == [("manual", "changed"), ("manual", "unchanged")]
    assert rows(db, "SELECT outcome FROM kaggle.wait_for_sync(%s, '0 s')", SLUG) == [("unchanged",)]


def test_listeners_are_told_of_each_change_and_of_nothing_else(
    db: Connection, connect: Connect, worker: MakeWorker, simulator: Simulator
) -> None:
    """One notification a sync that changed a board; its payload is JSON."""
    listener = connect()
    listener.autocommit = True
    listener.execute("LISTEN kaggle_leaderboard")
    with worker():
        competition_id = insert(db, "titanic")
        synced(db, "titanic")
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert synced(db, "titanic") == ("manual", "unchanged")
        simulator.faults.put("titanic", Status(500), method="DownloadLeaderboard")
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert synced(db, "titanic") == ("manual", "failed")
        simulator.advance(3)
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert synced(db, "titanic") == ("manual", "changed")
    told = [json.loads(each.payload) for each in listener.notifies(timeout=PATIENCE, stop_after=2)]
    columns = ("id", "teams", "added", "removed", "updated", "moved")
    assert [
        {"competition_id": competition_id, "kaggle_competition_id": "titanic"}
        | dict(zip(("run_id", *columns[1:]), run, strict=True))
        for run in rows(db, f"SELECT {', '.join(columns)} FROM kaggle.sync_runs WHERE outcome = 'changed' ORDER BY id")
    ] == told
    db.execute("NOTIFY kaggle_leaderboard, 'the last one'")
    assert [each.payload for each in listener.notifies(timeout=PATIENCE, stop_after=1)] == ["the last one"]


# -- events ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, "ongoing"),
        ("1 h", "2 h", "upcoming"),
        ("-1 h", "1 h", "ongoing"),
        ("-2 h", "-1 h", "completed"),
        (None, "-1 h", "completed"),
        ("1 h", None, "upcoming"),
    ],
)
def test_an_events_status_follows_its_dates(db: Connection, start: str | None, end: str | None, expected: str) -> None:
    """When it is inserted, and when its dates are moved."""
    dates = "now() + %s::interval, now() + %s::interval"
    insert_event = f"INSERT INTO kaggle.events (slug, title, start_date, end_date) VALUES (%s, 'E', {dates})"
    db.execute(insert_event, ("given", start, end))
    db.execute(insert_event, ("moved", "10 days", "11 days"))
    db.execute(f"UPDATE kaggle.events SET (start_date, end_date) = ({dates}) WHERE slug = 'moved'", (start, end))
    assert [(expected,)] * 2 == rows(db, "SELECT status FROM kaggle.events")


def test_an_events_status_follows_its_dates_as_they_pass(db: Connection, worker: MakeWorker) -> None:
    """Its start, then its end; a status set by hand stays until the next date passes."""
    db.execute(
        "INSERT INTO kaggle.events (slug, title, start_date, end_date) "
        "VALUES ('night', 'Night', now() + interval '1 h', now() + interval '2 h')"
    )
    with worker():
        move_time(db, "UPDATE kaggle.events SET start_date = now(), dates_checked_at = now() - interval '1 s'")
        sweep_soon(db)
        eventually(db, "ongoing", "SELECT status FROM kaggle.events")
        db.execute("UPDATE kaggle.events SET status = 'upcoming'")
        db.execute("SELECT kaggle_internal.let_dates_act()")
        assert value(db, "SELECT status FROM kaggle.events") == "upcoming"
        move_time(db, "UPDATE kaggle.events SET end_date = now(), dates_checked_at = now() - interval '1 s'")
        sweep_soon(db)
        eventually(db, "completed", "SELECT status FROM kaggle.events")


def test_dates_that_are_not_given_are_the_events(db: Connection) -> None:
    """Given ones are kept; the status follows from what results."""
    start, end = datetime.now(UTC) + timedelta(days=1), datetime.now(UTC) + timedelta(days=2)
    event_id = value(
        db,
        "INSERT INTO kaggle.events (slug, title, start_date, end_date) VALUES ('n', 'N', %s, %s) RETURNING id",
        start,
        end,
    )
    past = start - timedelta(days=3)
    insert(db, SLUG, event_id=event_id)
    insert(db, OTHER, event_id=event_id, start_date=past)
    insert(db, BYSTANDER, event_id=event_id, end_date=end + timedelta(days=1))
    assert [
        (start, end, "upcoming"),
        (past, end, "ongoing"),
        (start, end + timedelta(days=1), "upcoming"),
    ] == rows(db, "SELECT start_date, end_date, status FROM kaggle.competitions ORDER BY id")


def test_event_competitions_follow_event_id(db: Connection) -> None:
    """Set, changed and cleared; another event that the competition counts in as well is left alone."""
    for slug in ("one", "two", "three"):
        db.execute("INSERT INTO kaggle.events (slug, title) VALUES (%s, 'E')", (slug,))
    counted = "SELECT e.slug FROM kaggle.event_competitions c JOIN kaggle.events e ON e.id = c.event_id ORDER BY e.id"
    set_event = "UPDATE kaggle.competitions SET event_id = (SELECT id FROM kaggle.events WHERE slug = %s)"
    competition_id = insert(db, event_id=value(db, "SELECT id FROM kaggle.events WHERE slug = 'one'"))
    assert rows(db, counted) == [("one",)]
    db.execute(
        "INSERT INTO kaggle.event_competitions (event_id, competition_id, rating_weight) "
        "SELECT id, %s, 3 FROM kaggle.events WHERE slug = 'three'",
        (competition_id,),
    )
    db.execute(set_event, ("two",))
    assert rows(db, counted) == [("two",), ("three",)]
    db.execute(set_event, ("three",))
    assert rows(db, counted) == [("three",)]
    assert rows(db, "SELECT rating_weight FROM kaggle.event_competitions") == [(3,)]
    db.execute("UPDATE kaggle.competitions SET event_id = NULL")
    assert rows(db, counted) == []


# -- dates and intervals at the ends of what PostgreSQL can hold -------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "date"), [("end_date", "infinity"), ("start_date", "infinity"), ("start_date", "-infinity")]
)
def test_a_date_of_infinity_does_not_harm_the_worker(
    db: Connection, worker: MakeWorker, column: str, date: str
) -> None:
    """People write infinity for "never": the worker goes on, with that row alone in the database too."""
    db.execute(
        f"INSERT INTO kaggle.competitions (kaggle_competition_id, {column}, auto_sync) VALUES (%s, %s, false)",
        (SLUG, date),
    )
    db.execute(f"INSERT INTO kaggle.events (slug, title, {column}) VALUES ('night', 'Night', %s)", (date,))
    with worker():
        eventually(db, 1, "SELECT count(*) FROM kaggle.workers")
        sweep_soon(db)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == ("manual", "changed")
        assert value(db, "SELECT id FROM kaggle.workers") == 1


@pytest.mark.parametrize("column", ["sync_interval", "history_interval"])
@pytest.mark.parametrize("huge", ["170000000 years", "infinity"])
def test_an_interval_of_ages_is_refused(db: Connection, column: str, huge: str) -> None:
    """By a rule of that column, whose name says what is wrong."""
    if huge == "infinity" and db.info.server_version < 170000:
        pytest.skip("no infinite intervals before PostgreSQL 17")
    with pytest.raises(errors.CheckViolation) as refused:
        insert(db, "titanic", **{column: huge})
    assert str(refused.value.diag.constraint_name).startswith(f"{column}_")


@pytest.mark.parametrize("column", ["sync_interval", "history_interval"])
def test_an_interval_of_nearly_a_century_works(
    db: Connection, worker: MakeWorker, simulator: Simulator, column: str
) -> None:
    """No interval that is accepted stops a competition's syncs."""
    with worker():
        insert(db, "titanic", **{column: "36000 days"})
        assert synced(db, "titanic") == ("inserted", "changed")
        simulator.advance(2)
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert synced(db, "titanic") == ("manual", "changed")
