"""Kaggle's points, what participants earned with them, and the standing of a season."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.support.aliases import Connection
from tests.support.boards import Entry, zip_of
from tests.support.syncs import Syncs

Compete = Callable[..., Syncs]
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = (START, START + timedelta(days=365))


def team(team_id: int, score: str | None, *members: str, day: int = 0) -> Entry:
    """An entry with what counts for points and ratings."""
    at = START + timedelta(days=day)
    return Entry(team_id, f"team {team_id}", Decimal(score) if score else None, 1, at, members)


def points(db: Connection, columns: str, *, of: str = "%") -> list[tuple[Any, ...]]:
    """Rows of kaggle.participant_points, by competition and person."""
    return db.execute(
        f"SELECT {columns} FROM kaggle.participant_points WHERE kaggle_username LIKE %s "
        "ORDER BY kaggle_competition_id, kaggle_username",
        (of,),
    ).fetchall()


def season(
    db: Connection, since: datetime | None = YEAR[0], until: datetime | None = YEAR[1], best: int | None = None
) -> list[tuple[Any, ...]]:
    """Place, name, rounded points and competitions."""
    return db.execute(
        "SELECT place, kaggle_username, round(points::numeric), competitions FROM kaggle.season_standings(%s, %s, %s)",
        (since, until, best),
    ).fetchall()


def ended(day: int) -> dict[str, Any]:
    """Columns of a competition that ended on that day of the year."""
    return {"start_date": START - timedelta(days=99), "end_date": START + timedelta(days=day)}


@pytest.mark.parametrize(
    ("rank", "teams", "members", "age", "expected"),
    [
        (1, 1000, 1, "0", "60205.999133"),
        (1, 1000, 5, "0", "26924.941343"),
        (2, 1000, 1, "0", "35798.701267"),
        (10, 100, 3, "0", "4898.556669"),
        (50, 5000, 2, "365 days", "1217.849235"),
        (1, 1, 1, "0", "0.000000"),
        (1, 1000, 1, "-3 days", "60205.999133"),  # the end lies ahead: nothing decays
        (1, 1000, 1, "9999 years", "0.000000"),
        (0, 10, 1, "0", None),
        (11, 10, 1, "0", None),
        (1, 0, 1, "0", None),
        (1, 10, 0, "0", None),
        (None, 10, 1, "0", None),
        (1, 10, 1, None, None),
    ],
)
def test_the_formula(db: Connection, rank: int, teams: int, members: int, age: str, expected: str | None) -> None:
    """Kaggle's vectors to six decimals; nothing for a rank that is none."""
    query = "SELECT round(kaggle.points(%s, %s, %s, age => %s::interval)::numeric, 6)::text"
    assert db.execute(query, (rank, teams, members, age)).fetchone() == (expected,)


def test_the_age_is_none_unless_it_is_given(db: Connection) -> None:
    """Three arguments are enough, and each has its name."""
    query = "SELECT kaggle.points(rank => 1, teams => 1000, members => 1) = kaggle.points(1, 1000, 1, '0')"
    assert db.execute(query).fetchone() == (True,)


def test_what_a_participant_earned(db: Connection, compete: Compete) -> None:
    """Rank and teams of the whole board, the private one once it is there, all the team's members, times the weight."""
    db.execute("INSERT INTO kaggle.participants VALUES ('ann'), ('bo')")
    syncs = compete("a", rating_weight=2, **ended(9))
    board = [team(1, "9", "x"), team(2, "8", "Ann", "bo", "y"), team(3, "7", "z"), Entry(4, "base", is_benchmark=True)]
    syncs.sync(zip_of(board))
    columns = "kaggle_username, rank, teams, members, weight::int, ended_at"
    of_both = [(name, 2, 3, 3, 2, START + timedelta(days=9)) for name in ("ann", "bo")]
    assert points(db, columns) == of_both
    assert points(db, "points = 2 * kaggle.points(2, 3, 3)") == [(True,), (True,)]
    syncs.sync(zip_of([*board[2:], *board[:2]], kind="private"))
    assert points(db, "kaggle_username, rank, team_id") == [("ann", 3, 2), ("bo", 3, 2)]


