"""What the commands for people ask the database: short queries, and only what a reader or an editor may ask.

Nothing here relies on a session, so that it works through a pooler in transaction mode too. What a person mistyped
comes back as NeedsPerson with the nearest right word.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg.rows import class_row, scalar_row

from pgleaderboard import app
from pgleaderboard.errors import NeedsPerson, Transient
from pgleaderboard.settings import Settings

T = TypeVar("T")
Connection = psycopg.Connection[Any]

_NOT_OURS = (pg.InvalidSchemaName, pg.UndefinedTable, pg.UndefinedFunction, pg.UndefinedColumn)
_RUNS_TOLD = 5
_OF_A_RUN: LiteralString = (
    "SELECT r.id, r.reason, r.started_at, r.finished_at, r.outcome, r.teams, r.added, r.removed, r.updated, r.moved, "
    "r.error FROM "
)
_OF_A_PLACE: LiteralString = (
    "SELECT place, kaggle_username, display_name, is_registered, points, competitions_entered, last_submission_at FROM "
)


@dataclass(frozen=True)
class Status:
    """A row of kaggle.sync_status, and who leads. slug is None for a competition that is not on Kaggle yet."""

    slug: str | None
    title: str | None
    status: str
    sync_state: str
    board: str | None
    teams: int | None
    leader: str | None
    leader_score: Decimal | None
    synced_at: datetime | None
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    next_sync_at: datetime | None
    consecutive_failures: int
    last_error: str | None
    problem: str | None


@dataclass(frozen=True)
class Worker:
    """A row of kaggle.workers."""

    id: int
    version: str
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True)
class Run:
    """What kaggle.sync_runs has of an attempt."""

    id: int
    reason: str
    started_at: datetime
    finished_at: datetime
    outcome: str
    teams: int | None
    added: int | None
    removed: int | None
    updated: int | None
    moved: int | None
    error: str | None


@dataclass(frozen=True)
class Overview:
    """How everything stands. at: the database's clock. runs: the last ones, where one competition was asked for."""

    at: datetime
    workers: Sequence[Worker]
    competitions: Sequence[Status]
    next_request_at: datetime | None
    blocked_until: datetime | None
    runs: Sequence[Run] | None = None


@dataclass(frozen=True)
class Entry:
    """A row of a board. rank: None for a benchmark. rank_then: None where the team was not there then."""

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
    """A board at a moment. since: what the ranks are compared with; None where there is nothing to compare."""

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
    """An event's standing. shown_at: the moment it holds for, None = now. at: the database's clock."""

    slug: str
    title: str
    status: str
    at: datetime
    shown_at: datetime | None
    end_date: datetime | None
    competition_ids: frozenset[int]
    places: Sequence[Place]


@dataclass(frozen=True)
class Step:
    """A row of kaggle.rank_history."""

    at: datetime
    team_id: int
    team_name: str
    rank: int
    score: Decimal | None


@contextmanager
def session(settings: Settings, *, direct: bool = False) -> Iterator[Connection]:
    """A connection to the right database in autocommit. direct: past a pooler, for what takes long."""
    with app.database(settings, simulated=app.is_simulated(settings, False)) as found:
        url = found.direct_url if direct else found.url
        with (
            psycopg.connect(
                url, autocommit=True, prepare_threshold=None, application_name="pgleaderboard"
            ) as connection,
            in_words(connection),
        ):
            yield connection


@contextmanager
def in_words(connection: Connection) -> Iterator[None]:
    """Turn what the database refuses into one line for the user, with the nearest right word."""
    try:
        yield
    except _NOT_OURS as error:
        raise NeedsPerson(
            f'database "{connection.info.dbname}" holds no leaderboards of this version: run `pgleaderboard migrate` '
            f"({error.diag.message_primary})"
        ) from error
    except (pg.NoDataFound, pg.CheckViolation) as error:
        raise NeedsPerson(_said(error)) from error
    except (pg.LockNotAvailable, pg.QueryCanceled) as error:
        raise Transient(_said(error)) from error


