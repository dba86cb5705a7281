"""A board with a long past, written straight into the tables: what takes the worker months takes seconds here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
EVERY = timedelta(hours=1)


@dataclass(frozen=True)
class LongPast:
    """A board that was synced `syncs` times, an hour apart; at each but the first `changes` of its teams changed."""

    slug: str
    teams: int
    syncs: int
    changes: int
    board_id: int

    def at(self, number: int) -> datetime:
        """The moment of a sync, counted from 0."""
        return STARTED + number * EVERY


def write_long_past(
    db: psycopg.Connection[Any], slug: str, *, teams: int = 5000, syncs: int = 1000, changes: int = 10
) -> LongPast:
    """Write a competition with its board, its history and its runs, as as many syncs would have left them.

    db: a connection in autocommit. changes: how many teams get another place and score at each sync, or leave (one
    change in 50; such a team is back at its next change); `teams` = every score moves at every sync.
    The same arguments give the same past. Ends with ANALYZE of the tables.
    """
    values = {"slug": slug, "teams": teams, "syncs": syncs, "changes": changes, "started": STARTED, "every": EVERY}
    with db.transaction():
        row = db.execute(
            """
            WITH competition AS (
                INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES (%(slug)s, false) RETURNING id
            )
            INSERT INTO kaggle.boards (competition_id, slug, kind, higher_is_better, digest, observed_from, observed_at)
            SELECT id, %(slug)s, 'public', true, '\\x00', %(started)s, %(started)s + (%(syncs)s - 1) * %(every)s
            FROM competition RETURNING id
            """,
            values,
        ).fetchone()
        assert row is not None
        values["board"] = row[0]
        # Each version has a random place; the score follows from it. Every seventh team has three members.
        db.execute(
            """
            CREATE TEMPORARY TABLE version ON COMMIT DROP AS
            WITH moment AS (
                SELECT 0 AS nth, team FROM generate_series(1, %(teams)s) team
                UNION
                SELECT nth, CASE WHEN %(changes)s >= %(teams)s THEN change
                                 ELSE 1 + abs(hashtextextended(nth || '-' || change, 1)) %% %(teams)s END
                FROM generate_series(1, %(syncs)s - 1) nth, generate_series(1, %(changes)s) change
            ), life AS (
                SELECT team, nth, lead(nth) OVER (PARTITION BY team ORDER BY nth) AS until,
                       hashtextextended(team || ' at ' || nth, 2) AS random
                FROM moment
            )
            SELECT team, nth, until, random >> 2 AS order_key,
                   round(0.5 - (random >> 2)::numeric / (2::numeric ^ 62), 5) AS score,
                   %(started)s::timestamptz + nth * %(every)s::interval AS valid_from,
                   %(started)s::timestamptz + until * %(every)s::interval AS valid_until,
                   CASE WHEN team %% 7 = 0 THEN ARRAY['User' || team, 'Second' || team, 'Third' || team]
                        ELSE ARRAY['User' || team] END AS members
            FROM life WHERE nth = 0 OR random %% 50 <> 0
            """,
            values,
        )
        db.execute(
            """
            INSERT INTO kaggle.leaderboard_history (board_id, team_id, order_key, valid_from, valid_until,
                first_seen_at, last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
            SELECT %(board)s, team, order_key, valid_from, valid_until, %(started)s, valid_from, nth, team = 1, score,
                   'team ' || team, members
            FROM version WHERE valid_until IS NOT NULL ORDER BY valid_until, order_key
            """,
            values,
        )
        db.execute(
            """
            INSERT INTO kaggle.leaderboard_entries (board_id, team_id, order_key, valid_from, first_seen_at,
                last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
            SELECT %(board)s, team, order_key, valid_from, %(started)s, valid_from, nth, team = 1, score,
                   'team ' || team, members
            FROM version WHERE valid_until IS NULL ORDER BY order_key
            """,
            values,
        )
        db.execute(
            """
            WITH change AS (
                SELECT nth, 1 AS came, team <> 1 AS ranked FROM version
                UNION ALL SELECT until, -1, team <> 1 FROM version WHERE until IS NOT NULL
            ), run AS (
                SELECT nth, sum(sum(came) FILTER (WHERE ranked)) OVER (ORDER BY nth) AS there,
                       count(*) FILTER (WHERE came = 1) AS written
                FROM change GROUP BY nth
            )
            INSERT INTO kaggle.sync_runs (id, competition_id, reason, observed_at, started_at, finished_at, outcome,
                board, teams, added, removed, updated, moved, board_id)
            SELECT nextval('kaggle_internal.run_ids'), b.competition_id, 'scheduled', moment, moment, moment, 'changed',
                   'public', there, CASE WHEN nth = 0 THEN written ELSE 0 END, 0,
                   CASE WHEN nth = 0 THEN 0 ELSE written END, 0, b.id
            FROM run CROSS JOIN LATERAL (SELECT %(started)s::timestamptz + nth * %(every)s::interval AS moment) m
            JOIN kaggle.boards b ON b.id = %(board)s ORDER BY nth
            """,
            values,
        )
        db.execute(
            "UPDATE kaggle.boards SET teams = (SELECT count(*) FROM version WHERE until IS NULL AND team <> 1) "
            "WHERE id = %(board)s",
            values,
        )
    db.execute("VACUUM ANALYZE kaggle.leaderboard_history, kaggle.leaderboard_entries, kaggle.sync_runs, kaggle.boards")
    return LongPast(slug, teams, syncs, changes, row[0])
