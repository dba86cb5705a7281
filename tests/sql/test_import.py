"""Many competitions in one statement."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.aliases import Connection


def imported(db: Connection, given: list[str | None], event: str | None = None) -> list[tuple[Any, ...]]:
    """Slug and outcome of each."""
    return db.execute(
        "SELECT kaggle_competition_id, outcome FROM kaggle.import_competitions(%s, %s)", (given, event)
    ).fetchall()


def test_a_list_of_slugs_and_urls(db: Connection) -> None:
    """Each gets a row in the order given; what cannot be read is rejected with the reason and stops nothing."""
    given = [
        "titanic",
        "https://www.kaggle.com/competitions/house-prices-advanced-regression-techniques/overview",
        "not a slug",
        "TITANIC",
        "https://www.kaggle.com/t/abcdef",
        None,
    ]
    assert imported(db, given) == [
        ("titanic", "created"),
        ("house-prices-advanced-regression-techniques", "created"),
        ("not a slug", "rejected: not a Kaggle competition: 'not a slug'"),
        ("titanic", "already there"),
        (
            "https://www.kaggle.com/t/abcdef",
            "rejected: an invitation link does not name its competition: https://www.kaggle.com/t/abcdef",
        ),
        (None, "rejected: nothing was given"),
    ]
    assert imported(db, ["titanic"]) == [("titanic", "already there")]
    assert db.execute("SELECT count(*) FROM kaggle.competitions").fetchone() == (2,)


def test_all_syncs_are_asked_for_with_one_job(db: Connection) -> None:
    """A hundred at once: a request each, one job."""
    assert {outcome for _, outcome in imported(db, [f"c-{n}" for n in range(100)])} == {"created"}
    assert db.execute(
        "SELECT count(*), count(DISTINCT competition_id) FROM kaggle_internal.sync_requests"
    ).fetchone() == (
        100,
        100,
    )
    assert db.execute("SELECT count(*) FROM procrastinate.procrastinate_jobs").fetchone() == (1,)


def test_into_an_event_with_its_dates_and_status(db: Connection) -> None:
    """New ones take the event's dates and status; one that counts elsewhere counts in both and keeps its event."""
    db.execute(
        "INSERT INTO kaggle.events (slug, title, start_date, end_date) VALUES"
        " ('night', 'Night', now() + interval '1 day', now() + interval '2 days'), ('day', 'Day', NULL, NULL)"
    )
    assert imported(db, ["titanic"], "day") == [("titanic", "created")]
    assert imported(db, ["titanic", "digit-recognizer"], "night") == [
        ("titanic", "linked"),
        ("digit-recognizer", "created"),
    ]
    assert imported(db, ["titanic"], "night") == [("titanic", "already there")]
    assert db.execute(
        "SELECT c.kaggle_competition_id, e.slug, c.status, c.start_date IS NOT NULL FROM kaggle.competitions c"
        " JOIN kaggle.events e ON e.id = c.event_id ORDER BY c.id"
    ).fetchall() == [("titanic", "day", "ongoing", False), ("digit-recognizer", "night", "upcoming", True)]
    assert db.execute(
        "SELECT e.slug, array_agg(c.kaggle_competition_id ORDER BY c.id) FROM kaggle.event_competitions ec"
        " JOIN kaggle.events e ON e.id = ec.event_id JOIN kaggle.competitions c ON c.id = ec.competition_id"
        " GROUP BY e.slug ORDER BY e.slug"
    ).fetchall() == [("day", ["titanic"]), ("night", ["titanic", "digit-recognizer"])]


def test_an_unknown_event_raises(db: Connection) -> None:
    """Nothing is imported then."""
    with pytest.raises(psycopg.errors.NoDataFound, match="no event 'nowhere'"):
        imported(db, ["titanic"], "nowhere")
    assert db.execute("SELECT count(*) FROM kaggle.competitions").fetchone() == (0,)


def test_all_sessions_insert_in_one_order(db: Connection) -> None:
    """Whatever the order of the list: each session waits for a slug that another has inserted, and none in a ring."""
    assert [slug for slug, _ in imported(db, ["night", "Day", "titanic", "a"])] == ["night", "Day", "titanic", "a"]
    in_order = db.execute("SELECT kaggle_competition_id FROM kaggle.competitions ORDER BY id").fetchall()
    assert in_order == [("a",), ("Day",), ("night",), ("titanic",)]