def _said(error: psycopg.Error) -> str:
    words = error.diag
    return "; ".join(
        " ".join(each.split()) for each in (words.message_primary, words.message_detail, words.message_hint) if each
    )


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Everything asked within sees the same moment."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()


def slugs(connection: Connection) -> list[str]:
    """All slugs that are followed."""
    return _scalars(
        connection,
        "SELECT kaggle_competition_id FROM kaggle.competitions WHERE kaggle_competition_id IS NOT NULL ORDER BY 1",
    )


def event_slugs(connection: Connection) -> list[str]:
    """All events."""
    return _scalars(connection, "SELECT slug FROM kaggle.events ORDER BY 1")


def known_slug(connection: Connection, given: str) -> str:
    """The slug, as it is stored, of a competition that is followed. Raises NeedsPerson with the nearest one."""
    found: str | None = _scalar(
        connection,
        "SELECT kaggle_competition_id FROM kaggle.competitions "
        "WHERE lower(kaggle_competition_id) = lower(kaggle.slug_of(%s))",
        given,
    )
    if found is None:
        raise NeedsPerson(f"no competition {given!r} is followed: {instead_of(connection, given)}")
    return found


def instead_of(connection: Connection, given: str) -> str:
    """What the user may have meant by a slug that is not followed, or how to follow it."""
    return _nearest(given, slugs(connection)) or f"`pgleaderboard add {given}` follows it"


def known_event(connection: Connection, given: str) -> tuple[int, str]:
    """Id and slug of an event. Raises NeedsPerson with the nearest one."""
    row = connection.execute("SELECT id, slug FROM kaggle.events WHERE slug = lower(%s)", (given,)).fetchone()
    if row is None:
        there = event_slugs(connection)
        nearest = _nearest(given, there) or ("SELECT slug FROM kaggle.events lists them" if there else "there is none")
        raise NeedsPerson(f"no event {given!r}: {nearest}")
    return int(row[0]), str(row[1])


def _nearest(given: str, words: Sequence[str]) -> str | None:
    by_lower = {word.lower(): word for word in words}
    found = get_close_matches(given.lower(), by_lower, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(by_lower[each] for each in found)}?" if found else None


def overview(connection: Connection, slug: str | None = None) -> Overview:
    """How all competitions stand, or one of them with its last runs."""
    with snapshot(connection):
        wanted = known_slug(connection, slug) if slug is not None else None
        competitions = _rows(
            connection,
            Status,
            """
            SELECT s.kaggle_competition_id AS slug, s.title, s.status, s.sync_state, s.board, s.teams,
                   l.team_name AS leader, l.score AS leader_score, s.synced_at, s.last_attempt_at, s.last_success_at,
                   s.next_sync_at, s.consecutive_failures, s.last_error, s.problem
            FROM kaggle.sync_status s
            LEFT JOIN LATERAL (SELECT b.team_name, b.score FROM kaggle.leaderboard b
                               WHERE b.competition_id = s.competition_id AND b.rank = 1 LIMIT 1) l ON true
            WHERE %(slug)s::text IS NULL OR s.kaggle_competition_id = %(slug)s
            ORDER BY lower(s.kaggle_competition_id), s.competition_id
            """,
            {"slug": wanted},
        )
        row = connection.execute(
            "SELECT clock_timestamp(), next_request_at, blocked_until FROM kaggle.budget"
        ).fetchone()
        assert row is not None
        runs = (
            None
            if wanted is None
            else _rows(
                connection,
                Run,
                _OF_A_RUN + "kaggle.sync_runs r "
                "WHERE r.competition_id = kaggle.find_competition(%s) ORDER BY r.id DESC LIMIT %s",
                (wanted, _RUNS_TOLD),
            )
        )
        workers = _rows(connection, Worker, "SELECT id, version, started_at, seen_at FROM kaggle.workers ORDER BY id")
    return Overview(row[0], workers, competitions, row[1], row[2], runs)


