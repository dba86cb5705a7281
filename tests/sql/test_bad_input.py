"""What a row of kaggle.competitions may hold: what is refused, with which words, and what is made of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg import errors

from tests.support.aliases import Connection

SLUG_RULE = "kaggle_competition_id_is_a_slug"
NOW = datetime.now(UTC)


def insert(db: Connection, **columns: Any) -> int:
    """Insert a competition that is not synced. Returns its id."""
    given = {"auto_sync": False} | columns
    row = db.execute(
        f"INSERT INTO kaggle.competitions ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))}) RETURNING id",
        list(given.values()),
    ).fetchone()
    assert row is not None
    found: int = row[0]
    return found


def stored(db: Connection, columns: str) -> list[tuple[Any, ...]]:
    """Columns of all competitions in the order of their ids."""
    return db.execute(f"SELECT {columns} FROM kaggle.competitions ORDER BY id").fetchall()


@contextmanager
def without_triggers(db: Connection) -> Iterator[None]:
    """As in a restore: only constraints stand."""
    db.execute("SET session_replication_role = replica")
    try:
        yield
    finally:
        db.execute("RESET session_replication_role")


BAD_SLUGS = {
    "a space": "tita nic",
    "an apostrophe": "titanic'",
    "quotes": '"titanic"',
    "SQL": "'; DROP TABLE kaggle.competitions; --",
    "10 kB": "x" * 10_240,
    "201 letters": "x" * 201,
    "only spaces": "  ",
    "a slash": "titanic/leaderboard",
    "dots": "../../etc/passwd",
    "a percent sign": "%s%d",
    "a hyphen first": "-titanic",
    "an umlaut": "titänic",
    "an emoji": "🏆",
    "another site": "https://example.com/competitions/titanic",
    "another site that names Kaggle": "https://example.com/kaggle.com/competitions/titanic",
    "a site that begins like Kaggle": "https://www.kaggle.com.example.com/competitions/titanic",
    "a site that ends like Kaggle": "https://notkaggle.com/competitions/titanic",
    "another scheme": "ftp://www.kaggle.com/competitions/titanic",
    "a script": "javascript:alert(1)",
    "a data set": "https://www.kaggle.com/datasets/titanic",
    "a user": "https://www.kaggle.com/somebody",
    "a URL without a slug": "https://www.kaggle.com/competitions/",
    "a URL with a bad slug": "https://www.kaggle.com/competitions/tita%20nic",
    "the list of competitions": "https://www.kaggle.com/competitions",
    "an invitation": "https://www.kaggle.com/t/0123456789abcdef",
    "an invitation without scheme": "kaggle.com/t/0123456789abcdef",
}


@pytest.mark.parametrize("given", BAD_SLUGS.values(), ids=BAD_SLUGS)
def test_what_is_no_slug_is_refused_with_a_hint(db: Connection, given: str) -> None:
    """On INSERT and on UPDATE; the message does not repeat ten kilobytes."""
    insert(db, kaggle_competition_id="titanic")
    for statement in (
        "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)",
        "UPDATE kaggle.competitions SET kaggle_competition_id = %s",
    ):
        with pytest.raises(errors.CheckViolation) as refused:
            db.execute(statement, (given,))
        told = refused.value.diag
        assert told.constraint_name == SLUG_RULE
        assert told.message_hint
        assert len(told.message_primary or "") < 200
    assert stored(db, "kaggle_competition_id") == [("titanic",)]


@pytest.mark.parametrize("call", ["sync_now", "wait_for_sync", "find_competition"])
@pytest.mark.parametrize("given", ["", "tita nic", "https://www.kaggle.com/t/0123"])
def test_functions_refuse_what_is_no_slug(db: Connection, call: str, given: str) -> None:
    """In the same words."""
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(f"SELECT kaggle.{call}(%s)", (given,))
    assert refused.value.diag.constraint_name == SLUG_RULE


def test_an_invitation_is_told_apart(db: Connection) -> None:
    """The hint says how to get from an invitation to the slug."""
    with pytest.raises(errors.CheckViolation, match="invitation") as refused:
        insert(db, kaggle_competition_id="https://www.kaggle.com/t/0123456789abcdef")
    assert "browser" in (refused.value.diag.message_hint or "")


@pytest.mark.parametrize(
    "given",
    [
        "MLSP2023-volunteers-01",
        "https://www.kaggle.com/competitions/MLSP2023-volunteers-01",
        "https://www.kaggle.com/competitions/MLSP2023-volunteers-01/",
        "https://www.kaggle.com/competitions/MLSP2023-volunteers-01/leaderboard",
        "https://www.kaggle.com/competitions/MLSP2023-volunteers-01/leaderboard?tab=public&x=/t/1#top",
        "https://www.kaggle.com/competitions/MLSP2023-volunteers-01?tab=public",
        "https://www.kaggle.com/competitions/MLSP2023-volunteers-01#description",
        "http://kaggle.com/competitions/MLSP2023-volunteers-01",
        "www.kaggle.com/competitions/MLSP2023-volunteers-01/overview",
        "kaggle.com/competitions/MLSP2023-volunteers-01",
        "https://www.kaggle.com/c/MLSP2023-volunteers-01",
        "kaggle.com/c/MLSP2023-volunteers-01/rules",
        "HTTPS://WWW.Kaggle.COM/C/MLSP2023-volunteers-01",
    ],
)
def test_a_url_is_stored_as_its_slug(db: Connection, given: str) -> None:
    """Any form of it, capitals kept; functions find the competition by it too."""
    competition_id = insert(db, kaggle_competition_id=given)
    assert stored(db, "kaggle_competition_id") == [("MLSP2023-volunteers-01",)]
    assert db.execute("SELECT kaggle.find_competition(%s)", (given.swapcase(),)).fetchone() == (competition_id,)
    db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'another'")
    db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (given,))
    assert stored(db, "kaggle_competition_id") == [("MLSP2023-volunteers-01",)]


@pytest.mark.parametrize(
    "slug", ["a", "3d", "x" * 200, "Stat380-2-Spring2020", "under_score", "c", "t", "competitions"]
)
def test_slugs_as_kaggle_has_them(db: Connection, slug: str) -> None:
    """They are stored as given."""
    insert(db, kaggle_competition_id=slug)
    assert stored(db, "kaggle_competition_id") == [(slug,)]


BAD_VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "sync_interval under a minute": ({"sync_interval": "59 s"}, "sync_interval_is_at_least_a_minute"),
    "sync_interval 0": ({"sync_interval": "0"}, "sync_interval_is_at_least_a_minute"),
    "sync_interval negative": ({"sync_interval": "-1 hour"}, "sync_interval_is_at_least_a_minute"),
    "sync_interval with months": ({"sync_interval": "1 mon -29 days"}, "sync_interval_has_no_months"),
    "sync_interval with years": ({"sync_interval": "1 year"}, "sync_interval_has_no_months"),
    "sync_interval too long": ({"sync_interval": "36526 days"}, "sync_interval_is_at_most_a_century"),
    "history_interval with months": ({"history_interval": "1 mon -29 days"}, "history_interval_has_no_months"),
    "history_interval too long": ({"history_interval": "36526 days"}, "history_interval_is_at_most_a_century"),
    "end before start": (
        {"start_date": NOW, "end_date": NOW - timedelta(seconds=1)},
        "competition_does_not_end_before_it_starts",
    ),
    "weight negative": ({"rating_weight": -1}, "rating_weight_is_not_negative"),
    "weight NaN": ({"rating_weight": Decimal("NaN")}, "rating_weight_is_not_negative"),
    "weight infinite": ({"rating_weight": Decimal("Infinity")}, "rating_weight_is_not_negative"),
    "weight minus infinity": ({"rating_weight": Decimal("-Infinity")}, "rating_weight_is_not_negative"),
    "points negative": ({"points_for_perfect_score": -1}, "points_for_perfect_score_is_not_negative"),
    "points NaN": ({"points_for_perfect_score": Decimal("NaN")}, "points_for_perfect_score_is_not_negative"),
    "points infinite": ({"points_for_perfect_score": Decimal("Infinity")}, "points_for_perfect_score_is_not_negative"),
    "status": ({"status": "started"}, "status_is_known"),
    "submissions negative": ({"max_submissions_per_day": -1}, "max_submissions_per_day_is_not_negative"),
    "history_interval negative": ({"history_interval": "-1 s"}, "history_interval_is_not_negative"),
    "min without max": ({"metric_min_value": 0}, "metric_values_come_together_and_ascend"),
    "max without min": ({"metric_max_value": 1}, "metric_values_come_together_and_ascend"),
    "min equals max": ({"metric_min_value": 1, "metric_max_value": 1}, "metric_values_come_together_and_ascend"),
    "min above max": ({"metric_min_value": 2, "metric_max_value": 1}, "metric_values_come_together_and_ascend"),
    "max NaN": (
        {"metric_min_value": 0, "metric_max_value": Decimal("NaN")},
        "metric_values_come_together_and_ascend",
    ),
    "max infinite": (
        {"metric_min_value": 0, "metric_max_value": Decimal("Infinity")},
        "metric_values_come_together_and_ascend",
    ),
    "min minus infinity": (
        {"metric_min_value": Decimal("-Infinity"), "metric_max_value": 1},
        "metric_values_come_together_and_ascend",
    ),
    "no title": ({"kaggle_competition_id": None}, "title_is_required_without_kaggle_competition_id"),
    "title empty": (
        {"kaggle_competition_id": None, "title": ""},
        "title_is_required_without_kaggle_competition_id",
    ),
    "event unknown": ({"event_id": 4711}, "competition_counts_in_an_existing_event"),
}


@pytest.mark.parametrize(("columns", "rule"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_bad_values_are_refused_by_name(db: Connection, columns: dict[str, Any], rule: str) -> None:
    """On INSERT and on UPDATE, with the constraint's name, and a hint."""
    with pytest.raises(errors.IntegrityError) as inserting:
        insert(db, **{"kaggle_competition_id": "titanic"} | columns)
    insert(db, kaggle_competition_id="titanic")
    assignments = ", ".join(f"{name} = %s" for name in columns)
    with pytest.raises(errors.IntegrityError) as updating:
        db.execute(f"UPDATE kaggle.competitions SET {assignments}", list(columns.values()))
    for refused in (inserting, updating):
        assert refused.value.diag.constraint_name == rule
        # A foreign key names the table that has no such row.
        assert bool(refused.value.diag.message_hint) == (rule != "competition_counts_in_an_existing_event")
    assert stored(db, "kaggle_competition_id, rating_weight") == [("titanic", 1)]


