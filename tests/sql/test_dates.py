"""Dates move: what a status and a date that nobody gave follow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.aliases import Connect, Connection
from tests.support.asking import insert, move_time, rows, value

NOW = datetime.now(UTC).replace(microsecond=0)
YESTERDAY, TOMORROW, NEXT_WEEK = NOW - timedelta(days=1), NOW + timedelta(days=1), NOW + timedelta(days=7)
LAST_WEEK, LAST_YEAR, NEXT_YEAR = NOW - timedelta(days=7), NOW - timedelta(days=365), NOW + timedelta(days=365)


def event(db: Connection, slug: str = "night", **columns: Any) -> int:
    """A new event."""
    given = {"slug": slug, "title": slug} | columns
    return int(
        value(
            db,
            f"INSERT INTO kaggle.events ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))}) RETURNING id",
            *given.values(),
        )
    )


def state(db: Connection, table: str = "competitions") -> tuple[Any, ...]:
    """Status and dates of the one row."""
    (only,) = rows(db, f"SELECT status, start_date, end_date FROM kaggle.{table}")
    return only


def reasons(db: Connection) -> list[str]:
    """What has been asked for, and not been done."""
    return [reason for (reason,) in rows(db, "SELECT reason FROM kaggle_internal.sync_requests ORDER BY id")]


def kaggle_says(db: Connection, **dates: datetime) -> None:
    """What the worker does with Kaggle's answer."""
    db.execute(
        "SELECT kaggle_internal.hold_state(id), kaggle_internal.fill_from_kaggle("
        "id, link_revision, NULL, NULL, %s, %s, NULL, NULL) FROM kaggle.competitions",
        (dates.get("start"), dates.get("deadline")),
    )


# --- an end that passed is moved, and its kind ---------------------------------------------------------------------

MOVES = {
    "a person": "UPDATE kaggle.competitions SET end_date = %s",
    "its event": "UPDATE kaggle.events SET end_date = %s",
    "Kaggle": None,
}


@pytest.mark.parametrize("who", MOVES)
def test_an_end_that_passed_and_is_moved_ahead(db: Connection, who: str) -> None:
    """The competition is ongoing again at once, is synced, and completed with another final sync at the new end."""
    event_id = event(db, start_date=LAST_YEAR, end_date=TOMORROW) if who == "its event" else None
    insert(db, event_id=event_id, end_date=TOMORROW if who == "a person" else None)
    if who == "Kaggle":
        kaggle_says(db, deadline=TOMORROW)
    assert state(db)[::2] == ("ongoing", TOMORROW)
    for end in (TOMORROW, NEXT_WEEK):
        if end == NEXT_WEEK:
            move = MOVES[who]
            if move:
                db.execute(move, (NEXT_WEEK,))
            else:
                kaggle_says(db, deadline=NEXT_WEEK)
            assert state(db)[::2] == ("ongoing", NEXT_WEEK)
            assert reasons(db)[-1] == "ongoing"
        past = "end_date = now() - interval '1 s', dates_checked_at = now() - interval '1 h'"
        filled = ", ".join(f"{column} = now() - interval '1 s'" for column in ("kaggle_deadline", "end_date_filled"))
        move_time(db, f"UPDATE kaggle.competitions SET {past}" + (f", {filled}" if who != "a person" else ""))
        move_time(db, f"UPDATE kaggle.events SET {past}")
        db.execute("SELECT kaggle_internal.let_dates_act()")
        assert state(db)[0] == "completed"
        assert [r for r in reasons(db) if r != "event_ended"][-1] == "completed"


@pytest.mark.parametrize("table", ["competitions", "events"])
def test_moving_a_start_or_removing_an_end_is_the_same_kind(db: Connection, table: str) -> None:
    """What the dates gave they take back; what is moved to the past, too."""
    if table == "events":
        event(db)
    else:
        insert(db)
    for change, expected in (
        ("start_date = now() + interval '1 day'", "upcoming"),
        ("start_date = now() - interval '1 day'", "ongoing"),
        ("start_date = now() + interval '1 day'", "upcoming"),
        ("start_date = NULL", "ongoing"),
        ("end_date = now() - interval '1 hour'", "completed"),
        ("end_date = now() - interval '2 hours'", "completed"),
        ("end_date = NULL", "ongoing"),
        ("end_date = now()", "completed"),
        ("end_date = now() + interval '1 hour'", "ongoing"),
        ("start_date = now() + interval '30 minutes'", "upcoming"),
    ):
        db.execute(f"UPDATE kaggle.{table} SET {change}")
        assert state(db, table)[0] == expected, change


