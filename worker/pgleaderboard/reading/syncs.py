"""The state of the syncs, and requests of people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg

from pgleaderboard.database.connect import Connection, column, row, rows, transaction, value
from pgleaderboard.errors import Transient
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.names import known_slug
from pgleaderboard.reading.standby import Standby, standby

_LAST_RUNS = 5
_ASK_FOR = 10.0  # seconds that one question for a sync may take
_LET_PASS = 0.5  # seconds for a session that waits for the tables
# A problem, or since when what is late has not been synced: the sync condition says no, for example.
WHY_NOT_CURRENT: LiteralString = """
    coalesce(problem, CASE WHEN is_late THEN coalesce(
        to_char(last_success_at AT TIME ZONE 'UTC', '"no sync since" YYYY-MM-DD HH24:MI "UTC"'), 'not synced yet') END)
"""
_OF_A_RUN: LiteralString = (
    "SELECT r.id, r.reason, r.started_at, r.finished_at, r.outcome, r.teams, r.added, r.removed, r.updated, r.moved, "
    "r.error FROM "
)


@dataclass(frozen=True)
class Overview:
    """The state of all syncs, or of one. at: the database's clock.

    workers, competitions, runs: rows of kaggle.workers, of kaggle.sync_status with the leader, and of kaggle.sync_runs;
    runs are the last ones of one competition, None for all. source: of the boards, None before the first sync.
    standby: that was read, None for a primary.
    """

    at: datetime
    workers: Sequence[Any]
    competitions: Sequence[Any]
    next_request_at: datetime | None
    blocked_until: datetime | None
    source: str | None
    runs: Sequence[Any] | None = None
    standby: Standby | None = None


def overview(connection: Connection, slug: str | None = None) -> Overview:
    """The state of all competitions, or of one with its last runs."""
    with snapshot(connection):
        slug = None if slug is None else known_slug(connection, slug)
        competitions = rows(
            connection,
            """
            SELECT s.kaggle_competition_id, s.title, s.status, s.sync_state, s.board, s.teams,
                   l.team_name AS leader, l.score AS leader_score, s.synced_at, s.last_attempt_at, s.last_success_at,
                   s.next_sync_at, s.consecutive_failures, s.last_error, s.problem, s.is_late
            FROM kaggle.sync_status s
            LEFT JOIN LATERAL (SELECT b.team_name, b.score FROM kaggle.leaderboard b
                               WHERE b.competition_id = s.competition_id AND b.rank = 1 LIMIT 1) l ON true
            WHERE %(slug)s::text IS NULL OR s.kaggle_competition_id = %(slug)s
            ORDER BY lower(s.kaggle_competition_id COLLATE "C"), s.competition_id
            """,
            slug=slug,
        )
        now = row(
            connection,
            "SELECT clock_timestamp() AS at, next_request_at, blocked_until, s.source "
            "FROM kaggle.budget LEFT JOIN kaggle.board_source s ON true",
        )
        of_competition: LiteralString = (
            "kaggle.sync_runs r WHERE r.competition_id = kaggle.find_competition(%s) ORDER BY r.id DESC LIMIT %s"
        )
        runs = rows(connection, _OF_A_RUN + of_competition, slug, _LAST_RUNS) if slug else None
        workers = rows(
            connection, "SELECT worker_id, version, started_at, seen_at, problem FROM kaggle.workers ORDER BY worker_id"
        )
        read = standby(connection)
    of_kaggle = (now.next_request_at, now.blocked_until, now.source)
    return Overview(now.at, workers, competitions, *of_kaggle, runs, read)


def failing(connection: Connection) -> list[str]:
    """The slugs of all competitions whose last sync failed."""
    return column(
        connection,
        "SELECT kaggle_competition_id FROM kaggle.sync_status "
        "WHERE consecutive_failures > 0 AND kaggle_competition_id IS NOT NULL "
        'ORDER BY lower(kaggle_competition_id COLLATE "C")',
    )


def request_syncs(connection: Connection, slugs: Sequence[str]) -> None:
    """Request a sync of all or none of them."""
    with transaction(connection):
        for slug in slugs:
            connection.execute("SELECT kaggle.sync_now(%s)", (slug,))


def set_auto_sync(connection: Connection, slug: str, wanted: bool) -> Any:
    """Switch automatic syncs on or off. Returns status and start_date, None where nothing changes.

    Raises LockNotAvailable where another transaction holds the row for longer than 10 s.
    """
    with transaction(connection, lock_seconds=10):
        updated = rows(
            connection,
            "UPDATE kaggle.competitions SET auto_sync = %(wanted)s "
            "WHERE kaggle_competition_id = %(slug)s AND auto_sync <> %(wanted)s RETURNING status, start_date",
            wanted=wanted,
            slug=slug,
        )
    return updated[0] if updated else None


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


def wait(connection: Connection, slug: str, timeout: timedelta) -> Any:
    """Wait for the requested sync. Returns its row of kaggle.sync_runs; raises QueryCanceled when the time is over.

    It asks again and again: a statement that waits for long would hold up VACUUM and ALTER TABLE.
    """
    until = time.monotonic() + timeout.total_seconds()
    while True:
        left = max(0.0, until - time.monotonic())
        try:
            return row(
                connection,
                _OF_A_RUN + "kaggle.wait_for_sync(%s, %s) r",
                slug,
                timedelta(seconds=min(left, _ASK_FOR)),
            )
        except psycopg.errors.QueryCanceled:
            if left <= _ASK_FOR:
                raise
        except psycopg.errors.LockNotAvailable:
            if left <= 0:
                raise
            time.sleep(min(left, _LET_PASS))