def test_the_constraints_alone_refuse_the_same(db: Connection) -> None:
    """Rows that come without triggers, as in a restore, meet the same rules under the same names."""
    rules = [each for each in BAD_VALUES.values() if each[1] != "competition_counts_in_an_existing_event"]
    rules += [({"kaggle_competition_id": slug}, SLUG_RULE) for slug in BAD_SLUGS.values()]
    rules += [({"kaggle_competition_id": given}, SLUG_RULE) for given in ("", "https://www.kaggle.com/c/titanic")]
    otherwise: list[tuple[dict[str, Any], str | None]] = []
    with without_triggers(db):
        for columns, rule in rules:
            refused_by = None
            try:
                with db.transaction(force_rollback=True):
                    insert(db, **{"kaggle_competition_id": "titanic", "status": "ongoing"} | columns)
            except errors.CheckViolation as refused:
                refused_by = refused.diag.constraint_name
            if refused_by != rule:
                otherwise.append((columns, refused_by))
    assert otherwise == []


def test_null_without_triggers_is_refused(db: Connection) -> None:
    """Where no trigger puts the default in, NULL does not pass."""
    for column in ("status", "rating_weight", "auto_sync", "sync_interval", "points_for_perfect_score", "created_at"):
        with without_triggers(db), pytest.raises(errors.NotNullViolation) as refused:
            insert(db, **{"kaggle_competition_id": "titanic", "status": "ongoing"} | {column: None})
        assert refused.value.diag.column_name == column


