"""The standing of an event."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from pgleaderboard.database.connect import Connection, column, row, rows
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.names import known_event, nearest
from pgleaderboard.reading.syncs import WHY_NOT_CURRENT


@dataclass(frozen=True)
class Shown:
    """What is shown of an event. at: the moment that was asked for, None = what readers see. now: the database's clock.

    state, as_of: as in kaggle.event_states. end_date, freeze_at: those that lie ahead, else None.
    page_frozen_at: the moment behind which the page shows nothing of its competitions, None without a freeze.
    changed: the competitions whose board has changed since the standing was final.
    late: why the boards of competitions are not current, by competition; of a live standing.
    """

    slug: str
    title: str
    status: str
    now: datetime
    at: datetime | None
    state: str
    as_of: datetime | None
    end_date: datetime | None
    freeze_at: datetime | None
    page_frozen_at: datetime | None
    changed: Sequence[str]
    late: Sequence[tuple[str, str]]
    competition_ids: Collection[int]


@dataclass(frozen=True)
class Standing:
    """An event's standing. places: rows of kaggle.event_standings."""

    event: Shown
    places: Sequence[Any]


@dataclass(frozen=True)
class Explanation:
    """Why somebody stands where. person: the row of kaggle.event_standings.

    results: rows of kaggle.event_results. missing: the competitions not entered, each with whether it has a board.
    """

    event: Shown
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
        people = [place for place in whole.places if place.kaggle_username.lower() == wanted] or [
            place for place in whole.places if wanted and (place.display_name or "").lower() == wanted
        ]
        if len(people) > 1:
            called = " and ".join(place.kaggle_username for place in people)
            raise NeedsPerson(f"{name!r} is the name of {called}: use a username")
        if not people:
            raise NeedsPerson(_why_not_ranked(connection, whole, name, wanted))
        results = _results(connection, whole.event.slug, at, people[0].kaggle_username.lower())
        missing = rows(
            connection,
            """
            SELECT coalesce(c.kaggle_competition_id, c.title),
                   EXISTS (SELECT FROM kaggle.boards b WHERE b.competition_id = c.id AND b.observed_from IS NOT NULL)
            FROM kaggle.competitions c
            WHERE c.id = ANY (%s) AND NOT c.id = ANY (%s) ORDER BY 1
            """,
            list(whole.event.competition_ids),
            [result.competition_id for result in results],
        )
    return Explanation(whole.event, people[0], results, missing)


def _why_not_ranked(connection: Connection, whole: Standing, name: str, wanted: str) -> str:
    slug = whole.event.slug
    listed = rows(
        connection,
        """
        SELECT r.kaggle_username, p.display_name, r.excluded
        FROM kaggle.event_participants r JOIN kaggle.events e ON e.id = r.event_id
        LEFT JOIN kaggle.participants p ON lower(p.kaggle_username COLLATE "C") = lower(r.kaggle_username COLLATE "C")
        WHERE e.slug = %s
        """,
        slug,
    )
    for person in listed:
        if (
            person.excluded
            and wanted
            and wanted in (person.kaggle_username.lower(), (person.display_name or "").lower())
        ):
            return f"{person.kaggle_username} takes no part in {slug}"
    if all(person.excluded for person in listed):
        members = column(
            connection,
            """
            SELECT m FROM kaggle.leaderboard l CROSS JOIN unnest(l.member_usernames) AS m
            WHERE l.competition_id = ANY (%s) AND lower(m COLLATE "C") = %s LIMIT 1
            """,
            list(whole.event.competition_ids),
            wanted,
        )
        if members:
            return f"{members[0]} has no score yet in {slug}"
    known = [n for place in whole.places for n in (place.kaggle_username, place.display_name) if n]
    return f"nobody called {name!r} is ranked in {slug}: {nearest(name, known) or 'register them'}"


