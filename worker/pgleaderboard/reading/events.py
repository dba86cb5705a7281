"""The standing of an event."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgleaderboard.database.connect import Connection, row, rows
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.names import known_event


@dataclass(frozen=True)
class Standing:
    """An event's standing. shown_at: the moment of the boards, None = now. at: the database's clock.

    places: rows of kaggle.event_standings.
    """

    slug: str
    title: str
    status: str
    at: datetime
    shown_at: datetime | None
    end_date: datetime | None
    competition_ids: Collection[int]
    places: Sequence[Any]


def standing(connection: Connection, event: str, at: datetime | None, top: int | None) -> Standing:
    """An event's standing as readers see it (as of frozen_at, or of its end), or at a moment."""
    with snapshot(connection):
        event_id, slug = known_event(connection, event)
        shown = row(
            connection,
            """
            SELECT e.slug, e.title, e.status, clock_timestamp() AS at,
                   coalesce(%s::timestamptz, e.frozen_at, CASE WHEN e.end_date <= now() THEN e.end_date END)
                       AS shown_at, e.end_date,
                   ARRAY(SELECT competition_id FROM kaggle.event_competitions WHERE event_id = e.id) AS competition_ids
            FROM kaggle.events e WHERE e.id = %s
            """,
            at,
            event_id,
        )
        # For a pruned moment the view is empty; the function names the board.
        places = rows(
            connection,
            """
            SELECT place, kaggle_username, display_name, is_registered, points, competitions_entered, last_submission_at
            FROM kaggle.event_standings_as_of(%s, coalesce(%s::timestamptz, 'infinity')) LIMIT %s
            """,
            slug,
            shown.shown_at,
            top,
        )
    return Standing(**shown._asdict(), places=places)
