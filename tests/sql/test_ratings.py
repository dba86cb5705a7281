"""Ratings: the rules by vectors and examples, against a naive model for any competitions, and who may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import fmean
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgleaderboard.archives import files as board_files
from pgleaderboard.archives.backfill import ArchiveStore
from pgleaderboard.archives.files import Overrides
from pgleaderboard.sync.board import name_of
from tests.sql.test_points import START, Compete, ended, team
from tests.support.aliases import Connection
from tests.support.boards import Entry, csv_of, zip_of
from tests.support.syncs import LIMIT, Syncs

PEOPLE = ("ann", "bo", "cy", "dee", "eve", "flo")


@pytest.fixture
def people(db: Connection) -> tuple[str, ...]:
    """Six who are registered."""
    db.execute("INSERT INTO kaggle.participants SELECT unnest(%s::text[])", (list(PEOPLE),))
    return PEOPLE


def ratings(db: Connection, **given: Any) -> list[tuple[Any, ...]]:
    """Place, name, rating and competitions."""
    named = ", ".join(f"{name} => %s" for name in given)
    return db.execute(
        f"SELECT place, kaggle_username, rating, competitions FROM kaggle.ratings({named})", list(given.values())
    ).fetchall()


def history(db: Connection, name: str, columns: str = "kaggle_competition_id, change") -> list[tuple[Any, ...]]:
    """The steps of one person."""
    return db.execute(f"SELECT {columns} FROM kaggle.rating_history(%s)", (name,)).fetchall()


def play(compete: Compete, day: int, *order: str | tuple[str, ...], **columns: Any) -> Syncs:
    """A competition that ended on a day, with a board in that order; those of a tuple are one team."""
    teams = [(entry,) if isinstance(entry, str) else entry for entry in order]
    syncs = compete(f"day-{day}", **(ended(day) | columns))
    syncs.sync(zip_of([team(n, str(99 - n), *members) for n, members in enumerate(teams, 1)]))
    return syncs


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1200, 1000], [1207.68809835, 992.31190165]),
        ([900, 1000], [920.48207999, 979.51792001]),
        ([1200, 900, 1000], [1208.34629612, 910.43382278, 981.21988111]),
    ],
)
def test_the_vectors(db: Connection, before: list[float], after: list[float]) -> None:
    """Ratings in the order of places, and what the step of one competition with k 32 makes of them."""
    expected = db.execute("SELECT kaggle_internal.expected_places(%s::float8[])", (before,)).fetchone()
    assert expected is not None
    changed = [
        rating + 2 * 32 / len(before) * (place_expected - place)
        for place, (rating, place_expected) in enumerate(zip(before, expected[0], strict=True), 1)
    ]
    assert changed == pytest.approx(after, abs=1e-8)


def test_a_first_competition(db: Connection, compete: Compete, people: tuple[str, ...]) -> None:
    """Equals expect the middle: the first of three gains what the last one loses; strangers do not play."""
    play(compete, 1, "stranger", "bo", "another", "ann", "cy")
    assert ratings(db) == [(1, "bo", pytest.approx(1500 + 64 / 3), 1), (2, "ann", 1500, 1),
                           (3, "cy", pytest.approx(1500 - 64 / 3), 1)]  # fmt: skip
    columns = "kaggle_competition_id, ended_at, place, teams, expected_place, rating_before, change, rating"
    change = pytest.approx(64 / 3)
    assert history(db, "BO", columns) == [
        ("day-1", START + timedelta(days=1), 1, 3, 2, 1500, change, pytest.approx(1500 + 64 / 3))
    ]
    assert history(db, "stranger") == history(db, "nobody") == []


def test_the_order_is_that_of_the_ends(db: Connection, compete: Compete, people: tuple[str, ...]) -> None:
    """Not of the insertions; at one end the lower id comes first. A rating at a moment ends with what ended by it."""
    play(compete, 3, "bo", "ann")
    play(compete, 1, "ann", "bo")
    play(compete, 2, "ann", "bo", end_date=START + timedelta(days=3))
    assert [slug for slug, _ in history(db, "ann")] == ["day-1", "day-3", "day-2"]
    for day, steps in ((0, 0), (1, 1), (2, 1), (3, 3)):
        told = ratings(db, at=START + timedelta(days=day))
        assert [row[3] for row in told] == ([steps] * 2 if steps else [])
    first = ratings(db, at=START + timedelta(days=1))
    assert [row[:3] for row in first] == [(1, "ann", 1516), (2, "bo", 1484)]


def test_the_named_arguments(db: Connection, compete: Compete, people: tuple[str, ...]) -> None:
    """Faster with a greater k, from another start; null is the default."""
    play(compete, 1, "ann", "bo")
    assert [row[2] for row in ratings(db, k=16, start=1000)] == [1008, 992]
    assert ratings(db, at=None, k=None, start=None) == ratings(db)
    steps = db.execute("SELECT rating FROM kaggle.rating_history('ann', k => 16, start => 1000)").fetchall()
    assert steps == [(1008,)]


@pytest.mark.parametrize(
    "given", [{"k": "-1"}, {"k": "NaN"}, {"k": "Infinity"}, {"start": "NaN"}, {"start": "-Infinity"}, {"k": "1e9"}]
)
def test_numbers_that_give_no_rating(db: Connection, given: dict[str, str]) -> None:
    """Each is refused by name, also while nobody is registered."""
    ((name, number),) = given.items()
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"{name} is "):
        ratings(db, **{name: Decimal(number)})
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        db.execute(f"SELECT FROM kaggle.rating_history('ann', {name} => %s)", (Decimal(number),))


def test_the_weight_counts_up_to_four(db: Connection, compete: Compete, people: tuple[str, ...]) -> None:
    """One of zero is a step that changes nothing."""
    for day, weight in enumerate(("0", "0.5", "4", "9")):
        play(compete, day, f"p{day}", f"q{day}", rating_weight=weight)
        db.execute("INSERT INTO kaggle.participants VALUES (%s), (%s)", (f"p{day}", f"q{day}"))
    assert [history(db, f"p{day}") for day in range(4)] == [
        [("day-0", 0)], [("day-1", 8)], [("day-2", 64)], [("day-3", 64)],
    ]  # fmt: skip


def test_a_team_is_the_mean_of_its_registered_members(
    db: Connection, compete: Compete, people: tuple[str, ...]
) -> None:
    """Each of them gets its change; a stranger in it has no rating and does not count."""
    play(compete, 1, "ann", "bo")  # 1516 and 1484
    play(compete, 2, "cy", ("ann", "bo", "stranger"))
    assert history(db, "cy") == [("day-2", 16)]
    assert history(db, "ann") == [("day-1", 16), ("day-2", -16)]
    assert history(db, "bo", "rating") == [(1484,), (1468,)]


def test_one_participant_alone_is_a_step_of_zero(db: Connection, compete: Compete, people: tuple[str, ...]) -> None:
    """Among strangers nobody is met."""
    play(compete, 1, "stranger", "ann")
    assert history(db, "ann", "place, teams, expected_place, change, rating") == [(1, 1, 1, 0, 1500)]


def test_ties_from_first_to_last_change_nothing_among_equals(
    db: Connection, compete: Compete, people: tuple[str, ...]
) -> None:
    """All have the mean place; who was rated higher loses to who was rated lower."""
    compete("a", **ended(1)).sync(zip_of([team(n, "1", name) for n, name in enumerate(("ann", "bo", "cy"))]))
    assert [row[:3] for row in ratings(db)] == [(1, "ann", 1500), (1, "bo", 1500), (1, "cy", 1500)]
    assert history(db, "cy", "place, expected_place") == [(2, 2)]
    play(compete, 2, "ann", "bo")
    compete("c", **ended(3)).sync(zip_of([team(1, "0.50", "ann"), team(2, "0.5", "bo"), team(3, "0.1", "x")]))
    assert history(db, "ann", "place")[-1] == (1.5,)
    assert history(db, "ann")[-1][1] < 0 < history(db, "bo")[-1][1]


def test_a_person_in_two_teams_plays_in_the_better_one(
    db: Connection, compete: Compete, people: tuple[str, ...]
) -> None:
    """The other team is rated by the rest of its members, and is not there without one."""
    play(compete, 1, ("ann", "x"), "bo", ("ann", "cy"), "ANN")
    assert history(db, "ann", "place, teams") == [(1, 3)]
    assert history(db, "cy", "place, teams, expected_place") == [(3, 3, 2)]


def test_an_exclusion_from_an_event_does_not_act(db: Connection, compete: Compete) -> None:
    """A team with an excluded member plays, and the member gets the change."""
    db.execute("INSERT INTO kaggle.events (id, slug, title) VALUES (1, 'night', 'Night')")
    db.execute("INSERT INTO kaggle.event_participants VALUES (1, 'ann', true), (1, 'bo', false), (1, 'cy', false)")
    play(compete, 1, ("ann", "bo"), "cy", event_id=1)
    assert [row[1:3] for row in ratings(db)] == [("ann", 1516), ("bo", 1516), ("cy", 1484)]


def test_what_is_no_step(db: Connection, compete: Compete, people: tuple[str, ...]) -> None:
    """A competition that goes on, one without a board; a team without a score, a benchmark."""
    play(compete, 1, "ann", "bo", end_date=None)
    compete("no-board", **ended(2))
    board = [Entry(9, "base", members=("flo",), is_benchmark=True), team(1, "2", "ann"), team(2, None, "bo")]
    compete("c", **ended(3)).sync(zip_of(board))
    assert [row[1:] for row in ratings(db)] == [("ann", 1500, 1)]
    assert history(db, "bo") == history(db, "flo") == []


def test_the_private_board_counts_once_it_is_there(db: Connection, compete: Compete, people: tuple[str, ...]) -> None:
    """It replays the past."""
    syncs = play(compete, 1, "ann", "bo")
    assert history(db, "ann") == [("day-1", 16)]
    syncs.sync(zip_of([team(2, "9", "bo"), team(1, "8", "ann")], kind="private"))
    assert history(db, "ann") == [("day-1", -16)]


def test_registering_somebody_later_changes_past_ratings(db: Connection, compete: Compete) -> None:
    """Who was a stranger was met all the same."""
    db.execute("INSERT INTO kaggle.participants VALUES ('ann'), ('bo')")
    play(compete, 1, "late", "ann", "bo")
    assert history(db, "ann", "place, teams, change") == [(1, 2, 16)]
    db.execute("INSERT INTO kaggle.participants VALUES ('late')")
    assert history(db, "ann", "place, teams, change") == [(2, 3, 0)]


def test_far_apart(db: Connection) -> None:
    """Beyond what a double can hold as a power, the outcome is certain."""
    query = "SELECT kaggle_internal.expected_places('{1e6, 0, -1e6}')"
    ((expected,),) = db.execute(query).fetchall()
    assert expected == pytest.approx([1, 2, 3])


def test_readers_may_ask_where_nothing_can_be_written(
    db: Connection, compete: Compete, people: tuple[str, ...]
) -> None:
    """As on a hot standby: no temporary table, no write; as a reader, and nobody else."""
    play(compete, 1, "ann", "bo")
    queries = (
        "SELECT * FROM kaggle.ratings()",
        "SELECT * FROM kaggle.rating_history('ann')",
        "SELECT * FROM kaggle.participant_points",
        "SELECT * FROM kaggle.season_standings('-infinity', 'infinity')",
    )
    for role, may in (("pgleaderboard_reader", True), ("pgleaderboard_editor", True), ("pg_monitor", False)):
        for query in queries:
            with db.transaction():
                db.execute("SET TRANSACTION READ ONLY")
                db.execute(f"SET LOCAL ROLE {role}")
                if may:
                    assert db.execute(query).fetchall() != []
                else:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege), db.transaction():
                        db.execute(query)


# --- any competitions, against the rules written down naively ---------------------------------------------------


@dataclass(frozen=True)
class Contest:
    """A completed competition. board: best first, a score and the members of each team."""

    day: int
    weight: Decimal
    board: tuple[tuple[int | None, tuple[str, ...]], ...]

    @property
    def entries(self) -> list[Entry]:
        """The board as Kaggle sends it."""
        return [
            team(n, None if score is None else str(score), *members) for n, (score, members) in enumerate(self.board, 1)
        ]


@st.composite
def contests(draw: st.DrawFn) -> Contest:
    """Teams of one to three among the registered and strangers, ties, missing scores, somebody in two teams."""
    teams = draw(
        st.lists(
            st.tuples(
                st.none() | st.integers(1, 4),
                st.lists(st.sampled_from([*PEOPLE, "x", "y", "ANN"]), min_size=1, max_size=3, unique_by=str.lower),
            ),
            max_size=6,
        )
    )
    board = sorted(((score, tuple(members)) for score, members in teams), key=lambda t: (t[0] is None, -(t[0] or 0)))
    return Contest(draw(st.integers(0, 3)), draw(st.sampled_from([Decimal(1), Decimal(0), Decimal(7)])), tuple(board))


def naive(contests: list[Contest]) -> Iterator[dict[str, tuple[float, float, float, int]]]:
    """The issue's rules, one after the other: what each person's rating, place, expected place and teams become."""
    rating = dict.fromkeys(PEOPLE, 1500.0)
    for contest in sorted(contests, key=lambda c: c.day):  # stable: ids ascend
        teams: list[tuple[int, list[str]]] = []
        met: set[str] = set()
        for score, members in contest.board:
            names = [name for name in {m.lower() for m in members} if name in rating and name not in met]
            if score is not None and names:
                teams.append((score, names))
                met.update(names)
        strength = [fmean(rating[name] for name in names) for _, names in teams]
        step: dict[str, tuple[float, float, float, int]] = {}
        for n, (score, names) in enumerate(teams):
            place = fmean(m for m, (other, _) in enumerate(teams, 1) if other == score)
            expected = 1 + sum(
                1 / (1 + 10 ** ((strength[n] - other) / 400)) for m, other in enumerate(strength) if m != n
            )
            change = 2 * 32 * min(float(contest.weight), 4) / len(teams) * (expected - place)
            step |= {name: (rating[name] + change, place, expected, len(teams)) for name in names}
        rating |= {name: told[0] for name, told in step.items()}
        yield step


def all_steps(db: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Each person's history, exactly."""
    columns = "kaggle_competition_id, rating, place, expected_place, teams, change"
    return {name: history(db, name, columns) for name in PEOPLE}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(drawn=st.lists(contests(), min_size=1, max_size=4), order=st.permutations(PEOPLE), data=st.data())
