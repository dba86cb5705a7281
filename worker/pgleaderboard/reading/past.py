"""What a board was at any moment, and who moved."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgleaderboard.database.connect import Connection, rows


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