@pytest.mark.parametrize("again", ["titanic", "Titanic", "TITANIC", "https://www.kaggle.com/c/tiTanic/leaderboard"])
def test_a_competition_is_there_once(db: Connection, again: str) -> None:
    """Without regard to case, and as a URL."""
    insert(db, kaggle_competition_id="titanic")
    with pytest.raises(errors.UniqueViolation) as refused:
        insert(db, kaggle_competition_id=again)
    assert (refused.value.diag.constraint_name or "").startswith("kaggle_competition_id_is_unique")
    with without_triggers(db), pytest.raises(errors.UniqueViolation):
        insert(db, kaggle_competition_id="TitaniC", status="ongoing")


@pytest.mark.parametrize(
    "given", [" titanic", "titanic\r", "\ufefftitanic\n", "\thttps://www.kaggle.com/c/titanic\r\n"]
)
def test_what_lists_have_around_a_slug_is_left_out(db: Connection, given: str) -> None:
    """White space, line ends of Windows, a byte-order mark: in a row, in a list, where a competition is looked for."""
    insert(db, kaggle_competition_id=given)
    assert stored(db, "kaggle_competition_id") == [("titanic",)]
    imported = db.execute("SELECT kaggle_competition_id, outcome FROM kaggle.import_competitions(%s)", ([given],))
    assert imported.fetchall() == [("titanic", "already there")]
    assert db.execute("SELECT kaggle.find_competition(%s)", (given,)).fetchone() is not None


