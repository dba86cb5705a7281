"""What Kaggle says about a competition beside its board, and what it may write into the row."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import OTHER, PATIENCE, SLUG, eventually, insert, rows, sweep_soon, value
from tests.support.faults import Fault, Page, Reset, Simulator, Status

METHOD = "GetCompetition"
NOW = datetime.now(UTC).replace(microsecond=0)
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)
LONG_AGO = NOW - timedelta(days=2000)
LAST_YEAR, NEXT_YEAR = NOW - timedelta(days=365), NOW + timedelta(days=365)


def row(db: Connection, columns: str) -> tuple[Any, ...]:
    """Columns of the one competition."""
    (only,) = db.execute(f"SELECT {columns} FROM kaggle.competitions").fetchall()
    return only


def synced(db: Connection, slug: str = SLUG) -> str:
    """Wait for what was asked. Returns the run's outcome."""
    outcome: str = value(db, "SELECT outcome FROM kaggle.wait_for_sync(%s, '20 s')", slug)
    return outcome


def told(db: Connection) -> None:
    """Wait until Kaggle has been asked about the competition and has answered well."""
    eventually(db, True, "SELECT describe_at > clock_timestamp() + interval '2 hours' FROM kaggle_internal.sync_state")


def ask_again(db: Connection) -> None:
    """Have Kaggle asked now, as a day later, and wait for it."""
    db.execute("UPDATE kaggle_internal.sync_state SET describe_at = now()")
    db.execute("SELECT kaggle_internal.queue_job('describe', competition_id, 20) FROM kaggle_internal.sync_state")
    told(db)


def says(**fields: Any) -> Page:
    """An answer of Kaggle's."""
    written = {
        name: f"{field:%Y-%m-%dT%H:%M:%SZ}" if isinstance(field, datetime) else field for name, field in fields.items()
    }
    return Page(json.dumps({"id": 1, "ref": SLUG} | written), "application/json")


EVERYTHING = {
    "title": "From Kaggle",
    "description": "All about it",
    "deadline": NEXT_YEAR,
    "enabledDate": LAST_YEAR,
    "evaluationMetric": "Macro F1",
    "maxDailySubmissions": 7,
}
COLUMNS = "title, description, start_date, end_date, evaluation_metric, max_submissions_per_day"
FOLLOWING = set(COLUMNS.split(", ")) - {"start_date", "end_date"}  # dates are told by columns of their own
FILLED = ("From Kaggle", "All about it", LAST_YEAR, NEXT_YEAR, "Macro F1", 7)


