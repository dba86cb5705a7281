"""Registered people: where each of them stands, what it earned, and what it did to the rating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgleaderboard.database.connect import Connection, rows
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.catalog import freezes
from pgleaderboard.reading.names import nearest, trimmed, usernames
from pgleaderboard.reading.seasons import held_from


@dataclass(frozen=True, eq=False)
class Person:
    """A participant. Two are equal if they are the same one.

    rating: after the last step, None without one. results: where they stand, what goes on first, then the latest end.
    Points and the step of the rating are None where a competition is not completed. held: as `seasons.held_from`; None
    for readers of SQL.
    """

    username: str
    display_name: str | None
    rating: float | None
    results: Sequence[Any]
    held: datetime | None


def anybody(connection: Connection, name: str) -> Person:
    """A participant on all boards, as readers of SQL see them. Raises NeedsPerson with the nearest name."""
    with snapshot(connection):
        competitions = dict(
            rows(
                connection,
                "SELECT id, kaggle_competition_id FROM kaggle.competitions WHERE kaggle_competition_id IS NOT NULL",
            )
        )
        found = person(connection, trimmed(name).removeprefix("@"), competitions, is_page=False)
    if isinstance(found, Person):
        return found
    hint = nearest(name, found) or "follow them with `pgleaderboard participants add`"
    raise NeedsPerson(f"nobody called {name!r} is registered: {hint}")


def person(
    connection: Connection, name: str, competitions: Mapping[int, str], *, is_page: bool = True, is_rated: bool = True
) -> Person | Sequence[str]:
    """A participant of a name in any capitals; all usernames where there is none.

    competitions: the slugs of those to look at, by id. is_page: each as of its freeze, and no step of the rating that
    tells of what is behind one. is_rated: with the rating.
    """
    with snapshot(connection):
        found = rows(
            connection,
            "SELECT kaggle_username, display_name FROM kaggle.participants "
            'WHERE lower(kaggle_username COLLATE "C") = lower(%s COLLATE "C")',
            name,
        )
        if not found:
            return usernames(connection)
        before = held_from(connection) if is_page else None
        held = {competitions[id_]: at for id_, at in freezes(connection).items() if is_page and id_ in competitions}
        results = rows(
            connection,
            """
            SELECT r.competition_id, r.kaggle_competition_id, r.board, r.rank, r.teams, r.medal_zone AS medal, r.score,
                   r.team_id, r.team_name, r.synced_at, r.ended_at, p.points, h.place, h.teams AS rated_teams,
                   h.expected_place, h.rating_before, h.change, h.rating
            FROM kaggle.participant_results r
            LEFT JOIN kaggle.participant_points p
                ON p.kaggle_username = r.kaggle_username AND p.competition_id = r.competition_id
                   AND p.team_id = r.team_id
            LEFT JOIN (SELECT * FROM kaggle.rating_history(%(name)s)
                       WHERE %(is_rated)s AND (ended_at >= %(before)s::timestamptz) IS NOT TRUE) h
                ON h.competition_id = p.competition_id
            WHERE r.kaggle_username = %(name)s AND r.kaggle_competition_id = ANY (%(now)s)
            UNION ALL
            SELECT c.id, f.slug, l.board, l.rank, l.teams, kaggle.medal(l.rank, l.teams, c.category), l.score,
                   l.team_id, l.team_name, l.synced_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
            FROM unnest(%(held)s::text[], %(at)s::timestamptz[]) f (slug, at)
            JOIN kaggle.competitions c ON c.kaggle_competition_id = f.slug
            CROSS JOIN LATERAL (SELECT *, count(a.rank) OVER () AS teams
                                FROM kaggle.leaderboard_as_of(f.slug, f.at) a) l
            WHERE NOT l.is_benchmark
              AND EXISTS (SELECT FROM unnest(l.member_usernames) m (name)
                          WHERE lower(m.name COLLATE "C") = lower(%(name)s COLLATE "C"))
            ORDER BY ended_at DESC NULLS FIRST, rank, kaggle_competition_id
            """,
            name=found[0].kaggle_username,
            now=[slug for slug in competitions.values() if slug not in held],
            held=list(held),
            at=list(held.values()),
            is_rated=is_rated,
            before=before,
        )
    last = max((r for r in results if r.rating is not None), key=lambda r: (r.ended_at, r.competition_id), default=None)
    return Person(found[0].kaggle_username, found[0].display_name, last.rating if last else None, results, before)