def test_which_competitions_count(db: Connection, compete: Compete) -> None:
    """A completed one with a board; where it has no end_date, it ended when it was completed."""
    db.execute("INSERT INTO kaggle.participants VALUES ('ann')")
    compete("no-board", **ended(9))
    goes_on = compete("goes-on")
    goes_on.sync(zip_of([team(1, "1", "ann")]))
    assert points(db, "*") == []

    ((before,),) = db.execute("SELECT clock_timestamp()").fetchall()
    db.execute("UPDATE kaggle.competitions SET status = 'completed' WHERE kaggle_competition_id = 'goes-on'")
    ((at,),) = points(db, "ended_at")
    assert db.execute("SELECT %s BETWEEN %s AND clock_timestamp()", (at, before)).fetchone() == (True,)
    goes_on.sync(zip_of([team(1, "2", "ann")]))
    db.execute("UPDATE kaggle.competitions SET title = 'Another', end_date = 'infinity', status = 'completed'")
    assert points(db, "ended_at") == [(at,)]  # nothing moves it
    db.execute("UPDATE kaggle.competitions SET end_date = %s", (START,))
    assert points(db, "ended_at") == [(START,)]
    db.execute("UPDATE kaggle.competitions SET end_date = NULL, status = 'ongoing'")
    assert points(db, "*") == []


def test_when_a_competition_was_completed(db: Connection, compete: Compete) -> None:
    """It is noted when the status becomes completed, forgotten when it goes on, and may be given."""

    def completed_at() -> Any:
        return db.execute("SELECT completed_at FROM kaggle.competitions").fetchone()

    compete("a")
    assert completed_at() == (None,)
    db.execute("UPDATE kaggle.competitions SET status = 'completed', completed_at = %s", (START,))
    assert completed_at() == (START,)
    db.execute("UPDATE kaggle.competitions SET completed_at = NULL, title = 'A'")  # as ORMs write it
    assert completed_at() == (START,)
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('a') "
        "ON CONFLICT (kaggle_competition_id) DO UPDATE "
        "SET completed_at = excluded.completed_at, status = excluded.status"
    )
    assert completed_at() == (None,)  # by the dates it goes on


def test_who_has_no_points(db: Connection, compete: Compete) -> None:
    """Who is not on the board, or in a team without a score; a benchmark's member."""
    db.execute("INSERT INTO kaggle.participants VALUES ('ann'), ('bo'), ('host')")
    board = [Entry(9, "base", members=("host",), is_benchmark=True), team(1, "1", "x"), team(2, None, "bo")]
    compete("a", **ended(9)).sync(zip_of(board))
    assert points(db, "*") == []
    assert season(db) == []


def test_a_participant_alone_and_a_weight_of_zero_earn_nothing(db: Connection, compete: Compete) -> None:
    """Both have entered all the same."""
    db.execute("INSERT INTO kaggle.participants VALUES ('ann')")
    compete("alone", **ended(9)).sync(zip_of([team(1, "1", "ann")]))
    compete("unweighted", rating_weight=0, **ended(9)).sync(zip_of([team(1, "2", "ann"), team(2, "1")]))
    assert points(db, "kaggle_competition_id, points") == [("alone", 0), ("unweighted", 0)]
    assert season(db) == [(1, "ann", 0, 2)]


def test_an_exclusion_from_an_event_does_not_act(db: Connection, compete: Compete) -> None:
    """It is the event's matter: the team keeps its rank, and the excluded member the points."""
    db.execute("INSERT INTO kaggle.events (id, slug, title) VALUES (1, 'night', 'Night')")
    compete("a", event_id=1, **ended(9)).sync(zip_of([team(1, "2", "ann", "bo"), team(2, "1", "cy")]))
    db.execute("INSERT INTO kaggle.event_participants VALUES (1, 'ann', true), (1, 'bo', false)")
    assert points(db, "kaggle_username, rank, members") == [("ann", 1, 2), ("bo", 1, 2)]
    assert [row[1] for row in season(db)] == ["ann", "bo"]


