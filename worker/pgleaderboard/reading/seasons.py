"""Who earned most in a span of time, and how strong everybody is, over all completed competitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from pgleaderboard.database.connect import Connection, rows, value
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.catalog import freezes


@dataclass(frozen=True, eq=False)
class Season:
    """The standing of a season. Two are equal if they are the same one.

    best: how many competitions of each person count, None = all. held: as `held_from`, where that lies in the season.
    places: rows of kaggle.season_standings.
    """

    since: datetime
    until: datetime
    best: int | None
    held: datetime | None
    places: Sequence[Any]

    @property
    def name(self) -> str:
        """A year, or from when until when, in UTC."""
        if (self.since, self.until) == year(self.since.year):
            return str(self.since.year)
        ends = [at.astimezone(UTC) for at in (self.since, self.until)]
        are_days = all(at.time() == time.min for at in ends)
        since, until = (f"{at:%Y-%m-%d}" if are_days else f"{at:%Y-%m-%d %H:%M}" for at in ends)
        return f"from {since} until {until}"


@dataclass(frozen=True, eq=False)
class Ratings:
    """The ratings at a moment. Two are equal if they are the same one.

    held: as `held_from`, where that is not later than the moment. places: rows of kaggle.ratings.
    """

    at: datetime
    held: datetime | None
    places: Sequence[Any]


def year(number: int) -> tuple[datetime, datetime]:
    """Begin and end of a year in UTC, the end not included."""
    return datetime(number, 1, 1, tzinfo=UTC), datetime(number + 1, 1, 1, tzinfo=UTC)


def season(
    connection: Connection, since: datetime, until: datetime, best: int | None, *, top: int | None, is_page: bool
) -> Season:
    """Who earned most in the competitions that ended in [since, until). top: the first N.

    is_page: nothing counts of what a freeze holds.
    """
    with snapshot(connection):
        held = held_from(connection) if is_page else None
        places = rows(
            connection,
            "SELECT * FROM kaggle.season_standings(%s, least(%s, %s::timestamptz), %s) LIMIT %s::bigint",
            since,
            until,
            held,
            best,
            top,
        )
    return Season(since, until, best, held if held and held < until else None, places)


def ratings(
    connection: Connection, at: datetime | None, *, k: float, start: float, top: int | None, is_page: bool
) -> Ratings:
    """The ratings at a moment, None = now. top: the first N. is_page: nothing counts of what a freeze holds."""
    with snapshot(connection):
        moment: datetime = at or value(connection, "SELECT statement_timestamp()")
        held = held_from(connection) if is_page else None
        places = rows(
            connection,
            "SELECT * FROM kaggle.ratings("
            "least(%s, %s::timestamptz - interval '1 microsecond'), %s::numeric, %s::numeric) "
            "WHERE place <= coalesce(%s::bigint, place)",
            moment,
            held,
            k,
            start,
            top,
        )
    return Ratings(moment, held if held and held <= moment else None, places)


def held_from(connection: Connection) -> datetime | None:
    """The end of the first completed competition with registered people that a freeze holds; None where there is none.

    What ended later would tell of it: each rating rests on those before.
    """
    held: datetime | None = value(
        connection,
        "SELECT min(ended_at) FROM kaggle.participant_points WHERE competition_id = ANY (%s)",
        list(freezes(connection)),
    )
    return held