def test_an_orm_that_sends_an_empty_text_for_every_column(db: Connection) -> None:
    """filled_by_kaggle is text: '' is nothing, and takes nothing from what follows Kaggle."""
    insert(db, kaggle_competition_id="titanic", filled_by_kaggle="")
    db.execute("UPDATE kaggle.competitions SET filled_by_kaggle = 'title'")
    assert stored(db, "filled_by_kaggle") == [("",)]


@pytest.mark.parametrize("given", ["titanic", "https://www.kaggle.com/competitions/titanic?tab=public"])
def test_on_conflict_works(db: Connection, given: str) -> None:
    """DO NOTHING and DO UPDATE on the column, with the slug and with a URL."""
    insert(db, kaggle_competition_id="titanic", title="First")
    statement = "INSERT INTO kaggle.competitions (kaggle_competition_id, title) VALUES (%s, 'Second') ON CONFLICT "
    db.execute(statement + "(kaggle_competition_id) DO NOTHING", (given,))
    assert stored(db, "kaggle_competition_id, title") == [("titanic", "First")]
    db.execute(statement + "(kaggle_competition_id) DO UPDATE SET title = excluded.title", (given,))
    assert stored(db, "kaggle_competition_id, title, auto_sync") == [("titanic", "Second", False)]


def test_on_conflict_without_a_column_knows_no_case(db: Connection) -> None:
    """ON CONFLICT DO NOTHING covers another case too."""
    insert(db, kaggle_competition_id="titanic")
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('Titanic') ON CONFLICT DO NOTHING")
    assert stored(db, "kaggle_competition_id") == [("titanic",)]


def test_several_competitions_without_a_kaggle_id(db: Connection) -> None:
    """A title is enough, and need not be unique."""
    for _ in range(2):
        insert(db, title="Not there yet")
    assert stored(db, "kaggle_competition_id, title") == [(None, "Not there yet")] * 2


DEFAULTS: dict[str, Any] = {
    "rating_weight": Decimal(1),
    "is_featured": False,
    "auto_sync": True,
    "sync_interval": timedelta(minutes=5),
    "points_for_perfect_score": Decimal(100),
    "status": "ongoing",
    "filled_by_kaggle": "",
}
OPTIONAL = (
    "event_id, description, start_date, end_date, max_submissions_per_day, history_interval, higher_is_better, "
    "metric_min_value, metric_max_value, evaluation_metric"
)


def test_null_is_the_default_on_insert(db: Connection) -> None:
    """ORMs send every column."""
    every = [
        name
        for (name,) in db.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'kaggle.competitions'::regclass AND attnum > 0 "
            "AND NOT attisdropped AND attname NOT IN ('id', 'kaggle_competition_id')"
        )
    ]
    insert(db, **{"kaggle_competition_id": "titanic"} | dict.fromkeys(every))
    assert stored(db, ", ".join(DEFAULTS)) == [tuple(DEFAULTS.values())]
    assert stored(db, OPTIONAL) == [(None,) * 10]
    assert stored(db, "created_at IS NOT NULL AND updated_at IS NOT NULL AND link_revision > 0") == [(True,)]


def test_a_null_id_is_the_next_one(db: Connection) -> None:
    """id has a default as well."""
    first = insert(db, kaggle_competition_id="titanic")
    assert insert(db, id=None, kaggle_competition_id="another") > first