def test_equal_scores_keep_the_ranks_that_kaggle_gave_them(db: Connection, compete: Compete) -> None:
    """From first to last, as medals do: nobody has the same place."""
    db.execute("INSERT INTO kaggle.participants VALUES ('ann'), ('bo'), ('cy')")
    compete("a", **ended(9)).sync(zip_of([team(3, "1", "cy"), team(1, "1", "ann"), team(2, "1", "bo")]))
    assert points(db, "kaggle_username, rank") == [("ann", 2), ("bo", 3), ("cy", 1)]
    assert [row[:2] for row in season(db)] == [(1, "cy"), (2, "ann"), (3, "bo")]


def test_a_person_in_two_teams_has_the_better_ones_points(db: Connection, compete: Compete) -> None:
    """One row, one competition entered."""
    db.execute("INSERT INTO kaggle.participants VALUES ('ann')")
    compete("a", **ended(9)).sync(zip_of([team(1, "3", "x"), team(2, "2", "ann", "y"), team(3, "1", "ANN")]))
    assert points(db, "team_id, rank, members") == [(2, 2, 2)]
    assert [row[3] for row in season(db)] == [1]


def test_a_season_counts_what_ended_in_it(db: Connection, compete: Compete) -> None:
    """From since on, until just before until; null is no bound."""
    db.execute("INSERT INTO kaggle.participants VALUES ('ann', 'Ann B.')")
    for day in (0, 10, 20):
        compete(f"day-{day}", **ended(day)).sync(zip_of([team(1, "2", "ann"), team(2, "1", "x")]))
    each = round(100000 * 0.11426, -1)

    def entered(since: int | None, until: int | None) -> int:
        told = season(db, *(None if day is None else START + timedelta(days=day) for day in (since, until)))
        return told[0][3] if told else 0

    assert [entered(0, 20), entered(10, 20), entered(11, 20), entered(20, 0)] == [2, 1, 0, 0]
    assert [entered(None, 11), entered(10, None), entered(None, None)] == [2, 2, 3]
    ((_, _, total, _),) = season(db)
    assert float(total) == pytest.approx(3 * each, rel=0.01)
    named = db.execute("SELECT display_name FROM kaggle.season_standings(since => NULL, until => NULL)").fetchall()
    assert named == [("Ann B.",)]


def test_the_best_of_each_person_count(db: Connection, compete: Compete) -> None:
    """The best N of each person; competitions tells how many were entered all the same. Less than one raises."""
    db.execute("INSERT INTO kaggle.participants VALUES ('ann'), ('bo')")
    for day, order in enumerate((("ann", "bo", "cy"), ("bo", "cy", "ann"), ("bo", "ann", "cy"))):
        board = [team(n, str(9 - n), name) for n, name in enumerate(order)]
        compete(f"day-{day}", **ended(day)).sync(zip_of(board))
    full = {name: float(total) for _, name, total, _ in season(db)}
    best = {name: float(total) for _, name, total, _ in season(db, best=2)}
    assert full["bo"] > full["ann"] > best["ann"]
    first = db.execute("SELECT kaggle.points(1, 3, 1), kaggle.points(2, 3, 1)").fetchone()
    assert first is not None
    assert best == pytest.approx({"bo": 2 * first[0], "ann": sum(first)}, abs=1)
    assert season(db, best=1) == [(1, "ann", round(first[0]), 3), (1, "bo", round(first[0]), 3)]
    for wrong in (0, -1):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"best is {wrong}"):
            season(db, best=wrong)


def test_the_order_of_a_season_at_equal_points(db: Connection, compete: Compete) -> None:
    """More competitions, then the earlier last submission, as in an event; who is equal in all shares the place."""
    db.execute("INSERT INTO kaggle.participants VALUES ('ann'), ('bo'), ('cy'), ('dee'), ('eve')")
    compete("a", **ended(1)).sync(zip_of([team(1, "2", "ann", day=1), team(2, "1", "x")]))
    compete("b", **ended(2)).sync(zip_of([team(1, "2", "bo", day=2), team(2, "1", "x")]))
    compete("c", **ended(3)).sync(zip_of([team(1, "2", "cy", day=2), team(2, "1", "x")]))
    compete("d", **ended(4)).sync(zip_of([team(1, "2", "dee", day=9), team(2, "1", "x")]))
    compete("e", **ended(5)).sync(zip_of([team(1, "2", "dee", day=9)]))  # alone: no points
    assert [row[:2] for row in season(db)] == [(1, "dee"), (2, "ann"), (3, "bo"), (3, "cy")]
