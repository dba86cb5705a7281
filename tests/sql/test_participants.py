"""People who are followed by their Kaggle username: how names are stored, and where they stand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.aliases import Connection, MakeWorker
from tests.support.boards import Entry, teams, zip_of
from tests.support.faults import Simulator
from tests.support.past import time_passes
from tests.support.syncs import Syncs

RESULTS = "kaggle_competition_id, rank, teams, team_name, score::text, medal_zone, movement, board"


def results(db: Connection, name: str, columns: str = RESULTS) -> list[tuple[Any, ...]]:
    """What participant_results says of one person."""
    return db.execute(
        f"SELECT {columns} FROM kaggle.participant_results WHERE kaggle_username = %s ORDER BY 1", (name,)
    ).fetchall()


def names(db: Connection) -> list[str]:
    """Whom we follow."""
    return [name for (name,) in db.execute("SELECT kaggle_username FROM kaggle.participants ORDER BY 1")]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("Gumby", "Gumby"),
        ("@Gumby", "Gumby"),
        (" Gumby\t", "Gumby"),
        ("https://www.kaggle.com/Gumby", "Gumby"),
        ("kaggle.com/Gumby/", "Gumby"),
        ("http://kaggle.com/Gumby/competitions?x=1#y", "Gumby"),
        ("del=0123456789abcdef", "del=0123456789abcdef"),
    ],
)
def test_a_profile_is_stored_as_its_name(db: Connection, given: str, stored: str) -> None:
    """A URL, @name or padded name is stored as the name, capitals kept."""
    db.execute("INSERT INTO kaggle.participants (kaggle_username) VALUES (%s)", (given,))
    assert names(db) == [stored]


@pytest.mark.parametrize(
    "given",
    [None, "", " ", "two words", "Müller", "x'; DROP TABLE kaggle.participants; --", "https://example.org/gumby",
     "https://www.kaggle.com/", "https://www.kaggle.com/competitions/titanic", "a" * 97],
)  # fmt: skip
def test_what_is_no_name_is_refused(db: Connection, given: str | None) -> None:
    """With the name of the rule, and a hint that says what is wanted."""
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        db.execute("INSERT INTO kaggle.participants (kaggle_username) VALUES (%s)", (given,))
    assert refused.value.diag.constraint_name == "kaggle_username_is_a_name"
    assert "https://www.kaggle.com/gumby" in (refused.value.diag.message_hint or "")


def test_names_are_compared_without_case(db: Connection) -> None:
    """Another spelling is the same person: a unique violation, met by ON CONFLICT (kaggle_username)."""
    db.execute("INSERT INTO kaggle.participants VALUES ('Gumby', 'G. Umby')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        db.execute("INSERT INTO kaggle.participants VALUES ('gumby')")
    db.execute(
        "INSERT INTO kaggle.participants VALUES ('@GUMBY', 'Gum') "
        "ON CONFLICT (kaggle_username) DO UPDATE SET display_name = excluded.display_name"
    )
    assert db.execute("SELECT * FROM kaggle.participants").fetchall() == [("Gumby", "Gum")]


def test_copy_from_a_csv_of_names(db: Connection) -> None:
    r"""\copy kaggle.participants FROM 'names.csv' CSV: names, URLs and empty display names."""
    with db.cursor().copy("COPY kaggle.participants FROM STDIN CSV HEADER") as copy:
        copy.write("kaggle_username,display_name\nhttps://www.kaggle.com/Gumby,G. Umby\n@pokey,\n")
    assert db.execute("SELECT * FROM kaggle.participants ORDER BY 1").fetchall() == [
        ("Gumby", "G. Umby"),
        ("pokey", None),
    ]


def test_registering_for_an_event_adds_the_name(db: Connection) -> None:
    """A name that is not followed yet is; one that is keeps its spelling; deleting the event lets go of both."""
    db.execute("INSERT INTO kaggle.participants VALUES ('Gumby')")
    db.execute("INSERT INTO kaggle.events (id, slug, title) VALUES (7, 'night', 'Night')")
    db.execute(
        "INSERT INTO kaggle.event_participants (event_id, kaggle_username, excluded, note) "
        "VALUES (7, 'gumby', NULL, ''), (7, 'kaggle.com/Pokey', true, 'a juror')"
    )
    assert names(db) == ["Gumby", "Pokey"]
    assert db.execute("SELECT * FROM kaggle.event_participants ORDER BY 2").fetchall() == [
        (7, "Gumby", False, None),
        (7, "Pokey", True, "a juror"),
    ]
    db.execute("DELETE FROM kaggle.events")
    assert db.execute("SELECT count(*) FROM kaggle.event_participants").fetchone() == (0,)
    assert names(db) == ["Gumby", "Pokey"]


def test_sessions_that_register_the_same_new_name_do_not_fail(
    db: Connection, connect: Callable[[], Connection]
) -> None:
    """The second waits for the first, takes its spelling, and both are there."""
    db.execute("INSERT INTO kaggle.events (id, slug, title) VALUES (1, 'a', 'A'), (2, 'b', 'B')")
    first, second = connect(), connect()
    first.execute("INSERT INTO kaggle.event_participants VALUES (1, 'Gumby')")
    second.execute("SET lock_timeout = '100ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        second.execute("INSERT INTO kaggle.event_participants VALUES (2, 'gumby')")
    second.rollback()
    first.commit()
    second.execute("INSERT INTO kaggle.event_participants VALUES (2, 'gumby')")
    second.commit()
    assert db.execute("SELECT * FROM kaggle.event_participants ORDER BY 1").fetchall() == [
        (1, "Gumby", False, None),
        (2, "Gumby", False, None),
    ]


def test_where_a_person_stands(db: Connection, compete: Callable[..., Syncs]) -> None:
    """Rank, team, score, medal zone and movement in every competition; members of one team have the same."""
    titanic, digits = compete("titanic"), compete("digits")
    board = [*teams(*range(1, 10)), Entry(50, "the two", members=("Gumby", "pokey"))]
    titanic.sync(zip_of(board))
    digits.sync(zip_of([Entry(50, "alone", members=("gumby",)), Entry(9, "base", is_benchmark=True)]))

    # Registered after the sync, in another spelling.
    db.execute("INSERT INTO kaggle.participants VALUES ('gUMBY'), ('Pokey')")

    of_the_two = ("titanic", 10, 10, "the two", "0.5", None, None, "public")
    assert results(db, "gUMBY") == [("digits", 1, 1, "alone", "0.5", None, None, "public"), of_the_two]
    assert results(db, "Pokey") == [of_the_two]

    # Yesterday's board is known once the first board is a day old.
    time_passes(db, timedelta(days=2), "titanic")
    titanic.sync(zip_of([*board[:3], board[-1], *board[3:-1]]))
    assert results(db, "Pokey") == [("titanic", 4, 10, "the two", "0.5", "bronze", 6, "public")]
    assert [row[6] for row in results(db, "gUMBY")] == [None, 6]


TEAMS = st.lists(st.integers(1, 40), unique=True, max_size=40)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(TEAMS, TEAMS, TEAMS, TEAMS).filter(lambda drawn: drawn[1]))
@example(([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7], [8, 7, 1, 3, 5, 4, 9], [8, 7, 1, 3, 5, 4, 9]))
@example((list(range(1, 41)), list(range(1, 41)), list(range(40, 0, -1)), list(range(40, 0, -1))))
@example((list(range(1, 41)), [40, *range(1, 40)], [40, *range(1, 40)], [*range(1, 40), 40]))
def test_movement_is_exact_against_the_board_a_day_ago(
    db: Connection, compete: Callable[..., Syncs], drawn: tuple[list[int], ...]
) -> None:
    """Overtaken, passed by newcomers, freed by departures, back again: places climbed are the ranks' difference.

    The first two boards are older than a day.
    """
    db.execute("TRUNCATE kaggle.competitions, kaggle.participants CASCADE")
    syncs = compete("titanic")
    for number, board in enumerate(drawn):
        benchmark = Entry(90 + number % 2, f"base {number}", is_benchmark=True)
        syncs.sync(zip_of([*teams(*board[:3]), benchmark, *teams(*board[3:])]))
        if number == 1:
            time_passes(db, timedelta(days=2))
    db.execute("INSERT INTO kaggle.participants SELECT 'user' || n FROM generate_series(1, 40) n")

    moved = db.execute("SELECT team_id, rank, movement FROM kaggle.participant_results ORDER BY 1").fetchall()

    before, after = ({team: rank for rank, team in enumerate(board, 1)} for board in (drawn[1], drawn[3]))
    assert moved == [(team, after[team], before[team] - after[team] if team in before else None)
                     for team in sorted(after)]  # fmt: skip


def test_a_merged_team_and_a_changed_link_are_followed(db: Connection, compete: Callable[..., Syncs]) -> None:
    """Who went to another team stands there; under another link only the board that is shown now counts."""
    syncs = compete("titanic")
    db.execute("INSERT INTO kaggle.participants VALUES ('user2')")
    syncs.sync(zip_of(teams(1, 2)))
    assert [row[:4] for row in results(db, "user2")] == [("titanic", 2, 2, "team 2")]
    syncs.sync(zip_of([Entry(1, "team 1", members=("user1", "user2"))]))
    assert [row[:4] for row in results(db, "user2")] == [("titanic", 1, 1, "team 1")]
    db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'digits'")
    assert results(db, "user2") == []


def test_the_private_board_counts_once_it_is_there(db: Connection, compete: Callable[..., Syncs]) -> None:
    """One result for a competition, from the board that kaggle.leaderboard shows."""
    syncs = compete("titanic")
    db.execute("INSERT INTO kaggle.participants VALUES ('user2')")
    syncs.sync(zip_of(teams(1, 2)))
    syncs.sync(zip_of(teams(2, 1), kind="private"))
    assert results(db, "user2", "rank, board") == [(1, "private")]


def test_who_appears_nowhere(db: Connection, compete: Callable[..., Syncs]) -> None:
    """Typos and display names show: of an event's people those on no board of it, of the others those on no board."""
    titanic, digits = compete("titanic"), compete("digits")
    titanic.sync(zip_of(teams(1, 2)))
    digits.sync(zip_of(teams(3)))
    db.execute("INSERT INTO kaggle.events (id, slug, title) VALUES (1, 'night', 'Night')")
    db.execute(
        "INSERT INTO kaggle.event_competitions (event_id, competition_id) VALUES (1, %s)", (titanic.competition,)
    )
    db.execute("INSERT INTO kaggle.participants VALUES ('USER1', NULL), ('usr2', 'Mistyped'), ('nobody', NULL)")
    db.execute(
        "INSERT INTO kaggle.event_participants (event_id, kaggle_username, excluded, note) VALUES "
        "(1, 'user1', false, NULL), (1, 'usr2', false, 'check'), (1, 'user3', false, NULL), (1, 'absent', true, NULL)"
    )
    assert db.execute("SELECT * FROM kaggle.unmatched_participants ORDER BY event_id, kaggle_username").fetchall() == [
        (1, "night", "user3", None, None, True),  # on a board, but of no competition of the event
        (1, "night", "usr2", "Mistyped", "check", False),
        (None, None, "nobody", None, None, False),
    ]


def test_over_a_real_server(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Everybody of a synced board is found by name, teams of several included, where the board has them."""
    with worker():
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('simulated-300-teams')")
        db.execute("SELECT kaggle.wait_for_sync('simulated-300-teams')")
    db.execute(
        "INSERT INTO kaggle.participants SELECT DISTINCT ON (lower(name)) upper(name) FROM kaggle.leaderboard, "
        "unnest(member_usernames) name WHERE name !~ '^del=' AND NOT is_benchmark"
    )
    found = db.execute("SELECT kaggle_username, team_id, rank FROM kaggle.participant_results ORDER BY 1, 2").fetchall()
    expected = db.execute(
        "SELECT upper(name), team_id, rank FROM kaggle.leaderboard, unnest(member_usernames) name "
        "WHERE name !~ '^del=' AND NOT is_benchmark ORDER BY 1, 2"
    ).fetchall()
    assert len(found) > 200
    assert found == expected
    assert db.execute("SELECT count(*) FROM kaggle.unmatched_participants").fetchone() == (0,)
