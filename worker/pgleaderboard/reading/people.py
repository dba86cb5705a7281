"""Registered people, and where each of them stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgleaderboard.database.connect import Connection, column, rows
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.catalog import freezes


@dataclass(frozen=True, eq=False)
class Person:
    """A participant. results: where they stand, in the order of rank. Two are equal if they are the same one."""

    username: str
    display_name: str | None
    results: Sequence[Any]


def person(connection: Connection, name: str, competitions: Mapping[int, str]) -> Person | Sequence[str]:
    """A participant of a name in any capitals; all usernames where there is none.

    competitions: the slugs of those to look at, by id; each as of its freeze.
    """
    with snapshot(connection):
        found = rows(
            connection,
            "SELECT kaggle_username, display_name FROM kaggle.participants "
            'WHERE lower(kaggle_username COLLATE "C") = lower(%s COLLATE "C")',
            name,
        )
        if not found:
            return column(connection, "SELECT kaggle_username FROM kaggle.participants ORDER BY 1")
        held = {competitions[id_]: at for id_, at in freezes(connection).items() if id_ in competitions}
        results = rows(
            connection,
            """
            SELECT kaggle_competition_id, board, rank, teams, medal_zone AS medal, score, team_id, team_name, synced_at
            FROM kaggle.participant_results
            WHERE kaggle_username = %(name)s AND kaggle_competition_id = ANY (%(now)s)
            UNION ALL
            SELECT f.slug, l.board, l.rank, l.teams, kaggle.medal(l.rank, l.teams, c.category), l.score, l.team_id,
                   l.team_name, l.synced_at
            FROM unnest(%(held)s::text[], %(at)s::timestamptz[]) f (slug, at)
            JOIN kaggle.competitions c ON c.kaggle_competition_id = f.slug
            CROSS JOIN LATERAL (SELECT *, count(a.rank) OVER () AS teams
                                FROM kaggle.leaderboard_as_of(f.slug, f.at) a) l
            WHERE NOT l.is_benchmark
              AND EXISTS (SELECT FROM unnest(l.member_usernames) m (name)
                          WHERE lower(m.name COLLATE "C") = lower(%(name)s COLLATE "C"))
            ORDER BY rank, kaggle_competition_id
            """,
            name=found[0].kaggle_username,
            now=[slug for slug in competitions.values() if slug not in held],
            held=list(held),
            at=list(held.values()),
        )
    return Person(found[0].kaggle_username, found[0].display_name, results)
