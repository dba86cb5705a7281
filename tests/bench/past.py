"""Rows 16 and 17: what is asked of the past, and of people and events, beside the query of a current board."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.history_data import write_long_past
from tests.bench.readers import fill
from tests.bench.report import Figure, ms
from tests.bench.timing import in_turns, median, seconds
from tests.bench.world import Database, World


def past(world: World) -> Iterator[Figure]:
    """Row 16: a history of 1,000 syncs of a 5,000-team board, ten changes each."""
    teams, syncs = world.scale.of(5_000, 500), world.scale.of(1_000, 50)
    with world.database() as database:
        write_long_past(database.db, "past", teams=teams, syncs=syncs, changes=10)
        database.db.execute("VACUUM ANALYZE")
        board = "SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = 'past' ORDER BY rank"
        (middle,) = database.db.execute(
            "SELECT min(observed_at) + (max(observed_at) - min(observed_at)) / 2 FROM kaggle.sync_runs"
        ).fetchone() or (None,)
        of = f"of {syncs:,} syncs of {teams:,} teams"
        for what, query, limit in (
            ("leaderboard_as_of the middle", f"SELECT * FROM kaggle.leaderboard_as_of('past', '{middle}')", 50),
            ("movers since the middle", f"SELECT * FROM kaggle.movers('past', timestamptz '{middle}')", None),
            ("rank_history of a team", "SELECT * FROM kaggle.rank_history('past', 7)", 200),
            ("rank_history of five teams", "SELECT * FROM kaggle.rank_history('past', 7, 70, 170, 270, 370)", 200),
            ("rank_history of a user", "SELECT * FROM kaggle.rank_history('past', 'User7'::text)", 200),
        ):
            yield _beside(database, 16, f"{what} {of}", query, board, limit)


def people(world: World) -> Iterator[Figure]:
    """Row 17: participants on 100 boards of 5,000 teams, and the standing of five of those.

    The boards are older than a day, and one team in fifty has moved since, so that there are movements to be counted.
    """
    boards, teams = world.scale.of(100, 10), world.scale.of(5_000, 500)
    registered = world.scale.of(1_000, 50)
    with world.database() as database:
        fill(database, [teams] * boards)
        database.db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
        database.db.execute(
            "INSERT INTO kaggle.event_competitions (event_id, competition_id)"
            " SELECT 1, id FROM kaggle.competitions ORDER BY id LIMIT 5"
        )
        database.db.execute(
            "INSERT INTO kaggle.participants SELECT 'USER' || n FROM generate_series(1, %s) n", (registered,)
        )
        database.db.execute("UPDATE kaggle.boards SET observed_from = now() - interval '2 days'")
        database.db.execute("UPDATE kaggle.leaderboard_entries SET valid_from = now() - interval '2 days'")
        database.db.execute(
            """
            WITH moved AS (
                UPDATE kaggle.leaderboard_entries SET valid_from = now() - interval '3 hours' WHERE team_id % 50 = 3
                RETURNING *
            )
            INSERT INTO kaggle.leaderboard_history (board_id, team_id, order_key, valid_from, valid_until,
                first_seen_at, last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
            SELECT board_id, team_id, order_key + (3001::bigint << 39), now() - interval '2 days',
                   valid_from, first_seen_at, last_submission_at, submission_count, is_benchmark, score, team_name,
                   member_usernames
            FROM moved
            """
        )
        database.db.execute("VACUUM ANALYZE")
        (middle,) = database.db.execute(
            "SELECT kaggle_username FROM kaggle.participant_results ORDER BY abs(rank - teams / 2) LIMIT 1"
        ).fetchone() or ("",)
        board = "SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = 'board-1' ORDER BY rank"
        results = "FROM kaggle.participant_results"
        for what, query, limit in (
            (
                f"one participant, in the middle of {boards} boards of {teams:,}",
                f"SELECT * {results} WHERE kaggle_username = '{middle}'",
                50,
            ),
            # Counted there: the client's reading of 100,000 rows is not the matter.
            (f"{registered:,} participants on all of them", f"SELECT count(rank), count(movement) {results}", 1000),
            ("standing of five boards, everybody", "SELECT * FROM kaggle.event_standings", None),
        ):
            yield _beside(database, 17, what, query, board, limit)


def _beside(database: Database, row: int, work: str, query: str, board: str, limit: int | None) -> Figure:
    """limit: milliseconds."""
    ours, floor = in_turns(
        7,
        lambda: seconds(lambda: database.db.execute(query.encode()).fetchall()),
        lambda: seconds(lambda: database.db.execute(board.encode()).fetchall()),
        warm_up=1,
    )
    mine, least = median(ours), median(floor)
    return Figure(
        row, work, "the board now", ms(mine), ms(least), mine / least,
        "reported" if limit is None else f"≤ {limit:,} ms", None if limit is None else mine * 1000 <= limit,
        {"ours": ours, "floor": floor},
    )  # fmt: skip