def board(connection: Connection, slug: str, at: datetime | None, event: str | None, top: int | None) -> BoardNow:
    """A board now or at a moment, compared with a day before, or with the first one known where that is later.

    event: only teams with somebody who takes part in it. top: so many ranked teams, and the benchmarks between them.
    """
    with snapshot(connection):
        known = known_slug(connection, slug)
        row = connection.execute(
            """
            SELECT kaggle.find_competition(%(slug)s), clock_timestamp(), b.kind, f.since
            FROM kaggle.find_board(%(slug)s, coalesce(%(at)s::timestamptz, 'infinity')) b
            CROSS JOIN LATERAL (
                SELECT greatest(least(%(at)s::timestamptz, clock_timestamp()) - interval '24 hours',
                                min(o.observed_from), max(o.history_from)) AS since
                FROM kaggle.boards o
                WHERE o.competition_id = b.competition_id AND lower(o.slug) = lower(b.slug)) f
            """,
            {"slug": known, "at": at},
        ).fetchone()
        assert row is not None
        competition_id, now, kind, since = row
        roster = _roster(connection, event, competition_id, known) if event is not None else None
        if kind is None:
            problem = _scalar(
                connection,
                "SELECT coalesce(problem, last_error, 'its sync is ' || sync_state) FROM kaggle.sync_status "
                "WHERE competition_id = %s",
                competition_id,
            )
            return BoardNow(known, competition_id, None, now, None, None, 0, (), problem if at is None else None)
        people = dict(
            connection.execute(
                "SELECT lower(kaggle_username), coalesce(display_name, kaggle_username) FROM kaggle.participants"
            ).fetchall()
        )
        found = connection.execute(
            """
            SELECT n.rank, n.team_id, n.team_name, n.score, n.submission_count, n.last_submission_at,
                   n.member_usernames, n.is_benchmark, t.rank, kaggle.medal(n.rank, n.teams), n.synced_at, n.teams
            FROM (SELECT *, count(a.rank) OVER () AS teams
                  FROM kaggle.leaderboard_as_of(%(slug)s, coalesce(%(at)s::timestamptz, 'infinity'))
                       WITH ORDINALITY a) n
            LEFT JOIN kaggle.leaderboard_as_of(%(slug)s, %(since)s::timestamptz) t
                ON t.team_id = n.team_id AND NOT t.is_benchmark
            WHERE n.rank <= %(top)s::bigint OR n.rank IS NULL OR %(top)s IS NULL
            ORDER BY n.ordinality
            """,
            {"slug": known, "at": at, "since": since, "top": top if roster is None else None},
        ).fetchall()
    entries = []
    for *facts, _, _ in found:
        entry = Entry(*facts)
        members = [name.lower() for name in entry.member_usernames]
        if roster is None or not roster.isdisjoint(members):
            entries.append(replace(entry, participants=[people[name] for name in members if name in people]))
    synced_at, teams = found[0][-2:] if found else (None, 0)
    return BoardNow(known, competition_id, kind, now, synced_at, since, teams, _cut(entries, top))


def _roster(connection: Connection, event: str, competition_id: int, slug: str) -> set[str] | None:
    """Who takes part in an event, in lower case; None = everybody."""
    event_id, event_slug = known_event(connection, event)
    if not _scalar(
        connection,
        "SELECT EXISTS (SELECT FROM kaggle.event_competitions WHERE event_id = %s AND competition_id = %s)",
        event_id,
        competition_id,
    ):
        raise NeedsPerson(f"{slug} does not count in event {event_slug}")
    names = connection.execute(
        "SELECT lower(kaggle_username), excluded FROM kaggle.event_participants WHERE event_id = %s", (event_id,)
    ).fetchall()
    return {name for name, excluded in names if not excluded} if names else None