def test_any_competitions(
    db: Connection, compete: Compete, drawn: list[Contest], order: list[str], data: st.DataObject
) -> None:
    """Every step is the rules'; zero-sum over teams; the same to the last bit in whatever order rows were written."""
    db.execute("TRUNCATE kaggle.competitions, kaggle.participants CASCADE")
    db.execute("INSERT INTO kaggle.participants SELECT unnest(%s::text[])", (order,))
    syncs = [compete(f"c-{n}", rating_weight=contest.weight, **ended(contest.day)) for n, contest in enumerate(drawn)]
    for n in data.draw(st.permutations(range(len(drawn)))):
        if drawn[n].board:
            syncs[n].sync(zip_of(drawn[n].entries))
    told = all_steps(db)
    by_model: dict[str, list[tuple[Any, ...]]] = {name: [] for name in PEOPLE}
    for step in naive(drawn):
        for name, facts in step.items():
            by_model[name].append(tuple(map(pytest.approx, facts)))
    assert {name: [row[1:5] for row in rows] for name, rows in told.items()} == by_model
    for n, contest in enumerate(drawn):
        of_teams = {(row[2], row[3], row[5]): None for rows in told.values() for row in rows if row[0] == f"c-{n}"}
        if len({score for score, _ in contest.board}) == len(contest.board):  # each place is one team's
            assert sum(change for *_, change in of_teams) == pytest.approx(0, abs=1e-9)
    assert {name: (rating, steps) for _, name, rating, steps in ratings(db)} == {
        name: (rows[-1][1], len(rows)) for name, rows in told.items() if rows
    }

    db.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM kaggle.participants")
    db.execute("DELETE FROM kaggle.participants")
    db.execute("INSERT INTO kaggle.participants SELECT * FROM kept ORDER BY kaggle_username DESC")
    db.execute("DROP TABLE kept")
    db.execute(
        "UPDATE kaggle.leaderboard_entries SET submission_count = 1 + submission_count"
    )  # moved within the table
    assert all_steps(db) == told


