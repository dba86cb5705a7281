"""The standing of an event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import LiteralString

from pgleaderboard.database.connect import Connection, objects, row
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.names import known_event

_OF_A_PLACE: LiteralString = (
    "SELECT place, kaggle_username, display_name, is_registered, points, competitions_entered, last_submission_at FROM "
)


@dataclass(frozen=True)
class Place:
    """A row of an event's standing."""

    place: int
    kaggle_username: str
    display_name: str | None
    is_registered: bool
    points: Decimal
    competitions_entered: int
    last_submission_at: datetime | None


@dataclass(frozen=True)
class Standing:
    """An event's standing. shown_at: the moment of the boards, None = now. at: the database's clock."""

    slug: str
    title: str
    status: str
    at: datetime
    shown_at: datetime | None
    end_date: datetime | None
    competition_ids: frozenset[int]
    places: Sequence[Place]


def standing(connection: Connection, event: str, at: datetime | None, top: int | None) -> Standing:
    """An event's standing as readers see it (as of frozen_at, or of its end), or at a moment."""
    with snapshot(connection):
        event_id, slug = known_event(connection, event)
        shown = row(
            connection,
            """
            SELECT e.title, e.status, clock_timestamp() AS now, e.end_date,
                   coalesce(%s::timestamptz, e.frozen_at, CASE WHEN e.end_date <= now() THEN e.end_date END) AS at,
                   ARRAY(SELECT c.competition_id FROM kaggle.event_competitions c WHERE c.event_id = e.id) AS counting
            FROM kaggle.events e WHERE e.id = %s
            """,
            at,
            event_id,
        )
        # For a pruned moment the view is empty; the function names the board.
        places = objects(
            connection,
            Place,
            _OF_A_PLACE + "kaggle.event_standings_as_of(%s, coalesce(%s::timestamptz, 'infinity'))",
            slug,
            shown.at,
        )
    return Standing(
        slug, shown.title, shown.status, shown.now, shown.at, shown.end_date, frozenset(shown.counting), places[:top]
    )
