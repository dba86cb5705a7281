"""What a board was at any moment, and who moved."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from pgleaderboard.database.connect import Connection, column, rows


@dataclass(frozen=True, eq=False)
class Timeline:
    """The boards that a slug showed, one after another. Two are equal if they are the same one.

    runs: rows of kaggle.board_runs.
    """

    runs: Sequence[Any]

    @property
    def has_private(self) -> bool:
        """Whether the last board is the private one."""
        return bool(self.runs) and self.runs[-1].board == "private"

    def step_of(self, run_id: int) -> int | None:
        """The step of a run, from 0; None where its board is not kept, or was never shown."""
        return next((step for step, run in enumerate(self.runs) if run.run_id == run_id), None)

    def step_at(self, at: datetime) -> int | None:
        """The step that held at a moment; None before the first one."""
        return bisect_right(self.runs, at, key=lambda run: run.at) - 1 if self.runs and self.runs[0].at <= at else None


def timeline(connection: Connection, slug: str, until: datetime | None) -> Timeline:
    """The boards that a slug showed. until: nothing newer is told."""
    return Timeline(
        rows(
            connection,
            "SELECT run_id, at, board, teams FROM kaggle.board_runs(%s) "
            "WHERE at <= coalesce(%s::timestamptz, 'infinity')",
            slug,
            until,
        )
    )


def movers(connection: Connection, slug: str, since: datetime, until: datetime | None) -> Sequence[Any]:
    """Whose rank at a moment, or now, is another than before: rows of kaggle.movers."""
    return rows(
        connection,
        "SELECT * FROM kaggle.movers(%s, %s::timestamptz, %s::timestamptz)",
        slug,
        since,
        until,
    )


def shakeup(connection: Connection, slug: str, until: datetime | None) -> Sequence[Any]:
    """Each team's last public and its private rank: rows of kaggle.shakeup. until: no newer private board is told."""
    return rows(
        connection,
        """
        SELECT coalesce(s.team_id, n.team_id) AS team_id, coalesce(n.team_name, s.team_name) AS team_name,
               s.public_rank, n.rank AS private_rank, s.public_rank - n.rank AS places_climbed, s.public_score,
               n.score AS private_score
        FROM kaggle.shakeup(%(slug)s) s
        FULL JOIN (SELECT * FROM kaggle.leaderboard_as_of(%(slug)s, coalesce(%(until)s::timestamptz, 'infinity')) l
                   WHERE NOT l.is_benchmark) n ON n.team_id = s.team_id
        WHERE s.public_rank IS NOT NULL OR n.rank IS NOT NULL
        ORDER BY n.rank NULLS LAST, s.public_rank
        """,
        slug=slug,
        until=until,
    )


@dataclass(frozen=True)
class Shaken:
    """How much the private board shook the public one up. teams: of the private board.

    moved: the public and the private rank of each team that is on both boards. mean: how far a team moved, the mean of
    |public - private| as a share of the teams. top: the same of the first tenth of the private board. Both are None
    where no team is on both boards.
    """

    teams: int
    moved: Sequence[tuple[int, int]]

    @property
    def mean(self) -> float | None:
        """Of all teams."""
        return self._mean(self.moved)

    @property
    def top(self) -> float | None:
        """Of the first tenth, rounded up."""
        return self._mean([ranks for ranks in self.moved if ranks[1] <= -(-self.teams // 10)])

    def _mean(self, moved: Sequence[tuple[int, int]]) -> float | None:
        return fmean(abs(public - private) for public, private in moved) / self.teams if moved else None


def shaken(found: Sequence[Any]) -> Shaken:
    """Rows of `shakeup` in numbers."""
    private = [row for row in found if row.private_rank is not None]
    return Shaken(len(private), [(r.public_rank, r.private_rank) for r in private if r.public_rank is not None])


def medals_of(connection: Connection, slug: str, ranks: Sequence[int], teams: int) -> Sequence[str | None]:
    """The medal of each of some ranks among so many teams; None without one."""
    return column(
        connection,
        """
        SELECT kaggle.medal(r.rank, %s, c.category)
        FROM kaggle.competitions c, unnest(%s::bigint[]) WITH ORDINALITY r (rank, nth)
        WHERE c.kaggle_competition_id = %s ORDER BY r.nth
        """,
        teams,
        list(ranks),
        slug,
    )


def medal_scores(connection: Connection, slug: str, at_most: int) -> Sequence[Any]:
    """The last place in each medal zone through time: rows of at, medal, team_id (null), rank and score, in that order.

    at_most: of more boards than that, some at equal distances are looked at, the last one among them.
    Empty in a category without medals, and before the first sync.
    """
    return rows(
        connection,
        """
        WITH run AS MATERIALIZED (
            SELECT r.at FROM (SELECT b.at, row_number() OVER (ORDER BY b.at DESC) - 1 AS nth, count(*) OVER () AS runs
                              FROM kaggle.board_runs(%(slug)s) b) r
            WHERE r.nth %% (1 + (r.runs - 1) / %(at_most)s) = 0
        )
        SELECT DISTINCT ON (r.at, m.medal) r.at, m.medal, NULL::bigint AS team_id, b.rank, b.score
        FROM run r
        CROSS JOIN LATERAL (SELECT l.*, count(l.rank) OVER () AS teams
                            FROM kaggle.leaderboard_as_of(%(slug)s, r.at) l) b
        JOIN kaggle.competitions c ON c.id = b.competition_id
        CROSS JOIN LATERAL (SELECT kaggle.medal(b.rank, b.teams, c.category) AS medal) m
        WHERE m.medal IS NOT NULL
        ORDER BY r.at, m.medal, b.rank DESC
        """,
        slug=slug,
        at_most=at_most,
    )
