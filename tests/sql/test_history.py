"""The past in SQL, against a naive model that keeps every board whole."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.support.aliases import Connection, MakeWorker
from tests.support.boards import Entry, read_csv, shown, teams, zip_of
from tests.support.faults import Simulator
from tests.support.syncs import Syncs

SLUG = "simulated-60-teams"
STEPS = 12


class Past:
    """Boards as they were served, by the moment from which they held, with the run that brought each."""

    def __init__(self) -> None:
        self.boards: list[tuple[datetime, int, list[Entry]]] = []

    def ranks(self, number: int) -> dict[int, int]:
        """Rank by team on one of the boards."""
        board = self.boards[number][2]
        return {e.team_id: n for n, e in enumerate((e for e in board if not e.is_benchmark), start=1)}

    def entry(self, number: int, team_id: int) -> Entry:
        """A team's row on one of the boards."""
        return next(e for e in self.boards[number][2] if e.team_id == team_id)

    def history(self, team_ids: set[int]) -> list[tuple[Any, ...]]:
        """At each board that changed one of these teams' rank or facts: what rank_history should say."""
        told = []
        before: dict[int, Any] = {}
        for number, (at, _, _) in enumerate(self.boards):
            ranks = self.ranks(number)
            for team_id in team_ids:
                entry = self.entry(number, team_id) if team_id in ranks else None
                now = (ranks[team_id], entry) if entry else None
                if entry and now != before.get(team_id):
                    told.append(
                        (at, team_id, entry.team_name, ranks[team_id], entry.score, entry.submission_count, len(ranks))
                    )
                before[team_id] = now
        return sorted(told, key=lambda row: (row[0], row[3]))


@pytest.fixture
def past(db: Connection, worker: MakeWorker, simulator: Simulator) -> Past:
    """A competition that was synced at each of a number of steps of the simulator."""
    model = Past()
    with worker():
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)", (SLUG,))
        for step in range(STEPS):
            if step:
                simulator.advance(random.Random(step).randrange(30, 120))
                db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
            row = db.execute("SELECT observed_at, id, outcome FROM kaggle.wait_for_sync(%s)", (SLUG,)).fetchone()
            assert row is not None
            assert row[2] == "changed"
            served = simulator.download(SLUG)
            assert served is not None
            model.boards.append((row[0], row[1], _read(served)))
    return model


def _read(archive: bytes) -> list[Entry]:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return read_csv(opened.read(opened.namelist()[0]))