@pytest.mark.parametrize("table", ["competitions", "events"])
def test_a_status_that_a_person_set(db: Connection, table: str) -> None:
    """It stays until a date passes or null gives it back; the same one again sets nothing, as by an ORM."""
    if table == "events":
        event(db)
    else:
        insert(db)

    def after(change: str) -> tuple[Any, ...]:
        db.execute(f"UPDATE kaggle.{table} SET {change}")
        return rows(db, f"SELECT status, status_by FROM kaggle.{table}")[0]

    assert after("status = 'completed'") == ("completed", "person")
    assert after("end_date = now() + interval '1 day'") == ("completed", "person")
    assert after("status = status, end_date = now() + interval '2 days', title = 'T'") == ("completed", "person")
    assert after("end_date = now()") == ("completed", "person")
    assert after("end_date = now() + interval '1 day'") == ("completed", "person")
    assert after("status = NULL") == ("ongoing", "dates")
    assert after("status = 'ongoing'") == ("ongoing", "dates")
    assert after("end_date = now()") == ("completed", "dates")
    assert after("status = 'completed', title = 'U'") == ("completed", "dates")
    assert after("end_date = now() + interval '1 day'") == ("ongoing", "dates")
    assert after("status = 'upcoming'") == ("upcoming", "person")
    assert after("status = ''") == ("ongoing", "dates")
    assert after("end_date = now()") == ("completed", "dates")
    assert after("status = 'ongoing'") == ("ongoing", "person")
    assert after("status = 'ongoing', description = 'D'") == ("ongoing", "person")
    assert after("status_by = 'dates'") == ("ongoing", "person")
    move_time(
        db,
        f"UPDATE kaggle.{table} SET end_date = now() - interval '1 s', dates_checked_at = now() - interval '1 h'",
    )
    db.execute("SELECT kaggle_internal.let_dates_act()")
    assert after("title = 'V'") == ("completed", "dates")


@pytest.mark.parametrize("target", ["slug", "id"])
@pytest.mark.parametrize("table", ["competitions", "events"])
def test_an_upsert_gives_the_status_back_too(db: Connection, table: str, target: str) -> None:
    """SET status = excluded.status, with null: what the dates of the row that is there say, and it follows them."""
    slug = "slug" if table == "events" else "kaggle_competition_id"
    conflict = slug if target == "slug" else "id"
    dates = "start_date, end_date"
    there = f"INSERT INTO kaggle.{table} (id, {slug}, title, {dates}) VALUES (7, 'night', 'N', %s, %s)"
    upsert = (
        f"INSERT INTO kaggle.{table} AS t (id, {slug}, title, status{{0}}) VALUES (%s, 'night', 'N', %s{{1}}) "
        f"ON CONFLICT ({conflict}) DO UPDATE SET status = excluded.status{{2}} RETURNING status, status_by"
    )
    own_id = 7 if target == "id" else 8
    for start, end, by_dates in (
        (None, None, "ongoing"),
        (None, YESTERDAY, "completed"),
        (None, TOMORROW, "ongoing"),
        (TOMORROW, None, "upcoming"),
        (LAST_YEAR, YESTERDAY, "completed"),
    ):
        for before in (None, "completed", "ongoing", "upcoming"):
            db.execute(f"DELETE FROM kaggle.{table}")  # type: ignore[arg-type]
            db.execute(there, (start, end))  # type: ignore[arg-type]
            if before:
                db.execute(f"UPDATE kaggle.{table} SET status = %s", (before,))  # type: ignore[arg-type]
            for given in (None, ""):
                assert rows(db, upsert.format("", "", ""), own_id, given) == [(by_dates, "dates")], (end, before)
            moved = upsert.format(", end_date", ", %s", ", end_date = excluded.end_date")
            for moved_to, expected in ((NEXT_WEEK, by_dates), (NEXT_YEAR, by_dates), (None, by_dates)):
                expected = "ongoing" if expected == "completed" else expected
                assert rows(db, moved, own_id, None, moved_to) == [(expected, "dates")], (end, before, moved_to)
    assert rows(db, upsert.format("", "", ""), own_id, "completed") == [("completed", "person")]
    for start, end, by_person, until, by_dates in (
        (LAST_YEAR, YESTERDAY, "ongoing", TOMORROW, "ongoing"),
        (LAST_YEAR, YESTERDAY, "upcoming", TOMORROW, "ongoing"),
        (LAST_YEAR, TOMORROW, "completed", NEXT_WEEK, "ongoing"),
    ):
        db.execute(f"DELETE FROM kaggle.{table}")
        db.execute(there, (start, end))
        db.execute(f"UPDATE kaggle.{table} SET status = %s", (by_person,))
        assert state(db, table)[0] == by_person
        every = upsert.format(f", {dates}", ", %s, %s", "".join(f", {d} = excluded.{d}" for d in dates.split(", ")))
        assert rows(db, every, own_id, None, start, until) == [(by_dates, "dates")]