def standing(connection: Connection, event: str, at: datetime | None, top: int | None) -> Standing:
    """An event's standing as readers see it, or as it was known at a moment.

    Raises NeedsPerson where what readers see was pruned.
    """
    with snapshot(connection):
        event_id, slug = known_event(connection, event)
        known = row(
            connection,
            """
            SELECT e.title, e.status, clock_timestamp() AS now,
                   CASE WHEN %(at)s::timestamptz IS NULL THEN s.state
                        WHEN e.end_date <= least(%(at)s, now()) THEN 'provisional' ELSE 'live' END AS state,
                   CASE WHEN %(at)s IS NULL THEN s.as_of END AS as_of,
                   CASE WHEN e.end_date > now() THEN e.end_date END AS end_date,
                   CASE WHEN e.frozen_at > now() THEN e.frozen_at END AS freeze_at,
                   (SELECT min(f.frozen_at) FROM kaggle.events f
                    JOIN kaggle.event_competitions x ON x.event_id = f.id
                    JOIN kaggle.event_competitions y ON y.competition_id = x.competition_id
                    WHERE y.event_id = e.id AND f.frozen_at <= now() AND %(at)s IS NULL) AS page_frozen_at,
                   CASE WHEN %(at)s IS NULL THEN s.problem END AS problem,
                   coalesce(s.changed_since_final, '{}') AS changed,
                   ARRAY(SELECT competition_id FROM kaggle.event_competitions WHERE event_id = e.id) AS competition_ids
            FROM kaggle.events e JOIN kaggle.event_states s ON s.event_id = e.id WHERE e.id = %(event_id)s
            """,
            event_id=event_id,
            at=at,
        )._asdict()
        if problem := known.pop("problem"):
            raise NeedsPerson(problem)
        columns: LiteralString = (
            "place, kaggle_username, display_name, is_registered, points, competitions_entered, last_submission_at"
        )
        if at is None:
            places = rows(
                connection,
                f"SELECT {columns} FROM kaggle.event_standings WHERE event_id = %s ORDER BY place, "
                'lower(kaggle_username COLLATE "C") LIMIT %s',
                event_id,
                top,
            )
        else:
            places = rows(
                connection, f"SELECT {columns} FROM kaggle.event_standings_as_of(%s, %s) LIMIT %s", slug, at, top
            )
        late = []
        if known["state"] == "live" and at is None:
            late = rows(
                connection,
                f"SELECT kaggle_competition_id, {WHY_NOT_CURRENT} "
                "FROM kaggle.sync_status WHERE is_late AND competition_id = ANY (%s) ORDER BY 1",
                list(known["competition_ids"]),
            )
    return Standing(Shown(slug=slug, at=at, late=late, **known), places)


def standing_with_results(
    connection: Connection, event: str, at: datetime | None
) -> tuple[Standing, dict[str, list[Any]]]:
    """An event's standing, and rows of kaggle.event_results by username. Raises as `standing` does."""
    with snapshot(connection):
        whole = standing(connection, event, at, None)
        by_name: dict[str, list[Any]] = {}
        for result in _results(connection, whole.event.slug, at, None):
            by_name.setdefault(result.kaggle_username, []).append(result)
    return whole, by_name


def _results(connection: Connection, slug: str, at: datetime | None, name: str | None) -> list[Any]:
    """What people earned in each competition, the most first. name: of one person, in lower case."""
    return rows(
        connection,
        """
        SELECT kaggle_username, competition_id, kaggle_competition_id, board, team_id, team_name, place, teams, score,
               last_submission_at, observed_at, counted_by, weight, points
        FROM (SELECT * FROM kaggle.event_results WHERE event_slug = %(slug)s AND %(at)s::timestamptz IS NULL
              UNION ALL
              SELECT * FROM kaggle.event_results_as_of(%(slug)s, %(at)s::timestamptz)
              WHERE %(at)s::timestamptz IS NOT NULL) r
        WHERE %(name)s::text IS NULL OR lower(kaggle_username COLLATE "C") = %(name)s
        ORDER BY points DESC, kaggle_competition_id
        """,
        slug=slug,
        at=at,
        name=name,
    )