def rows(db: Connection, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return db.execute(query, values).fetchall()


def test_every_past_board_comes_back_in_its_order(db: Connection, past: Past) -> None:
    """leaderboard_as_of gives each board as it was served, at its moment and until just before the next."""
    columns = (
        "rank, team_id, team_name, score::text, submission_count, last_submission_at, member_usernames, is_benchmark"
    )
    ends = [at for at, _, _ in past.boards[1:]]
    for (at, _, board), end in zip(past.boards, [*ends, None], strict=True):
        expected = [row[:8] for row in shown(board)]
        moments = [at] if end is None else [at, db.execute("SELECT %s - interval '1 us'", (end,)).fetchone()[0]]  # type: ignore[index]
        for moment in moments:
            actual = rows(db, f"SELECT {columns} FROM kaggle.leaderboard_as_of(%s, %s)", SLUG, moment)
            assert [tuple(map(str, row)) for row in actual] == [tuple(map(str, row)) for row in expected]
    assert rows(db, "SELECT * FROM kaggle.leaderboard_as_of(%s, %s - interval '1 us')", SLUG, past.boards[0][0]) == []


def test_rank_history_of_many_teams(db: Connection, past: Past) -> None:
    """One call tells of every team at each sync that changed its rank or facts."""
    everybody = {e.team_id for _, _, board in past.boards for e in board if not e.is_benchmark}
    told = rows(db, "SELECT * FROM kaggle.rank_history(%s, VARIADIC %s::bigint[])", SLUG, list(everybody))
    assert told == past.history(everybody)
    one = next(iter(everybody))
    assert rows(db, "SELECT * FROM kaggle.rank_history(%s, %s)", SLUG, one) == past.history({one})


def test_rank_history_follows_a_user(db: Connection, past: Past) -> None:
    """By username in any case: the teams that the user was a member of, while that was so."""
    users = {u for _, _, board in past.boards for e in board if not e.is_benchmark for u in e.members}
    assert len(users) > 20
    for user in sorted(users)[:20]:
        expected = [
            row
            for row in past.history({e.team_id for _, _, b in past.boards for e in b if user in e.members})
            if user in past.entry([at for at, _, _ in past.boards].index(row[0]), row[1]).members
        ]
        assert rows(db, "SELECT * FROM kaggle.rank_history(%s, %s::text)", SLUG, user.upper()) == expected


def test_movers(db: Connection, past: Past) -> None:
    """Who climbed, fell, came and went since each of the boards."""
    last = past.ranks(STEPS - 1)
    told: set[str] = set()
    for number, (at, _, _) in enumerate(past.boards):
        then = past.ranks(number)
        expected = set()
        for team_id in then.keys() | last.keys():
            before, now = then.get(team_id), last.get(team_id)
            score_then = past.entry(number, team_id).score if before else None
            score_now = past.entry(STEPS - 1, team_id).score if now else None
            if before == now:
                continue
            what = "new" if before is None else "gone" if now is None else "climbed" if now < before else "fell"
            climbed = before - now if before and now else None
            expected.add((team_id, before, now, climbed, score_then, score_now, what))
        actual = rows(
            db,
            "SELECT team_id, rank_then, rank_now, places_climbed, score_then, score_now, what "
            "FROM kaggle.movers(%s, %s)",
            SLUG,
            at,
        )
        assert set(actual) == expected
        assert len(actual) == len(expected)
        told |= {row[-1] for row in actual}
    assert told == {"new", "gone", "climbed", "fell"}


def test_movers_as_people_write_it(db: Connection, past: Past) -> None:
    """A time or an interval as text, without a cast; a span between two moments; anything else is refused in words."""
    columns = "SELECT team_id, rank_then, rank_now FROM kaggle.movers"
    first, middle, last = (past.boards[n][0] for n in (0, STEPS // 2, STEPS - 1))
    exact = rows(db, f"{columns}(%s, %s::timestamptz)", SLUG, first)
    assert rows(db, f"{columns}('{SLUG}', '{first.isoformat()}')") == exact != []
    assert rows(db, f"{columns}(%s, %s)", SLUG, str(first)) == exact
    assert rows(db, f"{columns}('{SLUG}', '0 seconds')") == []
    then, later = past.ranks(0), past.ranks(STEPS // 2)
    expected = {(t, then.get(t), later.get(t)) for t in then.keys() | later.keys() if then.get(t) != later.get(t)}
    for since, until in ((f"'{first}'", f"'{middle}'"), (f"timestamptz '{first}'", f"timestamptz '{middle}'")):
        assert set(rows(db, f"{columns}('{SLUG}', {since}, {until})")) == expected
    span = f"{(middle - first).total_seconds():f} seconds"
    for written in (span, f"{span} ago"):
        assert set(rows(db, f"{columns}('{SLUG}', '{written}', '{middle}')")) == expected
    for since in (f"'{first}'", f"text '{span}'", f"'{span}'", f"interval '{span}'", f"interval '-{span}'",
                  f"timestamptz '{first}'", f"timestamp '{first.astimezone(UTC).replace(tzinfo=None)}'"):  # fmt: skip
        for until in (f"'{middle}'", f"timestamptz '{middle}'", f"text '{middle}'", f"now() - timestamptz '{middle}'",
                      f"timestamptz '{middle}' - now()"):  # fmt: skip
            assert set(rows(db, f"{columns}('{SLUG}', {since}, {until})")) == expected, (since, until)
    for since in (f"'{first}'", f"timestamptz '{first}'", f"now() - timestamptz '{first}'"):
        for until in ("", ", NULL", ", until => NULL", ", '0 seconds'", ", interval '0'"):
            assert rows(db, f"{columns}('{SLUG}', {since}{until})") == exact, (since, until)
    assert rows(db, f"{columns}('{SLUG}', '{first}', '{last}')") == exact
    with pytest.raises(psycopg.errors.InvalidDatetimeFormat, match="'soon' is neither a time nor an interval"):
        db.execute(f"{columns}('{SLUG}', 'soon')")


def test_a_number_that_a_driver_sends_as_text_is_a_team(db: Connection, past: Past) -> None:
    """As node-postgres does; a name of digits goes first."""
    team_id = past.boards[-1][2][3].team_id
    expected = rows(db, "SELECT * FROM kaggle.rank_history(%s, %s::bigint)", SLUG, team_id)
    assert rows(db, "SELECT * FROM kaggle.rank_history(%s, %s)", SLUG, str(team_id)) == expected != []
    db.execute("PREPARE as_a_driver AS SELECT * FROM kaggle.rank_history($1, $2)")
    assert rows(db, f"EXECUTE as_a_driver('{SLUG}', '{team_id}')") == expected
    other = past.boards[-1][2][5].team_id
    db.execute(
        "UPDATE kaggle.leaderboard_entries SET member_usernames = ARRAY[%s] WHERE team_id = %s", (str(team_id), other)
    )
    assert {row[1] for row in rows(db, "SELECT * FROM kaggle.rank_history(%s, %s)", SLUG, str(team_id))} == {other}


@pytest.mark.parametrize(
    "call",
    ["sync_now(NULL)", "wait_for_sync(NULL)", "leaderboard_as_of(NULL, now())", "movers(NULL, '1 day')",
     "drop_board(NULL, 'public')", "finalize_event(NULL)", "event_results_as_of(NULL, now())"],
)  # fmt: skip
def test_a_name_that_is_null_is_told(db: Connection, call: str) -> None:
    """As a variable that was not set, or a subquery that found nothing; never with a statement to insert it."""
    with pytest.raises(psycopg.errors.NoDataFound, match=r"the slug of the (competition|event) is null") as unknown:
        db.execute(f"SELECT * FROM kaggle.{call}")  # type: ignore[arg-type]
    assert "NULL" not in (unknown.value.diag.message_hint or "")


def test_a_mistyped_name_is_told_the_right_one(db: Connection) -> None:
    """Never the statement that would insert the typo; a strange slug is told how to follow it, an event what it is."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic'), ('Spaceship-Titanic')")
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('neural-night', 'N')")

    def hint(call: str) -> str:
        with pytest.raises(psycopg.errors.NoDataFound) as unknown:
            db.execute(f"SELECT * FROM kaggle.{call}")
        return unknown.value.diag.message_hint or ""

    assert hint("leaderboard_as_of('titanc', now())") == "Did you mean 'titanic'?"
    assert hint("movers('spaceship-titanik', '1 day')") == "Did you mean 'Spaceship-Titanic'?"
    assert hint("find_competition('Neural-Night')") == "'neural-night' is an event: see kaggle.event_standings."
    assert hint("find_competition('quora')").startswith("INSERT INTO kaggle.competitions")
    assert hint("event_standings_as_of('nueral-night', now())") == "Did you mean 'neural-night'?"
    assert hint("event_standings_as_of('gala', now())").startswith("INSERT INTO kaggle.events")
    assert hint("event_standings_as_of(' ', now())") == "SELECT slug FROM kaggle.events; lists those that are there."
    assert hint("changes(99999)").startswith("SELECT id FROM kaggle.sync_runs")


def test_changes_of_each_run(db: Connection, past: Past) -> None:
    """Those that came, went, or changed a fact, as a naive comparison finds them; as many moved as the run says."""
    told: set[str] = set()
    for number in range(1, STEPS):
        _, run_id, board = past.boards[number]
        before = {e.team_id: e for e in past.boards[number - 1][2]}
        after = {e.team_id: e for e in board}
        actual = rows(db, "SELECT team_id, what FROM kaggle.changes(%s)", run_id)
        assert {t for t, what in actual if what == "added"} == after.keys() - before.keys()
        assert {t for t, what in actual if what == "removed"} == before.keys() - after.keys()
        assert {t for t, what in actual if what.startswith("updated")} == {
            t for t in before.keys() & after.keys() if before[t] != after[t]
        }
        (moved,) = rows(db, "SELECT moved FROM kaggle.sync_runs WHERE id = %s", run_id)[0]
        assert sum(what in ("moved", "updated and moved") for _, what in actual) == moved
        told |= {what for _, what in actual}
    assert {"added", "removed", "updated", "updated and moved"} <= told


def test_team_rank(db: Connection, past: Past) -> None:
    """One team's rank is that of the board; a benchmark and a stranger have none."""
    ranks = past.ranks(STEPS - 1)
    for team_id, rank in ranks.items():
        assert rows(db, "SELECT kaggle.team_rank(%s, %s)", SLUG, team_id) == [(rank,)]
    benchmark = next(e.team_id for e in past.boards[-1][2] if e.is_benchmark)
    assert rows(db, "SELECT kaggle.team_rank(%s, %s), kaggle.team_rank(%s, 1)", SLUG, benchmark, SLUG) == [(None, None)]


def test_pruning_names_its_horizon(db: Connection, past: Past) -> None:
    """Chunk by chunk; the present board stays, and the past before the horizon is refused."""
    total = rows(db, "SELECT count(*) FROM kaggle.leaderboard_history")[0][0]
    largest = rows(db, "SELECT max(cardinality(team_ids)) FROM kaggle_internal.packs")[0][0]
    pruned = 0
    while chunk := rows(db, "SELECT kaggle.prune_history('0 s', 50)")[0][0]:
        assert chunk < 50 + largest  # rounded up to what one sync replaced
        pruned += chunk
    assert pruned >= total > 50
    assert rows(db, "SELECT * FROM kaggle.leaderboard_history") == []
    assert rows(db, "SELECT count(*) FROM kaggle.leaderboard_as_of(%s, now())", SLUG)[0][0] == len(past.boards[-1][2])
    for query in ("leaderboard_as_of", "movers"):
        with pytest.raises(psycopg.errors.NoDataFound, match="the history of simulated-60-teams begins at"):
            db.execute(f"SELECT * FROM kaggle.{query}(%s, %s)", (SLUG, past.boards[0][0]))  # type: ignore[arg-type]


def test_an_unknown_slug_is_said(db: Connection) -> None:
    """Each function says that there is no such competition."""
    for call in (
        "leaderboard_as_of('nobody', now())",
        "team_rank('nobody', 1)",
        "rank_history('nobody', 1)",
        "shakeup('nobody')",
    ):
        with pytest.raises(psycopg.errors.NoDataFound, match="no competition 'nobody'"):
            db.execute(f"SELECT * FROM kaggle.{call}")  # type: ignore[arg-type]


# Kaggle's cut-offs, worked out by hand: the last rank of each medal; what is left of a rank over is not given.
@pytest.mark.parametrize(
    ("teams", "gold", "silver", "bronze"),
    [
        (1, 0, 0, 0),
        (4, 0, 0, 1),
        (5, 0, 1, 2),
        (10, 1, 2, 4),
        (99, 9, 19, 39),  # 9.9, 19.8, 39.6
        (100, 10, 20, 40),
        (249, 10, 49, 99),  # 49.8, 99.6
        (250, 10, 50, 100),  # 10.5
        (500, 11, 50, 100),
        (999, 11, 50, 100),  # 11.998
        (1000, 12, 50, 100),
        (1019, 12, 50, 101),  # 12.038, 50.95, 101.9
        (2097, 14, 104, 209),  # a real competition: 14, 90 and 105 medals
        (5000, 20, 250, 500),
    ],
)
def test_medals(db: Connection, teams: int, gold: int, silver: int, bronze: int) -> None:
    """Every rank has the medal of Kaggle's published cut-offs; ranks that cannot be have none."""
    ranks = db.execute("SELECT kaggle.medal(r, %s) FROM generate_series(1, %s) r ORDER BY r", (teams, teams)).fetchall()
    assert [medal for (medal,) in ranks] == (
        ["gold"] * gold + ["silver"] * (silver - gold) + ["bronze"] * (bronze - silver) + [None] * (teams - bronze)
    )
    nobody = "SELECT kaggle.medal(NULL, %s), kaggle.medal(0, %s), kaggle.medal(%s, %s), kaggle.medal(1, NULL)"
    assert rows(db, nobody, teams, teams, teams + 1, teams) == [(None, None, None, None)]
    for category, medal in (("Featured", "gold"), ("Research", "gold"), (None, "gold"), ("Getting Started", None),
                            ("gettingStarted", None), ("Playground", None), ("COMMUNITY", None)):  # fmt: skip
        assert rows(db, "SELECT kaggle.medal(1, 1000, %s)", category) == [(medal,)]


def test_a_slug_that_two_competitions_have_had(compete: Callable[..., Syncs]) -> None:
    """The board of the one that has it now is what it shows, from its first sync; before that, the other's."""
    former = compete("a-board")
    former.sync(zip_of(teams(1, 2)))
    then = former.scalar("SELECT observed_at FROM kaggle.boards")
    former.db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'b-board'")
    compete("a-board").sync(zip_of(teams(3, 4)))
    former.sync(zip_of(teams(5)))

    def shown_at(slug: str, at: datetime) -> list[Any]:
        query = "SELECT array_agg(team_id ORDER BY rank) FROM kaggle.leaderboard_as_of(%s, %s)"
        return former.scalar(query, slug, at) or []

    now = datetime.max.replace(tzinfo=UTC)
    assert shown_at("a-board", now) == [3, 4]
    assert shown_at("a-board", then) == [1, 2]
    assert shown_at("b-board", now) == [5]
    assert shown_at("b-board", then) == []