# --- whose date it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "of_event", "of_kaggle", "expected"),
    [
        ((None, None), (None, None), (None, None), (None, None)),
        ((None, None), (YESTERDAY, TOMORROW), (None, None), (YESTERDAY, TOMORROW)),
        ((None, None), (None, None), (LAST_YEAR, NEXT_YEAR), (LAST_YEAR, NEXT_YEAR)),
        ((None, None), (YESTERDAY, TOMORROW), (LAST_YEAR, NEXT_YEAR), (YESTERDAY, TOMORROW)),
        ((None, None), (None, TOMORROW), (LAST_YEAR, NEXT_YEAR), (LAST_YEAR, TOMORROW)),
        ((LAST_WEEK, None), (YESTERDAY, TOMORROW), (LAST_YEAR, NEXT_YEAR), (LAST_WEEK, TOMORROW)),
        ((None, NEXT_WEEK), (YESTERDAY, TOMORROW), (LAST_YEAR, NEXT_YEAR), (YESTERDAY, NEXT_WEEK)),
        ((LAST_WEEK, NEXT_WEEK), (YESTERDAY, TOMORROW), (LAST_YEAR, NEXT_YEAR), (LAST_WEEK, NEXT_WEEK)),
        # What contradicts a date that was given is passed over, and Kaggle's start gives way to an end.
        ((NEXT_WEEK, None), (YESTERDAY, TOMORROW), (LAST_YEAR, NEXT_YEAR), (NEXT_WEEK, NEXT_YEAR)),
        ((NEXT_YEAR, None), (YESTERDAY, TOMORROW), (None, NEXT_WEEK), (NEXT_YEAR, None)),
        ((None, LAST_WEEK), (YESTERDAY, TOMORROW), (LAST_YEAR, NEXT_YEAR), (LAST_YEAR, LAST_WEEK)),
        ((None, None), (None, YESTERDAY), (TOMORROW, NEXT_YEAR), (None, YESTERDAY)),
    ],
)
def test_a_date_that_nobody_gave(
    db: Connection,
    given: tuple[datetime | None, ...],
    of_event: tuple[datetime | None, ...],
    of_kaggle: tuple[datetime | None, ...],
    expected: tuple[datetime | None, ...],
) -> None:
    """It is the event's, else Kaggle's, in whatever order they become known."""
    columns = dict(zip(("start_date", "end_date"), given, strict=True))
    set_event = "UPDATE kaggle.events SET (start_date, end_date) = (%s, %s)"
    insert(db, event_id=event(db), **columns)
    db.execute(set_event, of_event)
    kaggle_says(db, **{n: d for n, d in zip(("start", "deadline"), of_kaggle, strict=True) if d})
    assert state(db)[1:] == expected
    db.execute("UPDATE kaggle.competitions SET start_date = start_date, end_date = end_date, title = 'sent back'")
    assert state(db)[1:] == expected
    db.execute("DELETE FROM kaggle.events")
    db.execute("DELETE FROM kaggle.competitions")
    start, end = of_event
    insert(db, event_id=event(db, start_date=start, end_date=end), **columns)
    if given != (NEXT_WEEK, None):
        kaggle_says(db, **{n: d for n, d in zip(("start", "deadline"), of_kaggle, strict=True) if d})
        assert state(db)[1:] == expected


def test_it_is_determined_anew_when_either_moves(db: Connection) -> None:
    """Another event, none, null in the place of a date that was given; what was given stays."""
    night, day = event(db, end_date=TOMORROW), event(db, "day", end_date=NEXT_WEEK)
    insert(db, event_id=night)
    kaggle_says(db, deadline=NEXT_YEAR)
    assert state(db)[2] == TOMORROW
    assert rows(db, "SELECT kaggle_deadline FROM kaggle.competitions") == [(NEXT_YEAR,)]
    db.execute("UPDATE kaggle.competitions SET event_id = %s", (day,))
    assert state(db)[2] == NEXT_WEEK
    db.execute("UPDATE kaggle.competitions SET event_id = NULL")
    assert state(db)[2] == NEXT_YEAR
    db.execute("UPDATE kaggle.competitions SET end_date = %s", (TOMORROW,))
    kaggle_says(db, deadline=NEXT_WEEK)
    db.execute("UPDATE kaggle.competitions SET event_id = %s", (day,))
    db.execute("UPDATE kaggle.events SET end_date = %s", (NEXT_YEAR,))
    assert state(db)[2] == TOMORROW
    db.execute("UPDATE kaggle.competitions SET end_date = NULL")
    assert state(db)[2] == NEXT_YEAR
    db.execute("UPDATE kaggle.events SET end_date = NULL")
    assert state(db)[2] == NEXT_WEEK
    db.execute("DELETE FROM kaggle.events")
    assert state(db)[2] == NEXT_WEEK


