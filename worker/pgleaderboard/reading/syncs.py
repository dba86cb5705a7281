"""The state of the syncs, and requests of people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import LiteralString

from pgleaderboard.database.connect import Connection, column, objects, row, rows, value
from pgleaderboard.errors import NeedsPerson, Transient
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.names import known_slug

_LAST_RUNS = 5
_OF_A_RUN: LiteralString = (
    "SELECT r.id, r.reason, r.started_at, r.finished_at, r.outcome, r.teams, r.added, r.removed, r.updated, r.moved, "
    "r.error FROM "
)


@dataclass(frozen=True)
class Status:
    """A row of kaggle.sync_status, and the leader. slug: None for a competition that is not on Kaggle yet."""

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
    problem: str | None = None


@dataclass(frozen=True)
class Run:
    """A row of kaggle.sync_runs."""

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
    """The state of all syncs, or of one. at: the database's clock. runs: the last ones of one competition."""

    at: datetime
    workers: Sequence[Worker]
    competitions: Sequence[Status]
    next_request_at: datetime | None
    blocked_until: datetime | None
    runs: Sequence[Run] | None = None


def overview(connection: Connection, slug: str | None = None) -> Overview:
    """The state of all competitions, or of one with its last runs."""
    with snapshot(connection):
        wanted = known_slug(connection, slug) if slug is not None else None
        competitions = objects(
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
            slug=wanted,
        )
        now = row(connection, "SELECT clock_timestamp() AS at, next_request_at, blocked_until FROM kaggle.budget")
        runs = (
            None
            if wanted is None
            else objects(
                connection,
                Run,
                _OF_A_RUN + "kaggle.sync_runs r "
                "WHERE r.competition_id = kaggle.find_competition(%s) ORDER BY r.id DESC LIMIT %s",
                wanted,
                _LAST_RUNS,
            )
        )
        workers = objects(
            connection, Worker, "SELECT id, version, started_at, seen_at, problem FROM kaggle.workers ORDER BY id"
        )
    return Overview(now.at, workers, competitions, now.next_request_at, now.blocked_until, runs)


def failing(connection: Connection) -> list[str]:
    """The slugs of all competitions whose last sync failed."""
    return column(
        connection,
        "SELECT kaggle_competition_id FROM kaggle.sync_status "
        "WHERE consecutive_failures > 0 AND kaggle_competition_id IS NOT NULL ORDER BY lower(kaggle_competition_id)",
    )


def request_syncs(connection: Connection, slugs: Sequence[str]) -> None:
    """Request a sync of all or none of them. Raises NeedsPerson for an unknown slug."""
    with connection.transaction():
        for slug in slugs:
            connection.execute("SELECT kaggle.sync_now(%s)", (slug,))


def set_auto_sync(connection: Connection, slug: str, wanted: bool) -> tuple[bool, str, datetime | None]:
    """Switch automatic syncs on or off. Returns whether that was a change, the status, and the start date.

    Raises Transient where another transaction holds the row for longer than 10 s.
    """
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '10s'")
        updated = rows(
            connection,
            "UPDATE kaggle.competitions c SET auto_sync = %(wanted)s "
            "FROM (SELECT o.id, o.auto_sync FROM kaggle.competitions o "
            "      WHERE o.id = kaggle.find_competition(%(slug)s) FOR UPDATE) o "
            "WHERE c.id = o.id RETURNING o.auto_sync <> %(wanted)s AS is_change, c.status, c.start_date",
            wanted=wanted,
            slug=slug,
        )
    if not updated:
        raise NeedsPerson(f"no competition {slug!r} is followed")
    return updated[0].is_change, updated[0].status, updated[0].start_date


def wait_while_running(connection: Connection, slug: str, timeout: timedelta) -> bool:
    """Wait until no sync of a competition is running. Returns whether one was; raises Transient when the time is over.

    A sync without changes is not notified, so this polls, as kaggle.wait_for_sync does.
    """
    until = time.monotonic() + timeout.total_seconds()
    has_run = False
    while value(
        connection, "SELECT sync_state = 'running' FROM kaggle.sync_status WHERE kaggle_competition_id = %s", slug
    ):
        has_run = True
        if time.monotonic() >= until:
            raise Transient("its sync is still running")
        time.sleep(0.05)
    return has_run


def wait(connection: Connection, slug: str, timeout: timedelta) -> Run:
    """Wait for the requested sync. Raises Transient when the time is over."""
    (run,) = objects(connection, Run, _OF_A_RUN + "kaggle.wait_for_sync(%s, %s) r", slug, timeout)
    return run