def test_null_is_the_default_on_update(db: Connection) -> None:
    """A column that is set to NULL goes back to its default; the moment of creation stays a moment."""
    insert(
        db,
        kaggle_competition_id="titanic",
        rating_weight=3,
        is_featured=True,
        sync_interval="1 hour",
        points_for_perfect_score=7,
        status="completed",
    )
    for column in (*DEFAULTS, "created_at", "updated_at"):
        db.execute(f"UPDATE kaggle.competitions SET {column} = NULL")
    assert stored(db, ", ".join(DEFAULTS)) == [tuple(DEFAULTS.values())]
    assert stored(db, "created_at IS NOT NULL AND updated_at IS NOT NULL") == [(True,)]


def test_an_empty_string_is_the_default(db: Connection) -> None:
    """For text: the Kaggle id, the status and the title; forms send '' for what was left out."""
    insert(db, kaggle_competition_id="", title="Only a title", status="")
    insert(db, kaggle_competition_id="titanic", title="", status="")
    insert(db, kaggle_competition_id="another", start_date=NOW + timedelta(days=1), status="")
    expected = [
        (None, "Only a title", "ongoing"),
        ("titanic", None, "ongoing"),
        ("another", None, "upcoming"),
    ]
    assert stored(db, "kaggle_competition_id, title, status") == expected
    db.execute("UPDATE kaggle.competitions SET status = 'completed'")
    db.execute("UPDATE kaggle.competitions SET status = ''")
    assert stored(db, "kaggle_competition_id, title, status") == expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, "ongoing"),
        (-1, None, "ongoing"),
        (-1, 1, "ongoing"),
        (None, 1, "ongoing"),
        (1, None, "upcoming"),
        (1, 2, "upcoming"),
        (None, -1, "completed"),
        (-2, -1, "completed"),
    ],
)
def test_the_status_defaults_by_the_dates(db: Connection, start: int | None, end: int | None, expected: str) -> None:
    """A status that is given counts more than the dates."""
    start_date = start and NOW + timedelta(days=start)
    end_date = end and NOW + timedelta(days=end)
    insert(db, kaggle_competition_id="by-dates", start_date=start_date, end_date=end_date)
    for status in ("upcoming", "ongoing", "completed"):
        insert(db, kaggle_competition_id=status, start_date=start_date, end_date=end_date, status=status)
    assert stored(db, "status") == [(expected,), ("upcoming",), ("ongoing",), ("completed",)]


def test_the_id_cannot_change(db: Connection) -> None:
    """The hint says what to do instead; setting it to what it is does no harm."""
    competition_id = insert(db, kaggle_competition_id="titanic")
    with pytest.raises(errors.IntegrityConstraintViolation, match="cannot change") as refused:
        db.execute("UPDATE kaggle.competitions SET id = id + 1")
    assert refused.value.diag.message_hint
    db.execute("UPDATE kaggle.competitions SET id = id, title = 'As an ORM writes it'")
    assert stored(db, "id, title") == [(competition_id, "As an ORM writes it")]


def test_one_bad_row_refuses_the_statement(db: Connection) -> None:
    """Nothing of a statement with a bad row stays: no row, no request, no job."""
    with pytest.raises(errors.CheckViolation), db.transaction():
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic'), ('tita nic')")
    assert stored(db, "id") == []
    assert db.execute("SELECT count(*) FROM kaggle_internal.sync_requests").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM procrastinate.procrastinate_jobs").fetchone() == (0,)


EVENTS: dict[str, tuple[dict[str, Any], str]] = {
    "capitals": ({"slug": "Night"}, "event_slug_is_lower_case_words_joined_by_hyphens"),
    "empty slug": ({"slug": ""}, "event_slug_is_lower_case_words_joined_by_hyphens"),
    "spaces": ({"slug": "neural night"}, "event_slug_is_lower_case_words_joined_by_hyphens"),
    "status": ({"slug": "night", "status": "over"}, "event_status_is_known"),
    "places": (
        {"slug": "night", "points_by_place": "{3,-1}"},
        "points_by_place_are_a_list_of_numbers_that_are_not_negative",
    ),
    "dates": (
        {"slug": "night", "start_date": NOW, "end_date": NOW - timedelta(days=1)},
        "event_does_not_end_before_it_starts",
    ),
}