def test_an_events_deadline_is_never_kaggles(db: Connection) -> None:
    """kaggle_deadline stays unknown, whatever dates the event and the competition have."""
    insert(db, event_id=event(db, end_date=TOMORROW), end_date=NEXT_WEEK)
    db.execute("UPDATE kaggle.events SET end_date = %s", (YESTERDAY,))
    db.execute("UPDATE kaggle.competitions SET end_date = NULL")
    assert rows(db, "SELECT end_date, kaggle_deadline FROM kaggle.competitions") == [(YESTERDAY, None)]


def test_a_competition_and_its_events_end_are_written_at_once(db: Connection, connect: Connect) -> None:
    """Neither transaction sees the other, neither waits; the next sweep has the competition follow."""
    mover, inserter = connect(), connect()
    night = event(db, end_date=TOMORROW)
    mover.execute("SET lock_timeout = '2s'")
    inserter.execute("SET lock_timeout = '2s'")
    mover.execute("UPDATE kaggle.events SET end_date = %s", (YESTERDAY,))
    insert(inserter, event_id=night)
    mover.commit()
    inserter.commit()
    assert state(db)[::2] == ("ongoing", TOMORROW)
    db.execute("SELECT kaggle_internal.pull_back_schedules()")
    assert state(db)[::2] == ("completed", YESTERDAY)
    assert reasons(db)[-1] == "completed"


def test_import_passes_no_status(db: Connection) -> None:
    """The event was called completed by hand; its competitions follow their dates."""
    event(db, end_date=TOMORROW)
    db.execute("UPDATE kaggle.events SET status = 'completed'")
    db.execute("SELECT kaggle.import_competitions('{titanic}', 'night')")
    assert rows(db, "SELECT status, status_by FROM kaggle.competitions") == [("ongoing", "dates")]


@pytest.mark.parametrize("change", ["kaggle_competition_id = 'titanic'", "auto_sync = true"])
def test_a_completed_competition_that_is_corrected_is_synced(db: Connection, change: str) -> None:
    """Its slug was mistyped, or its syncs were off: its board is fetched once, as if it had been inserted so."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, status, auto_sync) "
        "VALUES ('titanik', 'completed', %s)",
        ("auto_sync" not in change,),
    )
    db.execute("DELETE FROM kaggle_internal.sync_requests")
    db.execute(f"UPDATE kaggle.competitions SET {change}")  # type: ignore[arg-type]
    assert rows(db, "SELECT reason FROM kaggle_internal.sync_requests") == [("completed",)]


@pytest.mark.parametrize(
    ("attempt", "success", "asks"),
    [
        ("-1 min", "-59 s", []),  # it saw the board of after the end
        ("-1 min", None, ["completed"]),
        ("-1 min", "-1 h", ["completed"]),  # it failed, or runs still
        ("-3 days", "-3 days", ["completed"]),
    ],
)
def test_an_end_that_kaggle_tells_afterwards(
    db: Connection, attempt: str, success: str | None, asks: list[str]
) -> None:
    """A slug alone was given: it is synced once, and again only where no sync saw the board of after the end."""
    insert(db)
    db.execute("DELETE FROM kaggle_internal.sync_requests")
    db.execute("SELECT kaggle_internal.hold_state(id) FROM kaggle.competitions")
    db.execute(
        "UPDATE kaggle_internal.sync_state SET last_attempt_at = now() + %s::interval, "
        "last_success_at = now() + %s::interval",
        (attempt, success),
    )
    kaggle_says(db, deadline=YESTERDAY)
    assert state(db)[::2] == ("completed", YESTERDAY)
    assert reasons(db) == asks


@pytest.mark.parametrize("table", ["competitions", "events"])
def test_an_upcoming_that_a_person_set_ends_where_the_start_is_moved(db: Connection, table: str) -> None:
    """A start that has passed already says nothing against it, whatever else is edited; one that is moved does."""
    if table == "events":
        event(db, status="upcoming", start_date=YESTERDAY)
    else:
        insert(db, status="upcoming", start_date=YESTERDAY)
    db.execute(f"UPDATE kaggle.{table} SET title = 'edited'")
    assert state(db, table)[0] == "upcoming"
    db.execute(f"UPDATE kaggle.{table} SET start_date = %s", (LAST_WEEK,))
    assert state(db, table)[0] == "ongoing"


def test_an_upcoming_that_a_person_set_stays_where_the_events_start_is_moved(db: Connection) -> None:
    """A start that nobody gave to the competition says nothing against what a person said of it."""
    insert(db, status="upcoming", event_id=event(db, start_date=YESTERDAY))
    db.execute("UPDATE kaggle.events SET start_date = %s", (LAST_WEEK,))
    assert state(db) == ("upcoming", LAST_WEEK, None)