def _cut(entries: list[Entry], top: int | None) -> list[Entry]:
    """The first so many ranked teams, and the benchmarks between them."""
    if top is None:
        return entries
    ranked = 0
    for place, entry in enumerate(entries):
        ranked += not entry.is_benchmark
        if ranked == top:
            return entries[: place + 1]
    return entries


def standing(connection: Connection, event: str, at: datetime | None, top: int | None) -> Standing:
    """An event's standing: as readers see it (as of frozen_at, or of its end), or as it was at a moment."""
    with snapshot(connection):
        event_id, slug = known_event(connection, event)
        row = connection.execute(
            """
            SELECT e.title, e.status, clock_timestamp(), s.at, e.end_date,
                   kaggle.check_standing(e.id, coalesce(s.at, 'infinity')),
                   ARRAY(SELECT c.competition_id FROM kaggle.event_competitions c WHERE c.event_id = e.id)
            FROM kaggle.events e
            CROSS JOIN LATERAL (
                SELECT coalesce(%s::timestamptz, e.frozen_at,
                                CASE WHEN e.end_date <= now() THEN e.end_date END) AS at) s
            WHERE e.id = %s
            """,
            (at, event_id),
        ).fetchone()
        assert row is not None
        title, status, now, shown_at, end_date, pruned, competition_ids = row
        if pruned:
            raise NeedsPerson(pruned)
        if at is None:
            places = _rows(
                connection,
                Place,
                _OF_A_PLACE
                + 'kaggle.event_standings WHERE event_id = %s ORDER BY place, lower(kaggle_username COLLATE "C")',
                (event_id,),
            )
        else:
            places = _rows(connection, Place, _OF_A_PLACE + "kaggle.event_standings_as_of(%s, %s)", (slug, at))
    return Standing(slug, title, status, now, shown_at, end_date, frozenset(competition_ids), places[:top])


def ask_for_syncs(connection: Connection, wanted: Sequence[str]) -> None:
    """Ask for a sync of each, all or none. Raises NeedsPerson for an unknown slug."""
    with connection.transaction():
        for slug in wanted:
            connection.execute("SELECT kaggle.sync_now(%s)", (slug,))


def set_auto_sync(connection: Connection, slug: str, wanted: bool) -> tuple[bool, str, datetime | None]:
    """Switch automatic syncs on or off. Returns whether that was a change, the status, and the start date.

    Raises Transient where somebody's transaction holds the row for longer than 10 s.
    """
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '10s'")
        row = connection.execute(
            "UPDATE kaggle.competitions c SET auto_sync = %(wanted)s "
            "FROM (SELECT o.id, o.auto_sync FROM kaggle.competitions o "
            "      WHERE o.id = kaggle.find_competition(%(slug)s) FOR UPDATE) o "
            "WHERE c.id = o.id RETURNING o.auto_sync <> %(wanted)s, c.status, c.start_date",
            {"wanted": wanted, "slug": slug},
        ).fetchone()
    if row is None:
        raise NeedsPerson(f"no competition {slug!r} is followed")
    return bool(row[0]), str(row[1]), row[2]


def wait_while_running(connection: Connection, slug: str, timeout: timedelta) -> bool:
    """Wait until no sync of it runs. Returns whether one did; raises Transient when the time is over.

    Ends that changed nothing are not notified, so this looks again and again, as kaggle.wait_for_sync does.
    """
    until = time.monotonic() + timeout.total_seconds()
    has_run = False
    while _scalar(
        connection, "SELECT sync_state = 'running' FROM kaggle.sync_status WHERE kaggle_competition_id = %s", slug
    ):
        has_run = True
        if time.monotonic() >= until:
            raise Transient("its sync still runs")
        time.sleep(0.05)
    return has_run