def test_a_slug_that_is_the_place_of_a_rejected_one(db: Connection) -> None:
    """It is not there already."""
    assert imported(db, ["not a slug", "1"])[1] == ("1", "created")


def test_an_event_in_whatever_spelling(db: Connection) -> None:
    """Its slug is small; what the hint says makes one that is found."""
    with pytest.raises(psycopg.errors.NoDataFound, match="no event 'Night'") as unknown:
        imported(db, ["titanic"], "Night")
    hint = unknown.value.diag.message_hint
    assert hint is not None
    db.execute(hint.encode())
    assert imported(db, ["titanic"], "Night") == [("titanic", "created")]
    assert imported(db, ["titanic"], "NIGHT") == [("titanic", "already there")]


# People.

GIVE = "give the name in the URL of the profile"


def people(db: Connection, given: list[str | None], event: str | None = None) -> list[tuple[Any, ...]]:
    """Import them. Gives names and outcomes."""
    return db.execute(
        "SELECT kaggle_username, outcome FROM kaggle.import_participants(%s::text[], %s)", (given, event)
    ).fetchall()


def test_a_list_of_people_with_bad_lines(db: Connection) -> None:
    """Every line is told, none is fatal; other capitals are the same name, and who is excluded stays so."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    db.execute("INSERT INTO kaggle.participants VALUES ('Known'), ('juror')")
    db.execute("INSERT INTO kaggle.event_participants VALUES (1, 'juror', true)")
    assert people(
        db,
        ["\ufeffkaggle_username", "ann", "@Bo", "https://www.kaggle.com/cy", "ANN", "known", "Juror", "", None,
         "dee@example.org", "no name", "ann"],
        "NIGHT",
    ) == [
        ("\ufeffkaggle_username", "rejected: the header of a list"),
        ("ann", "created"),
        ("Bo", "created"),
        ("cy", "created"),
        ("ann", "already there"),
        ("Known", "registered"),
        ("juror", "already there"),
        ("", "rejected: nothing was given"),
        (None, "rejected: nothing was given"),
        ("dee@example.org", "rejected: 'dee@example.org' is an e-mail address: " + GIVE),
        ("no name", "rejected: not a Kaggle username: 'no name'"),
        ("ann", "already there"),
    ]  # fmt: skip
    registered = db.execute("SELECT kaggle_username, excluded FROM kaggle.event_participants ORDER BY 1").fetchall()
    assert registered == [("Bo", False), ("Known", False), ("ann", False), ("cy", False), ("juror", True)]
    assert people(db, ["ann", "username", "new"]) == [
        ("ann", "already there"),
        ("username", "created"),
        ("new", "created"),
    ]
    with pytest.raises(psycopg.errors.NoDataFound, match="no event 'day'"):
        people(db, ["ann"], "day")


@pytest.mark.parametrize("around", ["\ufeff{}", "{}\r", "\u00a0{} ", "\t{}\r\n"])
def test_names_are_trimmed_alike(db: Connection, around: str) -> None:
    """As lists of Windows programs have them: of competitions, of people, of events."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES (%s, 'Night')", (around.format("night"),))
    db.execute("INSERT INTO kaggle.participants (kaggle_username) VALUES (%s)", (around.format("gumby"),))
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)", (around.format("titanic"),))
    listed = [around.format("gumby"), around.format("ann")]
    assert db.execute(
        "SELECT kaggle_username, outcome FROM kaggle.import_participants(%s, %s)", (listed, around.format("night"))
    ).fetchall() == [("gumby", "registered"), ("ann", "created")]
    assert db.execute("SELECT slug FROM kaggle.events").fetchall() == [("night",)]


def test_each_row_of_an_insert_is_asked_for_with_its_own_reason(db: Connection) -> None:
    """One that has ended gets its last sync, one that goes on its first, whatever stands beside it."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, status) "
        "VALUES ('one', 'ongoing'), ('two', 'completed'), ('three', 'upcoming'), ('four', 'completed')"
    )
    asked = (
        "SELECT c.kaggle_competition_id, r.reason FROM kaggle_internal.sync_requests r "
        "JOIN kaggle.competitions c ON c.id = r.competition_id ORDER BY c.id"
    )
    assert db.execute(asked).fetchall() == [("one", "inserted"), ("two", "completed"), ("four", "completed")]
