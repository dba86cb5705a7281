"""Boards, now and in the past, and the ranks of teams through time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import compress
from typing import Any, LiteralString

from pgleaderboard.database.connect import Connection, column, row, rows, value
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.names import known_event, known_slug, nearest
from pgleaderboard.reading.syncs import WHY_NOT_CURRENT


@dataclass(frozen=True)
class BoardNow:
    """A board at a moment. since: the moment of rank_then, None without an earlier board.

    now: the database's clock, None for the past. problem: why there is no board, or why it is not current.
    teams, benchmarks: how many the whole board has. page_frozen_at: as in kaggle.sync_status, None for the past.
    entries: rows of kaggle.leaderboard with rank_then and movement, None for a new team, medal, and participants.
    """

    slug: str
    competition_id: int
    kind: str | None
    synced_at: datetime | None
    since: datetime | None
    teams: int
    benchmarks: int
    entries: Sequence[Any]
    problem: str | None = None
    now: datetime | None = None
    page_frozen_at: datetime | None = None


def board(connection: Connection, slug: str, at: datetime | None, event: str | None, top: int | None) -> BoardNow:
    """A board now or at a moment, compared with a day before, or with the first known board where that is later.

    event: only teams that take part in it. top: the first N ranked teams, and the benchmarks between them.
    """
    with snapshot(connection):
        slug = known_slug(connection, slug)
        competition_id, since = row(
            connection,
            """
            SELECT c.id, least(%(at)s::timestamptz, greatest(least(%(at)s, clock_timestamp()) - interval '24 hours',
                                                             min(b.observed_from), max(b.history_from)))
            FROM kaggle.competitions c
            LEFT JOIN kaggle.boards b ON b.competition_id = c.id
                AND lower(b.slug COLLATE "C") = lower(c.kaggle_competition_id COLLATE "C")
            WHERE c.kaggle_competition_id = %(slug)s GROUP BY c.id
            """,
            slug=slug,
            at=at,
        )
        taking_part = None if event is None else _who_takes_part(connection, event, competition_id, slug)
        entries = rows(
            connection,
            """
            SELECT n.rank, n.team_id, n.team_name, n.score, n.submission_count, n.last_submission_at,
                   n.member_usernames, n.is_benchmark, t.rank AS rank_then,
                   kaggle.medal(n.rank, n.teams,
                                (SELECT c.category FROM kaggle.competitions c WHERE c.id = %(competition_id)s)),
                   ARRAY(SELECT coalesce(p.display_name, p.kaggle_username)
                         FROM unnest(n.member_usernames) WITH ORDINALITY m (name, place)
                         JOIN kaggle.participants p
                             ON lower(p.kaggle_username COLLATE "C") = lower(m.name COLLATE "C")
                         ORDER BY m.place) AS participants,
                   ARRAY(SELECT p.kaggle_username
                         FROM unnest(n.member_usernames) WITH ORDINALITY m (name, place)
                         JOIN kaggle.participants p
                             ON lower(p.kaggle_username COLLATE "C") = lower(m.name COLLATE "C")
                         ORDER BY m.place) AS participant_usernames,
                   t.rank - n.rank AS movement, n.board, n.synced_at, n.teams, n.benchmarks
            FROM (SELECT *, count(a.rank) OVER () AS teams, count(*) OVER () - count(a.rank) OVER () AS benchmarks
                  FROM kaggle.leaderboard_as_of(%(slug)s, coalesce(%(at)s::timestamptz, 'infinity'))
                       WITH ORDINALITY a) n
            LEFT JOIN kaggle.leaderboard_as_of(%(slug)s, %(since)s::timestamptz) t
                ON t.team_id = n.team_id AND NOT t.is_benchmark
            WHERE n.rank <= %(top)s::bigint OR n.rank IS NULL OR %(top)s IS NULL
            ORDER BY n.ordinality
            """,
            slug=slug,
            at=at,
            competition_id=competition_id,
            since=since,
            top=top if taking_part is None else None,
        )
        state = row(
            connection,
            f"SELECT {WHY_NOT_CURRENT} AS problem, clock_timestamp() AS now, page_frozen_at, "
            "coalesce(problem, last_error, 'its sync is ' || sync_state) AS instead "
            "FROM kaggle.sync_status WHERE competition_id = %s",
            competition_id,
        )
        if not entries:
            return BoardNow(slug, competition_id, None, None, None, 0, 0, (), state.instead)
    shown = entries[0]
    if taking_part is not None:
        entries = [entry for entry in map(taking_part, entries) if entry]
    ranked = [place for place, entry in enumerate(entries) if not entry.is_benchmark]
    if top is not None and top <= len(ranked):
        entries = entries[: ranked[top - 1] + 1]
    size = (shown.teams, shown.benchmarks)
    of_now = (state.problem, state.now, state.page_frozen_at) if at is None else ()
    return BoardNow(slug, competition_id, shown.board, shown.synced_at, since, *size, entries, *of_now)


def _who_takes_part(connection: Connection, event: str, competition_id: int, slug: str) -> Callable[[Any], Any]:
    """Which teams take part in an event, by the rules of kaggle.event_standings, and who of them.

    Returns a function of an entry: the entry with the participants that take part, None where the team does not.
    """
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
        'SELECT lower(kaggle_username COLLATE "C"), excluded FROM kaggle.event_participants WHERE event_id = %s',
        event_id,
    )
    registered = {name for name, excluded in names if not excluded}
    excluded = {name for name, excluded in names if excluded}
    since = value(connection, "SELECT start_date FROM kaggle.events WHERE id = %s AND only_since_start", event_id)

    def takes_part(name: str) -> bool:
        return name.lower() in registered if registered else name.lower() not in excluded

    def taking_part(entry: Any) -> Any:
        submitted_at = entry.last_submission_at
        if entry.is_benchmark or entry.score is None or (since and submitted_at and submitted_at < since):
            return None
        if not (any(map(takes_part, entry.member_usernames)) or not (registered or entry.member_usernames)):
            return None
        shown = [takes_part(name) for name in entry.participant_usernames]
        return entry._replace(
            participants=list(compress(entry.participants, shown)),
            participant_usernames=list(compress(entry.participant_usernames, shown)),
        )

    return taking_part


def rank_histories(
    connection: Connection, slug: str, teams: Sequence[str], users: Sequence[str], top: int | None
) -> tuple[datetime, bool, list[tuple[str, list[Any]]]]:
    """The moment until which ranks are known, whether higher scores are better, and the ranks through time.

    teams: names or TeamIds; without teams and users the first teams. Returns a label and its steps for each of them:
    rows of kaggle.rank_history, and a row without rank and score where a team vanished, perhaps to come back.
    Raises NeedsPerson for an unknown team, and where there is no board.
    """
    with snapshot(connection):
        _known_until(connection, slug, None)
        team_ids = [team_id for name in teams for team_id in _teams_called(connection, slug, name)]
        if top is not None or not (teams or users):
            team_ids += column(
                connection,
                "SELECT team_id FROM kaggle.leaderboard WHERE kaggle_competition_id = %s AND rank <= %s ORDER BY rank",
                slug,
                top or 10,
            )
        told = histories(connection, slug, team_ids)
        of_users = [(user, _steps(connection, slug, user, None)) for user in users]
        return told.until, told.is_higher_better, [*told.lines, *of_users]


@dataclass(frozen=True, eq=False)
class Histories:
    """Ranks of teams through time. Two are equal if they are the same one.

    until: the moment until which they are known.
    lines: for each team its last name and its steps: rows of kaggle.rank_history, and a row without rank and score
    where it vanished, perhaps to come back; no steps for a team that was never there.
    """

    until: datetime
    is_higher_better: bool
    lines: Sequence[tuple[str, list[Any]]]


def histories(connection: Connection, slug: str, team_ids: Sequence[int], at: datetime | None = None) -> Histories:
    """The ranks of teams through time. at: nothing newer is told. Raises NeedsPerson where there is no board."""
    with snapshot(connection):
        until = _known_until(connection, slug, at)
        steps = _steps(connection, slug, team_ids, at)
        is_higher_better = value(
            connection,
            """
            SELECT coalesce(c.higher_is_better, b.higher_is_better, true)
            FROM kaggle.competitions c JOIN kaggle.boards b ON b.competition_id = c.id
            WHERE c.kaggle_competition_id = %s ORDER BY b.observed_at DESC LIMIT 1
            """,
            slug,
        )
    of_teams = {team_id: [step for step in steps if step.team_id == team_id] for team_id in team_ids}
    lines = [(own[-1].team_name if own else str(team_id), own) for team_id, own in of_teams.items()]
    return Histories(until, is_higher_better, lines)


def _known_until(connection: Connection, slug: str, at: datetime | None) -> datetime:
    synced_at: datetime | None = value(
        connection, "SELECT synced_at FROM kaggle.sync_status WHERE kaggle_competition_id = %s", slug
    )
    if synced_at is None:
        raise NeedsPerson(f"{slug} has no board yet")
    return synced_at if at is None else min(synced_at, at)


def _steps(connection: Connection, slug: str, who: str | Sequence[int], at: datetime | None) -> list[Any]:
    of: LiteralString = "%(who)s::text" if isinstance(who, str) else "VARIADIC %(who)s::bigint[]"
    return rows(
        connection,
        # A team vanished at the end of a version where none goes on.
        f"""
        WITH steps AS (
            SELECT at, team_id, team_name, rank, score, teams FROM kaggle.rank_history(%(slug)s, {of})
        ), version AS MATERIALIZED (
            SELECT h.board_id, h.team_id, h.team_name, h.valid_from, h.valid_until
            FROM kaggle.leaderboard_history h JOIN kaggle.boards b ON b.id = h.board_id
            WHERE b.competition_id = kaggle.find_competition(%(slug)s)
              AND h.team_id = ANY (ARRAY(SELECT DISTINCT team_id FROM steps))
        )
        SELECT * FROM steps WHERE at <= coalesce(%(at)s::timestamptz, 'infinity')
        UNION ALL
        SELECT v.valid_until, v.team_id, v.team_name, NULL, NULL, NULL FROM version v
        WHERE v.valid_until <= coalesce(%(at)s, 'infinity')
          AND NOT EXISTS (SELECT FROM version n WHERE n.board_id = v.board_id AND n.team_id = v.team_id
                          AND n.valid_from <= v.valid_until AND n.valid_until > v.valid_until)
          AND NOT EXISTS (SELECT FROM kaggle.leaderboard_entries n WHERE n.board_id = v.board_id
                          AND n.team_id = v.team_id AND n.valid_from <= v.valid_until)
        ORDER BY at, rank NULLS FIRST
        """,
        slug=slug,
        who=who,
        at=at,
    )


def _teams_called(connection: Connection, slug: str, name: str) -> list[int]:
    """The current teams of a name, else the team of a TeamId, past ones included."""
    teams = rows(
        connection,
        "SELECT team_id, team_name FROM kaggle.leaderboard WHERE kaggle_competition_id = %s AND NOT is_benchmark",
        slug,
    )
    named = [team.team_id for team in teams if team.team_name.strip().lower() == name.strip().lower()]
    if named or name.isdecimal():
        return named or [int(name)]
    hint = nearest(name, [team.team_name for team in teams]) or "use its name on the board, or its TeamId"
    raise NeedsPerson(f"no team {name!r} on {slug}: {hint}")
