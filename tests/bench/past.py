"""Rows 15 to 18 and 24: what the past takes on disk, what is asked of it, and of people, events and seasons."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.bench.boards import Board, write_zip
from tests.bench.readers import fill
from tests.bench.report import Figure, ms
from tests.bench.timing import in_turns, median, seconds
from tests.bench.world import Database, World

MIB = 2**20
SIZE = "SELECT pg_total_relation_size('kaggle_internal.packs') + pg_total_relation_size('kaggle_internal.past_names')"


@dataclass
class History:
    """A board that was synced many times. gzipped: bytes of its files under gzip, each sync's but the first."""

    database: Database
    board: Board
    competition_id: int
    slug: str
    folder: Path
    moments: list[datetime] = field(default_factory=list)
    gzipped: int = 0

    def at(self, share: float) -> datetime:
        """The moment of the sync before which that share of the history lies."""
        return self.moments[int(share * (len(self.moments) - 1))]

    def teams(self, count: int) -> list[int]:
        """Teams from all over the board."""
        return [team.team_id for team in self.board.teams[:: len(self.board.teams) // count][:count]]


@contextmanager
def history(world: World, *, teams: int, syncs: int, changes: int | None) -> Iterator[History]:
    """A board with a history that the real syncs wrote. changes: teams that change at each sync, None = all."""
    board = world.board(teams)
    with world.database() as database:
        competition_id, slug = database.insert(world.serve("past", board.csv()).name)
        made = History(database, board, competition_id, slug, world.folder)
        for number in range(syncs + 1):
            if number:
                board.shake() if changes is None else board.nudge(changes)
            csv = board.csv()
            database.sync(competition_id, world.serve("past", csv).zip, "changed")
            made.gzipped += len(gzip.compress(csv, 6)) if number else 0
        made.moments = [at for (at,) in database.db.execute("SELECT observed_at FROM kaggle.sync_runs ORDER BY id")]
        database.db.execute("VACUUM ANALYZE")
        yield made


def past(world: World) -> Iterator[Figure]:
    """Rows 15 and 16: a history of few changes, one in which every score moves, and many syncs of a small board."""
    teams = world.scale.of(5_000, 500)
    for syncs, changes, what, limit, team_ms in (
        (world.scale.of(1_000, 50), 10, "10 changes each", 0.012, 200),
        (world.scale.of(100, 10), None, "every score changes", 1.1, 1_000),
    ):
        with history(world, teams=teams, syncs=syncs, changes=changes) as made:
            kept, of = made.database.one(SIZE), f"{syncs:,} syncs of {teams:,} teams, {what}"
            yield Figure(
                15, f"history on disk, {of}", "a gzip'd CSV for each sync", f"{kept / MIB:,.2f} MiB",
                f"{made.gzipped / MIB:,.1f} MiB", kept / made.gzipped, f"≤ {limit:g} ×", kept / made.gzipped <= limit,
            )  # fmt: skip
            yield from _asked(made, of, team_ms)
            if changes is None:
                yield from _year(made)
    syncs = world.scale.of(2_000, 50)
    with history(world, teams=500, syncs=syncs, changes=None) as made:
        query = f"SELECT * FROM kaggle.rank_history('{made.slug}', {made.teams(3)[1]})"
        yield _beside(
            made, 16, f"rank_history of a team, {syncs:,} syncs of 500 teams that all change", query, None, 500
        )


def _asked(made: History, of: str, team_ms: int) -> Iterator[Figure]:
    slug = made.slug
    five = ", ".join(map(str, made.teams(5)))
    for share in (0.1, 0.5, 0.9):
        at = made.at(share)
        query = f"SELECT * FROM kaggle.leaderboard_as_of('{slug}', '{at}')"
        yield _beside(made, 16, f"leaderboard_as_of at {share:.0%} of {of}", query, 1.4)
    middle = made.at(0.5)
    run = f"(SELECT id FROM kaggle.sync_runs WHERE observed_at = '{middle}')"
    for what, query in (
        ("movers since the middle", f"kaggle.movers('{slug}', timestamptz '{middle}')"),
        ("changes of a run in the middle", f"kaggle.changes({run})"),
    ):
        yield _beside(made, 16, f"{what}, {of}", f"SELECT * FROM {query}", 3)
    for what, query in (
        ("rank_history of five teams", f"kaggle.rank_history('{slug}', {five})"),
        ("rank_history_between, the last tenth, five teams",
         f"kaggle.rank_history_between('{slug}', ARRAY[{five}], '{made.at(0.9)}', now())"),
        ("rank_history of a user", f"kaggle.rank_history('{slug}', '{made.board.teams[9].members}'::text)"),
    ):  # fmt: skip
        yield _beside(made, 16, f"{what}, {of}", f"SELECT * FROM {query}", None, team_ms)
    private = write_zip(made.folder / "private.zip", made.board.csv(), "private")
    made.database.sync(made.competition_id, private, "changed")
    yield _beside(made, 16, f"shakeup, {of}", f"SELECT * FROM kaggle.shakeup('{slug}')", 3)


def _year(made: History) -> Iterator[Figure]:
    """Row 18: what a year of a simulation competition takes, 26,000 syncs of 4,000 teams, by what was measured."""
    database = made.database
    versions = database.one("SELECT sum(cardinality(team_ids)) FROM kaggle_internal.packs")
    year = database.one(SIZE) / versions * 26_000 * 4_000 / 2**30
    yield Figure(
        18, "a year of 26,000 syncs of 4,000 teams, by extrapolation", ours=f"{year:.2f} GiB", target="reported"
    )
    # The syncs become 20 minutes apart, as in such a year; an hour keeps every third.
    database.db.execute(
        """
        CREATE TEMPORARY TABLE moved AS
        SELECT observed_at AS was,
               now() - interval '30 days' + interval '20 minutes' * row_number() OVER (ORDER BY id) AS at
        FROM kaggle.sync_runs
        """
    )
    for statement in (
        "UPDATE kaggle.sync_runs SET observed_at = at FROM moved WHERE observed_at = was",
        "UPDATE kaggle_internal.packs SET until = at FROM moved WHERE until = was",
        "UPDATE kaggle.boards SET observed_from = at FROM moved WHERE observed_from = was",
        "UPDATE kaggle.boards SET observed_at = at FROM moved WHERE observed_at = was",
        "UPDATE kaggle.competitions SET history_interval = '1 hour'",
    ):
        database.db.execute(statement)
    before = database.one("SELECT count(*) FROM kaggle_internal.packs")
    took = seconds(database.thin)
    database.db.execute("VACUUM FULL kaggle_internal.packs")
    left = database.one("SELECT count(*) FROM kaggle_internal.packs")
    versions = database.one("SELECT sum(cardinality(team_ids)) FROM kaggle_internal.packs")
    thinned = database.one(SIZE) / versions * 26_000 * 4_000 / 2**30 * left / before
    yield Figure(
        18, "… of which history_interval = 1 hour leaves", "all of it", f"{thinned:.2f} GiB", f"{year:.2f} GiB",
        thinned / year, "reported",
    )  # fmt: skip
    yield Figure(18, "… thinning an hour of it", ours=ms(took / max(1, left)), target="reported")


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
            INSERT INTO kaggle_internal.packs (board_id, until, is_whole, since_whole, ranked, ended, team_ids,
                order_keys, changed_at, last_submission_at, submission_count, score)
            SELECT board_id, now() - interval '3 hours', false, count(*), count(*), array_agg('m'::"char"),
                   array_agg(team_id), array_agg(order_key + (3001::bigint << 39)), array_agg(valid_from),
                   array_agg(last_submission_at), array_agg(submission_count), array_agg(score)
            FROM (SELECT * FROM kaggle.leaderboard_entries WHERE team_id % 50 = 3 ORDER BY board_id, team_id) moved
            GROUP BY board_id
            """
        )
        database.db.execute("VACUUM ANALYZE")
        (middle,) = database.db.execute(
            "SELECT kaggle_username FROM kaggle.participant_results ORDER BY abs(rank - teams / 2) LIMIT 1"
        ).fetchone() or ("",)
        board = "SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = 'board-1' ORDER BY rank"
        results = "FROM kaggle.participant_results"
        person, everybody = (
            f"{results} WHERE kaggle_username = '{middle}'",
            f"{registered:,} participants on all of them",
        )
        one = f"one participant, in the middle of {boards} boards of {teams:,}"
        for what, query, limit in (
            (f"{one}, without movement", f"SELECT kaggle_competition_id, rank, teams, score, medal_zone {person}", 60),
            (one, f"SELECT * {person}", 1_000),
            # Counted there: the client's reading of 100,000 rows is not the matter.
            (f"{everybody}, without movement", f"SELECT count(rank), count(medal_zone) {results}", 1_500),
            (everybody, f"SELECT count(rank), count(movement) {results}", 3_000),
            ("standing of five boards, everybody", "SELECT * FROM kaggle.event_standings", None),
        ):
            yield _compared(database, 17, what, query, board, None, limit)


def seasons(world: World) -> Iterator[Figure]:
    """Row 24: people who are rated over 100 competitions of 2,000 teams, and their season."""
    boards, teams = world.scale.of(100, 10), world.scale.of(2_000, 200)
    registered = world.scale.of(200, 20)
    with world.database() as database:
        fill(database, [teams] * boards)
        database.db.execute(
            "UPDATE kaggle.competitions SET status = 'completed', end_date = now() - interval '1 day' * id"
        )
        # Another order on each board, or there would be nothing to tell.
        database.db.execute(
            "UPDATE kaggle.leaderboard_entries SET order_key = ((team_id * 7919 + board_id * 104729) % 1000003) << 40"
        )
        database.db.execute(
            "INSERT INTO kaggle.participants SELECT 'USER' || n FROM generate_series(1, %s) n", (registered,)
        )
        database.db.execute("VACUUM ANALYZE")
        board = "SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = 'board-1' ORDER BY rank"
        over = f"over {boards} competitions of {teams:,} teams"
        for what, query, limit in (
            (f"ratings of {registered} people {over}", "SELECT * FROM kaggle.ratings()", 2_000),
            ("… how one of them came about", "SELECT * FROM kaggle.rating_history('user7')", 2_000),
            ("… the season's standing", "SELECT * FROM kaggle.season_standings(NULL, NULL)", None),
            (
                "… what one of them earned",
                "SELECT * FROM kaggle.participant_points WHERE kaggle_username = 'USER7'",
                None,
            ),
        ):
            yield _compared(database, 24, what, query, board, None, limit)


def _beside(
    made: History, row: int, work: str, query: str, limit: float | None, milliseconds: float | None = None
) -> Figure:
    board = f"SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = '{made.slug}' ORDER BY rank"
    return _compared(made.database, row, work, query, board, limit, milliseconds)


def _compared(
    database: Database, row: int, work: str, query: str, board: str, limit: float | None, milliseconds: float | None
) -> Figure:
    """A query beside the reading of the board now. limit: how many times as long it may take."""
    ours, floor = in_turns(
        9,
        lambda: seconds(lambda: database.db.execute(query.encode()).fetchall()),
        lambda: seconds(lambda: database.db.execute(board.encode()).fetchall()),
        warm_up=1,
    )
    mine, least = median(ours), median(floor)
    target, met = "reported", None
    if limit is not None:
        target, met = f"≤ {limit:g} ×", mine / least <= limit
    elif milliseconds is not None:
        target, met = f"≤ {milliseconds:,g} ms", mine * 1000 <= milliseconds
    samples = {"ours": ours, "floor": floor}
    return Figure(row, work, "the board now", ms(mine), ms(least), mine / least, target, met, samples)
