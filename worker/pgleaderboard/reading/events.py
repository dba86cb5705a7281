"""The standing of an event."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgleaderboard.database.connect import Connection, row, rows
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.names import known_event, nearest


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


@dataclass(frozen=True)
class Explanation:
    """Why somebody stands where. person: the row of kaggle.event_standings. shown_at, at: as of Standing.

    results: rows of kaggle.event_results. missing: the competitions not entered, each with whether it has a board.
    """

    slug: str
    title: str
    at: datetime
    shown_at: datetime | None
    person: Any
    results: Sequence[Any]
    missing: Sequence[tuple[str, bool]]


def explanation(connection: Connection, event: str, name: str, at: datetime | None) -> Explanation:
    """Why somebody stands where in an event. name: a username or a display name, capitals do not matter.

    Raises NeedsPerson where nobody of that name is ranked.
    """
    with snapshot(connection):
        whole = standing(connection, event, at, None)
        wanted = name.removeprefix("@").lower()
        people = [
            place
            for place in whole.places
            if wanted in (place.kaggle_username.lower(), (place.display_name or "").lower())
        ]
        if not people:
            known = [n for place in whole.places for n in (place.kaggle_username, place.display_name) if n]
            raise NeedsPerson(
                f"nobody called {name!r} is ranked in {whole.slug}: {nearest(name, known) or 'register them'}"
            )
        results = rows(
            connection,
            """
            SELECT kaggle_competition_id, board, team_name, place, teams, score, last_submission_at, observed_at,
                   counted_by, weight, points
            FROM kaggle.event_results_as_of(%s, coalesce(%s::timestamptz, 'infinity'))
            WHERE lower(kaggle_username COLLATE "C") = %s ORDER BY points DESC, kaggle_competition_id
            """,
            whole.slug,
            whole.shown_at,
            people[0].kaggle_username.lower(),
        )
        entered = [result.kaggle_competition_id.lower() for result in results]
        missing = rows(
            connection,
            """
            SELECT coalesce(c.kaggle_competition_id, c.title),
                   EXISTS (SELECT FROM kaggle.boards b WHERE b.competition_id = c.id AND b.observed_from IS NOT NULL)
            FROM kaggle.competitions c
            WHERE c.id = ANY (%s) AND NOT lower(coalesce(c.kaggle_competition_id, '') COLLATE "C") = ANY (%s) ORDER BY 1
            """,
            list(whole.competition_ids),
            entered,
        )
    return Explanation(whole.slug, whole.title, whole.at, whole.shown_at, people[0], results, missing)


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