@pytest.mark.parametrize(("columns", "rule"), EVENTS.values(), ids=EVENTS)
def test_bad_events_are_refused_by_name(db: Connection, columns: dict[str, Any], rule: str) -> None:
    """With triggers and without."""
    given = {"title": "Night", "status": "ongoing"} | columns
    statement = f"INSERT INTO kaggle.events ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))})"
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(statement, list(given.values()))
    assert refused.value.diag.constraint_name == rule
    assert refused.value.diag.message_hint
    with without_triggers(db), pytest.raises(errors.CheckViolation) as refused:
        db.execute(statement, list(given.values()))
    assert refused.value.diag.constraint_name == rule


def test_null_is_the_default_for_events(db: Connection) -> None:
    """On INSERT and on UPDATE."""
    defaults = "status, is_featured, only_since_start, created_at IS NOT NULL, updated_at IS NOT NULL"
    db.execute(
        "INSERT INTO kaggle.events (slug, title, status, is_featured, only_since_start, created_at, updated_at) "
        "VALUES ('night', 'Night', '', NULL, NULL, NULL, NULL)"
    )
    expected = [("ongoing", False, False, True, True)]
    assert db.execute(f"SELECT {defaults} FROM kaggle.events").fetchall() == expected
    db.execute(
        "UPDATE kaggle.events SET status = NULL, is_featured = NULL, only_since_start = NULL, created_at = NULL, "
        "updated_at = NULL"
    )
    assert db.execute(f"SELECT {defaults} FROM kaggle.events").fetchall() == expected


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"rating_weight": -1}, "counted_rating_weight_is_not_negative"),
        ({"rating_weight": Decimal("NaN")}, "counted_rating_weight_is_not_negative"),
        ({"points_for_perfect_score": -1}, "counted_points_for_perfect_score_is_not_negative"),
        ({"metric_min_value": 1}, "counted_metric_values_come_together_and_ascend"),
        ({"metric_min_value": 1, "metric_max_value": 1}, "counted_metric_values_come_together_and_ascend"),
    ],
)
def test_bad_values_of_what_counts_in_an_event(db: Connection, columns: dict[str, Any], rule: str) -> None:
    """By name, with a hint; without triggers by the constraint."""
    db.execute("INSERT INTO kaggle.events (id, slug, title) VALUES (1, 'night', 'Night')")
    insert(db, kaggle_competition_id="titanic", event_id=1)
    change = f"UPDATE kaggle.event_competitions SET {', '.join(f'{name} = %s' for name in columns)}"
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(change, list(columns.values()))
    assert refused.value.diag.constraint_name == rule
    assert refused.value.diag.message_hint
    with without_triggers(db), pytest.raises(errors.CheckViolation) as refused:
        db.execute(change, list(columns.values()))
    assert refused.value.diag.constraint_name == rule


@pytest.mark.parametrize(
    ("statement", "rule", "told"),
    [
        ("INSERT INTO kaggle.events (title) VALUES ('Night')",
         "event_slug_is_lower_case_words_joined_by_hyphens", "slug is NULL"),
        ("INSERT INTO kaggle.events (slug) VALUES ('night')", "event_has_a_title", "title is missing"),
        ("INSERT INTO kaggle.event_competitions SELECT (SELECT id FROM kaggle.events WHERE slug = 'nihgt'), 1",
         "counted_in_an_existing_event", "event_id is missing"),
        ("INSERT INTO kaggle.event_competitions SELECT 1, NULL",
         "counts_an_existing_competition", "competition_id is missing"),
        ("INSERT INTO kaggle.event_participants SELECT (SELECT id FROM kaggle.events WHERE slug = 'nihgt'), 'ann'",
         "registered_for_an_existing_event", "event_id is missing"),
    ],
)  # fmt: skip
def test_what_is_missing_is_told_with_a_hint(db: Connection, statement: str, rule: str, told: str) -> None:
    """What must be given, and was not; such as the id of an event that a misspelt slug does not find."""
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(statement)
    assert (refused.value.diag.constraint_name, refused.value.diag.message_primary) == (rule, told)
    assert refused.value.diag.message_hint
    with without_triggers(db), pytest.raises((errors.NotNullViolation, errors.CheckViolation)):
        db.execute(statement)
