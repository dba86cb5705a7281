"""Events: status, dates, and the competitions that count in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import (
    BYSTANDER,
    OTHER,
    SLUG,
    eventually,
    insert,
    move_time,
    rows,
    sweep_soon,
    value,
)


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


def test_a_competition_that_moves_takes_no_other_with_it(db: Connection) -> None:
    """Those that stay in its old event, or are in its new one, count there as before."""
    for slug in ("one", "two"):
        db.execute("INSERT INTO kaggle.events (slug, title) VALUES (%s, 'E')", (slug,))
    one, two = (only for (only,) in rows(db, "SELECT id FROM kaggle.events ORDER BY id"))
    for slug, event_id in ((SLUG, one), (OTHER, one), (BYSTANDER, two)):
        insert(db, slug, event_id=event_id)
    db.execute("UPDATE kaggle.competitions SET event_id = %s WHERE kaggle_competition_id = %s", (two, SLUG))
    assert rows(
        db,
        "SELECT x.event_id, c.kaggle_competition_id FROM kaggle.event_competitions x "
        "JOIN kaggle.competitions c ON c.id = x.competition_id ORDER BY 1, 2",
    ) == [(one, OTHER), (two, SLUG), (two, BYSTANDER)]
