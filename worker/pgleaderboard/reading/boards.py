"""Boards, now and in the past, and the ranks of teams through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import LiteralString

from pgleaderboard.database.connect import Connection, column, objects, row, rows, value
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.names import known_event, known_slug, nearest

_STEPS: LiteralString = "SELECT at, team_id, team_name, rank, score FROM kaggle.rank_history"


@dataclass(frozen=True)
class Entry:
    """A row of a board. rank: None for a benchmark. rank_then: a day ago, None for a new team."""

    rank: int | None
    team_id: int
    team_name: str
    score: Decimal | None
    submission_count: int | None
    last_submission_at: datetime | None
    member_usernames: Sequence[str]
    is_benchmark: bool
    rank_then: int | None
    medal: str | None
    participants: Sequence[str] = ()


@dataclass(frozen=True)
class BoardNow:
    """A board at a moment. since: the moment of rank_then; None without an earlier board."""

    slug: str
    competition_id: int
    kind: str | None
    at: datetime
    synced_at: datetime | None
    since: datetime | None
    teams: int
    entries: Sequence[Entry]
    problem: str | None = None


@dataclass(frozen=True)
class Step:
    """A row of kaggle.rank_history."""

    at: datetime
    team_id: int
    team_name: str
    rank: int
    score: Decimal | None


def board(connection: Connection, slug: str, at: datetime | None, event: str | None, top: int | None) -> BoardNow:
    """A board now or at a moment, compared with a day before, or with the first known board where that is later.

    event: only teams with a participant of it. top: the first N ranked teams, and the benchmarks between them.
    """
    with snapshot(connection):
        known = known_slug(connection, slug)
        competition_id, now, since = row(
            connection,
            """
            SELECT c.id, clock_timestamp(),
                   greatest(least(%(at)s::timestamptz, clock_timestamp()) - interval '24 hours',
                            min(b.observed_from), max(b.history_from))
            FROM kaggle.competitions c
            LEFT JOIN kaggle.boards b ON b.competition_id = c.id AND lower(b.slug) = lower(c.kaggle_competition_id)
            WHERE c.kaggle_competition_id = %(slug)s GROUP BY c.id
            """,
            slug=known,
            at=at,
        )
        roster = _roster(connection, event, competition_id, known) if event is not None else None
        listed = rows(
            connection,
            """
            SELECT n.rank, n.team_id, n.team_name, n.score, n.submission_count, n.last_submission_at,
                   n.member_usernames, n.is_benchmark, t.rank AS rank_then, kaggle.medal(n.rank, n.teams),
                   n.board, n.synced_at, n.teams
            FROM (SELECT *, count(a.rank) OVER () AS teams
                  FROM kaggle.leaderboard_as_of(%(slug)s, coalesce(%(at)s::timestamptz, 'infinity'))
                       WITH ORDINALITY a) n
            LEFT JOIN kaggle.leaderboard_as_of(%(slug)s, %(since)s::timestamptz) t
                ON t.team_id = n.team_id AND NOT t.is_benchmark
            WHERE n.rank <= %(top)s::bigint OR n.rank IS NULL OR %(top)s IS NULL
            ORDER BY n.ordinality
            """,
            slug=known,
            at=at,
            since=since,
            top=top if roster is None else None,
        )
        if not listed:
            problem = _problem(connection, competition_id) if at is None else None
            return BoardNow(known, competition_id, None, now, None, None, 0, (), problem)
        people = dict(
            rows(
                connection,
                "SELECT lower(kaggle_username), coalesce(display_name, kaggle_username) FROM kaggle.participants",
            )
        )
    entries = []
    for *facts, _, _, _ in listed:
        entry = Entry(*facts)
        members = [name.lower() for name in entry.member_usernames]
        if roster is None or not roster.isdisjoint(members):
            entries.append(replace(entry, participants=[people[name] for name in members if name in people]))
    kind, synced_at, teams = listed[0][-3:]
    return BoardNow(known, competition_id, kind, now, synced_at, since, teams, _cut(entries, top))


def _problem(connection: Connection, competition_id: int) -> str | None:
    problem: str | None = value(
        connection,
        "SELECT coalesce(problem, last_error, 'its sync is ' || sync_state) FROM kaggle.sync_status "
        "WHERE competition_id = %s",
        competition_id,
    )
    return problem


def _roster(connection: Connection, event: str, competition_id: int, slug: str) -> set[str] | None:
    """The participants of an event, in lower case; None = everybody."""
    event_id, event_slug = known_event(connection, event)
    if not value(
        connection,
        "SELECT EXISTS (SELECT FROM kaggle.event_competitions WHERE event_id = %s AND competition_id = %s)",
        event_id,
        competition_id,
    ):
        raise NeedsPerson(f"{slug} does not count in event {event_slug}")
    names = rows(
        connection,
        "SELECT lower(kaggle_username), excluded FROM kaggle.event_participants WHERE event_id = %s",
        event_id,
    )
    return {name for name, excluded in names if not excluded} if names else None


def _cut(entries: list[Entry], top: int | None) -> list[Entry]:
    """The first N ranked teams, and the benchmarks between them."""
    if top is None:
        return entries
    ranked = 0
    for place, entry in enumerate(entries):
        ranked += not entry.is_benchmark
        if ranked == top:
            return entries[: place + 1]
    return entries


def rank_history_of_teams(connection: Connection, slug: str, team_ids: Sequence[int]) -> list[Step]:
    """The ranks of teams through time."""
    return objects(connection, Step, _STEPS + "(%s, VARIADIC %s::bigint[])", slug, list(team_ids))


def rank_history_of_user(connection: Connection, slug: str, username: str) -> list[Step]:
    """The ranks of a user through time, from team to team."""
    return objects(connection, Step, _STEPS + "(%s, %s::text)", slug, username)


def vanished(connection: Connection, slug: str, team_ids: Sequence[int]) -> list[tuple[int, datetime]]:
    """When teams vanished from a board, perhaps to come back: the ends of versions without a successor."""
    return rows(
        connection,
        """
        SELECT h.team_id, h.valid_until FROM kaggle.leaderboard_history h JOIN kaggle.boards b ON b.id = h.board_id
        WHERE b.competition_id = kaggle.find_competition(%s) AND h.team_id = ANY (%s::bigint[])
          AND NOT EXISTS (SELECT FROM kaggle.leaderboard_history n WHERE n.board_id = h.board_id
                            AND n.team_id = h.team_id AND n.valid_from = h.valid_until)
          AND NOT EXISTS (SELECT FROM kaggle.leaderboard_entries n WHERE n.board_id = h.board_id
                            AND n.team_id = h.team_id AND n.valid_from = h.valid_until)
        ORDER BY h.valid_until
        """,
        slug,
        list(team_ids),
    )


def top_teams(connection: Connection, slug: str, top: int) -> list[int]:
    """The first N teams now."""
    return column(
        connection,
        "SELECT team_id FROM kaggle.leaderboard "
        "WHERE competition_id = kaggle.find_competition(%s) AND rank <= %s ORDER BY rank",
        slug,
        top,
    )


def teams_called(connection: Connection, slug: str, name: str) -> list[int]:
    """The current teams of a name, else the team of a TeamId, past ones included.

    Raises NeedsPerson with the nearest name if there is none.
    """
    teams = rows(
        connection,
        "SELECT team_id, team_name FROM kaggle.leaderboard "
        "WHERE competition_id = kaggle.find_competition(%s) AND NOT is_benchmark",
        slug,
    )
    named = [team.team_id for team in teams if team.team_name.strip().lower() == name.strip().lower()]
    if named:
        return named
    if name.isdecimal():
        return [int(name)]
    hint = nearest(name, [team.team_name for team in teams]) or "use its name on the board, or its TeamId"
    raise NeedsPerson(f"no team {name!r} on {slug}: {hint}")


def observed_at(connection: Connection, slug: str) -> datetime | None:
    """The moment of the last sync of a board."""
    synced_at: datetime | None = value(
        connection,
        "SELECT synced_at FROM kaggle.sync_status WHERE competition_id = kaggle.find_competition(%s)",
        slug,
    )
    return synced_at