def test_empty_columns_are_filled(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """After the first sync; filled_by_kaggle names them; the competition stays ongoing."""
    simulator.faults.put(SLUG, says(**EVERYTHING), method=METHOD)
    with worker():
        insert(db)
        assert synced(db) == "changed"
        told(db)
    assert row(db, COLUMNS) == FILLED
    assert set(row(db, "filled_by_kaggle")[0].split(",")) == FOLLOWING
    assert row(db, "start_date_filled = start_date, end_date_filled = end_date") == (True, True)
    assert row(db, "status") == ("ongoing",)
    assert value(db, "SELECT count(*) FROM kaggle.sync_runs") == 1


def test_it_is_asked_once_and_then_daily(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Not with each sync."""
    with worker():
        insert(db)
        synced(db)
        told(db)
        for _ in range(3):
            db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
            synced(db)
        assert [request.method for request in simulator.requests].count(METHOD) == 1
        ask_again(db)
    assert [request.method for request in simulator.requests].count(METHOD) == 2


def test_columns_that_a_user_gave_are_kept(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Those that are empty are filled beside them."""
    simulator.faults.put(SLUG, says(**EVERYTHING), method=METHOD)
    with worker():
        insert(db, title="Mine", max_submissions_per_day=3, end_date=TOMORROW)
        synced(db)
        told(db)
    assert row(db, COLUMNS) == ("Mine", "All about it", LAST_YEAR, TOMORROW, "Macro F1", 3)
    assert set(row(db, "filled_by_kaggle")[0].split(",")) == {"description", "evaluation_metric"}
    assert row(db, "start_date_filled = start_date, end_date_filled") == (True, None)


def test_dates_of_the_event_are_kept(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """A competition takes its event's dates; Kaggle's do not replace them."""
    simulator.faults.put(SLUG, says(**EVERYTHING), method=METHOD)
    event_id = value(
        db,
        "INSERT INTO kaggle.events (slug, title, start_date, end_date) VALUES ('e', 'E', %s, %s) RETURNING id",
        YESTERDAY,
        TOMORROW,
    )
    with worker():
        insert(db, event_id=event_id)
        synced(db)
        told(db)
    assert row(db, "start_date, end_date") == (YESTERDAY, TOMORROW)


def test_an_extended_deadline_moves_the_end(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """What came from Kaggle follows Kaggle; nothing else is touched, and no sync is asked for."""
    simulator.faults.put(SLUG, says(**EVERYTHING | {"deadline": TOMORROW}), method=METHOD)
    with worker():
        insert(db)
        synced(db)
        told(db)
        assert row(db, "end_date") == (TOMORROW,)
        simulator.faults.put(SLUG, says(**EVERYTHING | {"deadline": NEXT_YEAR}), method=METHOD)
        ask_again(db)
    assert row(db, COLUMNS) == FILLED
    assert value(db, "SELECT count(*) FROM kaggle.sync_runs") == 1


def test_a_column_that_a_user_edits_no_longer_follows(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """It leaves filled_by_kaggle; the others go on following."""
    simulator.faults.put(SLUG, says(**EVERYTHING), method=METHOD)
    with worker():
        insert(db)
        synced(db)
        told(db)
        db.execute("UPDATE kaggle.competitions SET title = 'Edited', end_date = %s", (TOMORROW,))
        assert set(row(db, "filled_by_kaggle")[0].split(",")) == FOLLOWING - {"title"}
        assert row(db, "start_date_filled = start_date, end_date_filled") == (True, None)
        simulator.faults.put(SLUG, says(**EVERYTHING | {"title": "Newer", "description": "Newer"}), method=METHOD)
        ask_again(db)
    assert row(db, "title, description, end_date") == ("Edited", "Newer", TOMORROW)


def test_null_gives_a_column_back_to_kaggle(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """One that the user gave, and one that the user had edited."""
    simulator.faults.put(SLUG, says(**EVERYTHING), times=None, method=METHOD)
    with worker():
        insert(db, title="Mine")
        synced(db)
        told(db)
        db.execute("UPDATE kaggle.competitions SET description = 'Mine'")
        db.execute("UPDATE kaggle.competitions SET title = NULL, description = NULL, end_date = NULL")
        ask_again(db)
    assert row(db, COLUMNS) == FILLED
    assert set(row(db, "filled_by_kaggle")[0].split(",")) == FOLLOWING
    assert row(db, "start_date_filled = start_date, end_date_filled = end_date") == (True, True)


@pytest.mark.parametrize(
    ("given", "said", "expected"),
    [
        ({"start_date": TOMORROW, "status": "ongoing"}, {"deadline": YESTERDAY}, (TOMORROW, None)),
        ({"end_date": TOMORROW}, {"enabledDate": NEXT_YEAR}, (None, TOMORROW)),
        ({}, {"enabledDate": NEXT_YEAR, "deadline": TOMORROW}, (None, TOMORROW)),
        ({"start_date": YESTERDAY}, {"deadline": TOMORROW}, (YESTERDAY, TOMORROW)),
    ],
)
def test_a_date_that_contradicts_the_other_is_not_filled(
    db: Connection,
    worker: MakeWorker,
    simulator: Simulator,
    given: dict[str, Any],
    said: dict[str, Any],
    expected: tuple[Any, ...],
) -> None:
    """The rest of what Kaggle says is."""
    simulator.faults.put(SLUG, says(title="From Kaggle", **said), method=METHOD)
    with worker():
        insert(db, **given)
        synced(db)
        told(db)
    assert row(db, "start_date, end_date") == expected
    assert row(db, "title, status") == ("From Kaggle", "ongoing")


def test_dates_that_follow_kaggle_move_together(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Both dates were filled, and both move past what the other was; a start that would be wrong is given up."""
    simulator.faults.put(SLUG, says(enabledDate=TOMORROW, deadline=NEXT_YEAR), method=METHOD)
    with worker():
        insert(db)
        synced(db)
        told(db)
        later = NEXT_YEAR + timedelta(days=10)
        simulator.faults.put(SLUG, says(enabledDate=NEXT_YEAR + timedelta(days=5), deadline=later), method=METHOD)
        ask_again(db)
        assert row(db, "start_date, end_date") == (NEXT_YEAR + timedelta(days=5), later)
        simulator.faults.put(SLUG, says(deadline=TOMORROW), method=METHOD)
        ask_again(db)
    assert row(db, "start_date, end_date") == (None, TOMORROW)


FAILURES: dict[str, Callable[[], Fault]] = {
    "500": lambda: Status(500),
    "404": lambda: Status(404),
    "403": lambda: Status(403),
    "no JSON": lambda: Page("<html>maintenance</html>"),
    "broken JSON": lambda: Page('{"title": "cut o', "application/json"),
    "a list": lambda: Page("[]", "application/json"),
    "null": lambda: Page("null", "application/json"),
    "nothing": lambda: Page("", "application/json"),
    "no date": lambda: says(title="T", deadline="soon"),
    "a number that is too large": lambda: says(title="T", maxDailySubmissions=99_999_999_999),
    "a number that is words": lambda: says(title="T", maxDailySubmissions="many"),
    "a title that is a number": lambda: says(title=5),
    "a title that is an object": lambda: says(title={"text": "T"}),
    "a date before Christ": lambda: says(title="T", deadline="0001-01-01T00:00:00Z"),
    "the last date there is": lambda: says(title="T", enabledDate="9999-12-31T23:59:59Z"),
    "reset": Reset,
}


@pytest.mark.parametrize("fault", FAILURES.values(), ids=FAILURES)
def test_a_failure_never_stops_the_board(
    db: Connection,
    worker: MakeWorker,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[], Fault],
) -> None:
    """The board is synced before and after; no run fails for it, and the log shows no fault of ours."""
    played = simulator.faults.put(SLUG, fault(), method=METHOD)
    with caplog.at_level(logging.INFO), worker():
        insert(db)
        assert synced(db) == "changed"
        assert played.arrived.wait(PATIENCE)
        eventually(db, 0, "SELECT count(*) FROM procrastinate.procrastinate_jobs")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == "unchanged"
        assert value(db, "SELECT count(*) FROM kaggle.workers") == 1
    assert value(db, "SELECT count(*) FROM kaggle.leaderboard WHERE NOT is_benchmark") == 1
    assert value(db, "SELECT sync_state FROM kaggle.sync_status") in ("idle", "queued")
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []


def test_odd_text_is_kept_as_far_as_postgresql_can(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Emoji, quotes and control characters arrive; NUL, which PostgreSQL cannot hold, does not stop the rest."""
    simulator.faults.put(
        SLUG, says(title='It\'s "é" 🏆\0', description="a\0b\n\u0001", deadline=NEXT_YEAR), method=METHOD
    )
    with worker():
        insert(db)
        synced(db)
        told(db)
    assert row(db, "title, end_date") == ('It\'s "é" 🏆', NEXT_YEAR)
    assert row(db, "description")[0].endswith("b\n\u0001")


def test_what_kaggle_does_not_say_leaves_the_columns_empty(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """Empty text and a limit of 0 say nothing."""
    simulator.faults.put(SLUG, says(title="", description="", maxDailySubmissions=0), method=METHOD)
    with worker():
        insert(db)
        synced(db)
        told(db)
    assert row(db, COLUMNS) == (None,) * 6
    assert row(db, "filled_by_kaggle") == ("",)


def test_a_row_that_somebody_holds_is_left_for_later(
    db: Connection, connect: Connect, worker: MakeWorker, simulator: Simulator
) -> None:
    """An idle transaction blocks neither the board nor the worker; the row is filled when it is free."""
    simulator.faults.put(SLUG, says(**EVERYTHING), times=None, method=METHOD)
    insert(db, auto_sync=True)
    idle = connect()
    idle.execute("UPDATE kaggle.competitions SET description = 'Not yet committed'")
    with worker():
        assert synced(db) == "changed"
        # Left for a minute; a lost attempt would be for an hour, a filled row for a day.
        eventually(
            db,
            True,
            "SELECT describe_at BETWEEN clock_timestamp() AND clock_timestamp() + interval '30 min' "
            "FROM kaggle_internal.sync_state",
        )
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == "unchanged"
        assert row(db, "title") == (None,)
        idle.rollback()
        ask_again(db)
    assert row(db, COLUMNS) == FILLED


def test_another_kaggle_id_resets_what_the_former_had_filled_in(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """What the user gave stays; the new competition's own follows at once."""
    simulator.faults.put(SLUG, says(**EVERYTHING), method=METHOD)
    simulator.faults.put(OTHER, says(title="The other", deadline=TOMORROW), method=METHOD)
    with worker():
        insert(db, description="Mine")
        synced(db)
        told(db)
        db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (OTHER,))
        assert row(db, "description, start_date, evaluation_metric, max_submissions_per_day") == (
            "Mine",
            None,
            None,
            None,
        )
        assert synced(db, OTHER) == "changed"
        eventually(db, "The other", "SELECT title FROM kaggle.competitions")
    assert row(db, COLUMNS) == ("The other", "Mine", None, TOMORROW, None, None)
    assert set(row(db, "filled_by_kaggle")[0].split(",")) == {"title"}


def test_an_answer_about_the_former_kaggle_id_is_not_written(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """The id changed while Kaggle was asked; what it says about the new one is not put off by the late answer."""
    late = simulator.faults.hold(SLUG, METHOD)
    board = simulator.faults.hold(OTHER, "DownloadLeaderboard")
    simulator.faults.put(OTHER, says(title="The other"), method=METHOD)
    with worker():
        insert(db)
        synced(db)
        assert late.arrived.wait(PATIENCE)
        db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (OTHER,))
        assert board.arrived.wait(PATIENCE)
        late.release()
        jobs = "SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE task_name = 'describe'"
        eventually(db, 0, jobs)
        assert row(db, "title, filled_by_kaggle") == (None, "")
        board.release()
        synced(db, OTHER)
        eventually(db, "The other", "SELECT coalesce(title, '') FROM kaggle.competitions")
    assert row(db, "end_date, filled_by_kaggle") == (None, "title")


def test_another_case_of_the_same_kaggle_id_resets_nothing(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """It is the same competition."""
    simulator.faults.put(SLUG, says(**EVERYTHING), method=METHOD)
    with worker():
        insert(db)
        synced(db)
        told(db)
        db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'Simulated-1-Teams'")
    assert row(db, COLUMNS) == FILLED
    assert value(db, "SELECT count(*) FROM kaggle_internal.sync_requests") == 0


def test_a_past_deadline_completes_the_competition(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Its sync came after the end, so there is no other; who sets ongoing again is not overruled by it."""
    simulator.faults.put(SLUG, says(**EVERYTHING | {"deadline": YESTERDAY}), times=None, method=METHOD)
    with worker():
        insert(db)
        synced(db)
        eventually(db, "completed", "SELECT status FROM kaggle.competitions")
        db.execute("UPDATE kaggle.competitions SET status = 'ongoing'")
        assert synced(db) == "unchanged"
        assert rows(db, "SELECT reason FROM kaggle.sync_runs ORDER BY id") == [("inserted",), ("ongoing",)]
        ask_again(db)
    assert row(db, "status, end_date") == ("ongoing", YESTERDAY)


def test_another_kaggle_id_begins_anew_after_the_former_has_ended(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """It was the former competition whose deadline had passed: the row is ongoing again and synced."""
    simulator.faults.put(SLUG, says(deadline=YESTERDAY), times=None, method=METHOD)
    with worker():
        insert(db)
        synced(db)
        eventually(db, "completed", "SELECT status FROM kaggle.competitions")
        db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (OTHER,))
        assert row(db, "status, end_date") == ("ongoing", None)
        assert synced(db, OTHER) == "changed"


def test_a_past_start_that_kaggle_says_does_not_begin_an_upcoming_competition(
    db: Connection, worker: MakeWorker
) -> None:
    """Somebody calls it upcoming and syncs it once by hand: it stays upcoming, whatever Kaggle says of its start."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, status) VALUES ('titanic', 'upcoming')")
    with worker():
        db.execute("SELECT kaggle.sync_now('titanic')")
        db.execute("SELECT kaggle.wait_for_sync('titanic')")
        told(db)
    assert db.execute("SELECT status, start_date < now() FROM kaggle.competitions").fetchall() == [("upcoming", True)]


@pytest.mark.parametrize("why", ["somebody holds the row", "Kaggle failed"])
def test_what_could_not_be_filled_in_is_asked_again_after_the_end(
    db: Connection, connect: Connect, worker: MakeWorker, simulator: Simulator, why: str
) -> None:
    """A completed competition is asked about until it is filled in, then no more, until it is ongoing again."""
    insert(db, status="completed")
    idle = connect()
    if why == "Kaggle failed":
        simulator.faults.put(SLUG, Status(500), method=METHOD)
    else:
        idle.execute("UPDATE kaggle.competitions SET description = 'Not yet committed'")
    simulator.faults.put(
        SLUG, says(**EVERYTHING | {"enabledDate": None, "deadline": LONG_AGO}), times=None, method=METHOD
    )
    asked = "SELECT describe_at > '-infinity' FROM kaggle_internal.sync_state"
    jobs = "SELECT count(*) FROM procrastinate.procrastinate_jobs"
    with worker():
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == "changed"
        eventually(db, True, asked)
        eventually(db, 0, jobs)
        assert row(db, "title") == (None,)
        assert value(db, "SELECT due_at FROM kaggle_internal.sync_state") is None
        idle.rollback()
        db.execute("UPDATE kaggle_internal.sync_state SET describe_at = now()")
        sweep_soon(db)
        eventually(db, True, "SELECT describe_at = 'infinity' FROM kaggle_internal.sync_state")
        assert row(db, "title, end_date, status") == ("From Kaggle", LONG_AGO, "completed")
        assert value(db, "SELECT count(*) FROM kaggle_internal.wanted(NULL, false)") == 0
        db.execute("UPDATE kaggle.competitions SET status = 'ongoing'")
        assert synced(db) == "unchanged"
        eventually(db, True, "SELECT describe_at BETWEEN now() + interval '2 h' AND now() + interval '2 d' "
                             "FROM kaggle_internal.sync_state")  # fmt: skip
    assert [request.method for request in simulator.requests].count(METHOD) == 3


def test_too_many_requests_for_it_pause_everything(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """A 429 is for all of a credential's requests, those for boards too."""
    simulator.faults.put(SLUG, Status(429, {"Retry-After": "1000"}), method=METHOD)
    with worker():
        insert(db)
        assert synced(db) == "changed"
        eventually(db, True, "SELECT coalesce(max(blocked_until), '-infinity') > now() + interval '15 min' "
                             "FROM kaggle_internal.kaggle_budget")  # fmt: skip
    assert value(db, "SELECT blocked_until < now() + interval '1000 s' FROM kaggle.sync_status")
