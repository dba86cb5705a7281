"""Row 11: what people read, among 1,000 competitions with 2,000,000 entries, beside a table that stores the rank."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.report import Figure, ms, within
from tests.bench.sync import growth
from tests.bench.timing import in_turns, median, seconds
from tests.bench.world import Database, World

STORED = """
CREATE TABLE stored AS SELECT * FROM kaggle.leaderboard WHERE false;
INSERT INTO stored SELECT * FROM kaggle.leaderboard ORDER BY competition_id, rank;
CREATE INDEX ON stored (kaggle_competition_id, rank);
VACUUM ANALYZE stored;
"""
FILL = """
INSERT INTO kaggle.leaderboard_entries (board_id, team_id, order_key, valid_from, first_seen_at,
    last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
SELECT b.id, n, ((n * 7919) %% 1000003) << 40, now(), now(), now(), 1 + n %% 50, n = 0,
       round((1 - n::numeric / 1000000), 5), 'team ' || n, ARRAY['user' || n]
FROM kaggle.boards b CROSS JOIN LATERAL generate_series(0, b.teams) n
ORDER BY b.id, (n * 7919) %% 1000003
"""


def reading(world: World) -> Iterator[Figure]:
    """Row 11."""
    sizes = [world.scale.of(1_744, 200), world.scale.of(15_000, 1_000), world.scale.of(100_000, 5_000)]
    competitions = world.scale.of(1_000, 40)
    entries = world.scale.of(2_000_000, 20_000)
    rest = (entries - sum(sizes)) // (competitions - len(sizes))
    trials = world.scale.of(15, 5)
    with world.database() as database:
        fill(database, [*sizes, *[rest] * (competitions - len(sizes))])
        taken = []
        for number, size in enumerate(sizes, 1):
            slug = f"board-{number}"
            query = f"SELECT * FROM {{}} WHERE kaggle_competition_id = '{slug}'"
            ours, stored = _compare(database, f"{query} ORDER BY rank", trials)
            taken.append(median(ours))
            if size != sizes[1]:
                continue
            for name, words, limit in (
                ("rank <= 10", "AND rank <= 10", 2),
                ("ORDER BY rank LIMIT 10", "ORDER BY rank LIMIT 10", 3),
            ):
                top, floor = _compare(database, f"{query} {words}", 2 * trials)
                yield _beside(f"{name}, of {size:,} teams", top, floor, limit)
            yield _beside(f"whole board of {size:,}", ours, stored, 3)
            ranks = _team_rank(database, slug, size // 2, 2 * trials)
            yield within(11, f"team_rank among {size:,}", median(ranks) * 1000, 5, "ms", ours=ranks)
    yield growth(11, "reading a whole board", sizes, taken)


def fill(database: Database, teams: list[int]) -> None:
    """A competition for each number, with a board of so many teams."""
    db = database.db
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync)"
        " SELECT 'board-' || n, false FROM generate_series(1, %s) n ORDER BY n",
        (len(teams),),
    )
    db.execute(
        "INSERT INTO kaggle.boards (competition_id, slug, kind, higher_is_better, teams, digest, observed_at)"
        " SELECT c.id, c.kaggle_competition_id, 'public', true, t.teams, '\\x00', clock_timestamp()"
        " FROM unnest(%s::bigint[]) WITH ORDINALITY t (teams, n)"
        " JOIN kaggle.competitions c ON c.kaggle_competition_id = 'board-' || t.n",
        (teams,),
    )
    db.execute(FILL.replace("%%", "%").encode())
    db.execute("VACUUM ANALYZE")
    for statement in STORED.strip().split(";\n"):
        db.execute(statement.encode())


def _compare(database: Database, query: str, trials: int) -> tuple[list[float], list[float]]:
    ours, floor = in_turns(
        trials,
        lambda: _read(database, query.format("kaggle.leaderboard")),
        lambda: _read(database, query.format("stored")),
        warm_up=2,
    )
    return ours, floor


def _team_rank(database: Database, slug: str, team_id: int, trials: int) -> list[float]:
    (ranks,) = in_turns(trials, lambda: _read(database, "SELECT kaggle.team_rank(%s, %s)", slug, team_id))
    return ranks


def _read(database: Database, query: str, *values: object) -> float:
    return seconds(lambda: database.db.execute(query.encode(), values or None).fetchall())


def _beside(work: str, ours: list[float], floor: list[float], limit: float) -> Figure:
    mine, least = median(ours), median(floor)
    ratio = mine / least
    against = "a stored rank with an index"
    samples = {"ours": ours, "floor": floor}
    return Figure(11, work, against, ms(mine), ms(least), ratio, f"≤ {limit:g} ×", ratio <= limit, samples)