def test_replay_after_a_backfill(
    db: Connection, url: str, compete: Compete, people: tuple[str, ...], tmp_path: Path
) -> None:
    """A board that comes from a file years later changes all that ended after it, as if it had been synced then."""
    first = [team(1, "3", "cy"), team(2, "2", "ann", "bo"), team(3, "1", "flo")]
    later = [team(1, "3", "flo"), team(2, "2", "cy"), team(3, "1", "bo")]

    def steps(backfill: Callable[[], None]) -> dict[str, list[tuple[Any, ...]]]:
        db.execute("TRUNCATE kaggle.competitions CASCADE")
        backfill()
        return all_steps(db)

    def synced() -> None:
        compete("first", **ended(1)).sync(zip_of(first))
        compete("later", **ended(2)).sync(zip_of(later))

    def filled_in() -> None:
        compete("later", **ended(2)).sync(zip_of(later))
        compete("first", **ended(1))
        at: datetime = START + timedelta(days=1)
        file = tmp_path / name_of("first", "public", at)
        file.write_bytes(csv_of(first))
        before = all_steps(db)
        with Connection.connect(url, autocommit=True) as connection:
            store = ArchiveStore(connection, patience=0)
            board_files.backfill(store, "first", [file], Overrides(), LIMIT, lambda *_: None, lambda *_: None)
        assert all_steps(db)["cy"][1:] != before["cy"]

    assert steps(filled_in) == steps(synced)