def failing(connection: Connection) -> list[str]:
    """The slugs of all competitions whose last sync failed."""
    return _scalars(
        connection,
        "SELECT kaggle_competition_id FROM kaggle.sync_status "
        "WHERE consecutive_failures > 0 AND kaggle_competition_id IS NOT NULL ORDER BY lower(kaggle_competition_id)",
    )


def wait(connection: Connection, slug: str, timeout: timedelta) -> Run:
    """Wait for the sync that was asked for. Raises Transient when the time is over."""
    (found,) = _rows(
        connection,
        Run,
        _OF_A_RUN + "kaggle.wait_for_sync(%s, %s) r",
        (slug, timeout),
    )
    return found


def rank_history_of_teams(connection: Connection, slug: str, team_ids: Sequence[int]) -> list[Step]:
    """The ranks of teams through time."""
    return _rows(
        connection,
        Step,
        "SELECT at, team_id, team_name, rank, score FROM kaggle.rank_history(%s, VARIADIC %s::bigint[])",
        (slug, list(team_ids)),
    )


def rank_history_of_user(connection: Connection, slug: str, username: str) -> list[Step]:
    """The ranks of a user through time, from team to team."""
    return _rows(
        connection,
        Step,
        "SELECT at, team_id, team_name, rank, score FROM kaggle.rank_history(%s, %s::text)",
        (slug, username),
    )


def vanished(connection: Connection, slug: str, team_ids: Sequence[int]) -> list[tuple[int, datetime]]:
    """When teams vanished from a board, perhaps to come back: the ends of versions that none follows."""
    return connection.execute(
        """
        SELECT h.team_id, h.valid_until FROM kaggle.leaderboard_history h JOIN kaggle.boards b ON b.id = h.board_id
        WHERE b.competition_id = kaggle.find_competition(%s) AND h.team_id = ANY (%s::bigint[])
          AND NOT EXISTS (SELECT FROM kaggle.leaderboard_history n WHERE n.board_id = h.board_id
                            AND n.team_id = h.team_id AND n.valid_from = h.valid_until)
          AND NOT EXISTS (SELECT FROM kaggle.leaderboard_entries n WHERE n.board_id = h.board_id
                            AND n.team_id = h.team_id AND n.valid_from = h.valid_until)
        ORDER BY h.valid_until
        """,
        (slug, list(team_ids)),
    ).fetchall()


def top_teams(connection: Connection, slug: str, top: int) -> list[int]:
    """The first so many teams now."""
    return _scalars(
        connection,
        "SELECT team_id FROM kaggle.leaderboard "
        "WHERE competition_id = kaggle.find_competition(%s) AND rank <= %s ORDER BY rank",
        slug,
        top,
    )


def teams_called(connection: Connection, slug: str, given: str) -> list[int]:
    """The teams of a name now, else of a TeamId ever. Raises NeedsPerson with the nearest name if there is none."""
    rows = connection.execute(
        "SELECT team_id, team_name FROM kaggle.leaderboard "
        "WHERE competition_id = kaggle.find_competition(%s) AND NOT is_benchmark",
        (slug,),
    ).fetchall()
    named = [team_id for team_id, name in rows if name.strip().lower() == given.strip().lower()]
    if named:
        return named
    if given.isdecimal():
        return [int(given)]
    nearest = _nearest(given, [name for _, name in rows]) or "say its name as on the board, or its TeamId"
    raise NeedsPerson(f"no team {given!r} on {slug}: {nearest}")


def observed_at(connection: Connection, slug: str) -> datetime | None:
    """Up to when a board is known."""
    found: datetime | None = _scalar(connection, "SELECT (kaggle.find_board(%s)).observed_at", slug)
    return found


def _rows(connection: Connection, kind: type[T], query: LiteralString, values: Any = ()) -> list[T]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query, values).fetchall()


def _scalars(connection: Connection, query: LiteralString, *values: Any) -> list[Any]:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query, values).fetchall()


def _scalar(connection: Connection, query: LiteralString, *values: Any) -> Any:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query, values).fetchone()
