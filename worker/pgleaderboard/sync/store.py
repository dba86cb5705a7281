"""What a worker asks of the database: the functions of sql/ that begin, apply and end a sync, remove and prune.

Statements go through DATABASE_URL, which may be a pooler in transaction mode: nothing here relies on a session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.errors import ObjectNotInPrerequisiteState
from psycopg_pool import ConnectionPool

from pgleaderboard.database.connect import (
    Connection,
    OnStandby,
    conninfo,
    message_of,
    objects,
    row,
    rows,
    transaction,
    value,
)
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.kaggle.client import Description
from pgleaderboard.sync import order
from pgleaderboard.sync.board import Board
from pgleaderboard.sync.retry import Decision
from pgleaderboard.sync.staging import BASE, Staging

CONDITION_SECONDS = 2.0
SHORT = 30.0  # seconds that a statement may take which writes no board
# What only the worker itself relies on is written again after a fail-over: it waits for no synchronous standby.
LOCAL = "local"  # of synchronous_commit


@dataclass(frozen=True)
class Begun:
    """What `kaggle_internal.begin_sync` answered; see its comment."""

    action: str
    run_id: int
    slug: str
    reason: str
    sync_interval: timedelta
    failures: int
    failing_for: timedelta | None
    token: UUID | None


@dataclass(frozen=True)
class Applied:
    """How an attempt ended; outcome is None where another attempt had taken over."""

    outcome: str | None
    teams: int | None = None
    added: int | None = None
    removed: int | None = None
    updated: int | None = None
    moved: int | None = None


class Store:
    """Calls into the database for one worker, from any number of threads at once.

    url: the database, perhaps through a pooler. connections: the most that are open at once. first: see
    `database.connect.conninfo`. opened: is called with each new connection. is_direct: no pooler is on the way.
    """

    def __init__(
        self,
        url: str,
        worker_id: int,
        *,
        connections: int,
        first: tuple[str, int] | None = None,
        opened: Callable[[Connection], None] | None = None,
        is_direct: bool = False,
    ) -> None:
        self.worker_id = worker_id
        self._writing, self._lock = 0, Lock()
        self._opened, self._is_direct = opened, is_direct
        self._pool = ConnectionPool(
            conninfo(url, "", first=first),
            connection_class=Connection,
            min_size=1,
            max_size=connections,
            open=False,
            timeout=10,
            # No prepared statements: behind a pooler the next statement meets another session.
            kwargs={"autocommit": True, "prepare_threshold": None},
            configure=self._configure,
            check=self._check,
        )

    def _configure(self, connection: Connection) -> None:
        if self._opened:
            self._opened(connection)
        if self._is_direct:
            # A backend that ends drops its temporary tables: that would wait for a synchronous standby, and keep a
            # server that is cut off from stopping. A pooler would give the setting to others.
            connection.synchronous_commit = value(connection, "SHOW synchronous_commit")
            connection.execute(f"SET synchronous_commit = {LOCAL}")

    def _check(self, connection: Connection) -> None:
        """Where one connection is dead the others are, too: the pool would try them one by one, pausing 1, 2, 4 s.

        A pooler may have connected us with a server that has been the primary.
        """
        try:
            if connection.execute("SELECT pg_is_in_recovery()").fetchone() != (False,):
                raise OnStandby("the pooler leads to a standby, which takes no writes")
        except psycopg.OperationalError:
            self._pool.drain()
            raise

    def open(self) -> None:
        """Open the connections. Raises psycopg.OperationalError if the database is out of reach."""
        self._pool.open(wait=True, timeout=10)

    def close(self) -> None:
        """Close them; what still runs on one is cut off after a moment."""
        self._pool.close(timeout=1)

    @property
    def is_writing(self) -> bool:
        """Whether a board is being written, which may take a connection for long."""
        return self._writing > 0

    def beat(self) -> None:
        """Have a connection answer. Raises psycopg.OperationalError where none does."""
        with self._pool.connection():  # which is checked before it is given out
            pass

    def sweep(self, thorough: bool) -> Any:
        """Let dates act and queue what is wanted. Returns queued, wake_in (seconds, or None), missing, removal."""
        with self._pool.connection() as connection, transaction(connection, synchronous_commit=LOCAL):
            return row(
                connection,
                "SELECT queued, extract(epoch FROM wake_at - clock_timestamp())::float8 AS wake_in, missing, "
                "clock_timestamp() + kaggle_internal.grace_for_missing() AS removal "
                "FROM kaggle_internal.sweep(%s, %s)",
                self.worker_id,
                thorough,
            )

    def seconds_to_next_grant(self) -> float | None:
        """How long to wait until something that is wanted may begin; None where nothing is wanted."""
        seconds: float | None = self._value(
            "SELECT greatest(0, extract(epoch FROM "
            "kaggle_internal.next_grant(w.credential, w.requests_per_minute) - now()))::float8 "
            "FROM kaggle_internal.registered_worker(%s) w "
            "WHERE EXISTS (SELECT FROM kaggle_internal.wanted(w.id, true))",
            self.worker_id,
        )
        return seconds

    def begin_sync(self, competition_id: int, condition_says: str | None = None, token: UUID | None = None) -> Begun:
        """Begin an attempt, if one is wanted now and Kaggle may be asked.

        condition_says: the answer of `ask_condition`, where the action was to ask it. token: a random one, by which
        `let_go` knows the attempt; with the number of the run it is the fence.
        """
        with self._short() as connection:
            (begun,) = objects(
                connection,
                Begun,
                "SELECT action, run_id, slug, reason, sync_interval, failures, failing_for, %(token)s::uuid AS token "
                "FROM kaggle_internal.begin_sync(%(competition_id)s, %(worker_id)s, %(condition_says)s, %(token)s)",
                competition_id=competition_id,
                worker_id=self.worker_id,
                condition_says=condition_says,
                token=token,
            )
        return begun

    def ask_condition(self, competition_id: int) -> str:
        """Ask the user's condition for automatic syncs, in a transaction of its own: yes, no, or what went wrong.

        The transaction is rolled back: a setting, a temporary table or a trigger at its end that somebody else's code
        left on our connection would act with our rights.
        """
        try:
            with (
                self._pool.connection() as connection,
                transaction(connection, seconds=CONDITION_SECONDS, keep=False),
            ):
                return str(value(connection, "SELECT kaggle_internal.ask_condition(%s)", competition_id))
        except psycopg.errors.QueryCanceled:
            return f"it did not answer within {CONDITION_SECONDS:g}s"
        except psycopg.Error as error:
            if error.sqlstate is None:  # the connection is lost: nothing is known of the condition
                raise
            return message_of(error)[:300]

    def confirm(
        self, run_id: int, board: Board, *, is_simulated: bool = False, token: UUID | None = None
    ) -> str | None:
        """End the attempt if the file has the bytes that were applied last; None if it has others.

        Raises NeedsPerson where the database holds boards from the other source, Kaggle or the simulator.
        """
        call: LiteralString = "SELECT kaggle_internal.confirm_board(%s, %s, %s, %s, %s)"
        with _of_one_source():
            outcome: str | None = self._value(call, run_id, board.kind, board.digest, is_simulated, token)
        return outcome

    def fail(self, run_id: int, decision: Decision, token: UUID | None = None) -> str:
        """End the attempt as failed. Returns failed or skipped, what it ended with if it has ended, or superseded."""
        outcome: str = self._value(
            "SELECT kaggle_internal.fail_run(%s, %s, %s, %s, %s, %s, %s)",
            run_id,
            self.worker_id,
            decision.message,
            decision.kind,
            decision.retry_in,
            decision.block_for,
            token,
        )
        return outcome

    def block(self, pause: timedelta) -> None:
        """Send no request with the credential of this worker for so long."""
        self._value(
            "SELECT kaggle_internal.block_budget((kaggle_internal.registered_worker(%s)).credential, %s)",
            self.worker_id,
            pause,
        )

    def let_go(self, competition_id: int, token: UUID, retry_in: timedelta, error: str) -> None:
        """Give up the attempt with this token, if it still runs; it is tried again after a while."""
        self._value("SELECT kaggle_internal.let_go(%s, %s, %s, %s)", competition_id, token, retry_in, error)

    def apply(
        self, run_id: int, board: Board, file: Callable[[], Iterable[bytes]], token: UUID | None = None
    ) -> Applied:
        """Make the file's rows the board and end the attempt, in one transaction.

        file: gives the CSV from its beginning, header included, each time it is called.
        Raises NeedsPerson, naming line and column, if the file cannot be read as a board.
        """
        with self._pool.connection() as connection, self._counted():
            staging = Staging(connection)
            with staging.transaction():
                staging.load(board.layout, file, "kaggle_internal.direction_of_run(%s)", run_id)
                staging.place("kaggle_internal.board_of_run(%s, %s)", run_id, board.kind)
                # One round trip from taking the fence to COMMIT: whoever freezes here holds it no longer.
                cursor = psycopg.ClientCursor(connection).execute(
                    "SELECT outcome, teams, added, removed, updated, moved "
                    "FROM kaggle_internal.apply_board(%s, %s, %s, %s, %s, %s); COMMIT",
                    (run_id, board.kind, board.digest, board.nul_characters, order.GAP, token),
                )
                return Applied(*(cursor.fetchone() or (None,)))

    def begin_describe(self, competition_id: int) -> tuple[str, str, int]:
        """Begin asking for metadata. Returns (action, slug, link_revision)."""
        with self._short() as connection:
            begun: tuple[str, str, int] = row(
                connection,
                "SELECT action, slug, link_revision FROM kaggle_internal.begin_describe(%s, %s)",
                competition_id,
                self.worker_id,
            )
        return begun

    def fill_from_kaggle(self, competition_id: int, link_revision: int, description: Description) -> str:
        """Write what Kaggle says into the columns that follow it. Returns filled or later. Raises as `confirm` does."""
        with _of_one_source():
            outcome: str = self._value(
                "SELECT kaggle_internal.fill_from_kaggle(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                competition_id,
                link_revision,
                description.title,
                description.description,
                description.enabled_date,
                description.deadline,
                description.evaluation_metric,
                description.max_daily_submissions,
                description.category,
                description.is_simulated,
            )
        return outcome

    def remove_deleted(self, competition_id: int) -> None:
        """Remove what hung on a deleted competition, chunk by chunk, but for its boards, which nobody sees any more."""
        self._in_chunks("SELECT kaggle_internal.remove_deleted(%s)", competition_id)

    def remove_detached(self) -> None:
        """Remove the boards of deleted competitions, chunk by chunk."""
        self._in_chunks("SELECT kaggle_internal.remove_detached()")

    def prune_runs(self, older_than: timedelta) -> None:
        """Remove old runs that changed nothing, chunk by chunk."""
        self._in_chunks("SELECT kaggle_internal.prune_runs(%s)", older_than)

    def prune_history(self, older_than: timedelta) -> None:
        """Remove versions that ended longer ago than this, chunk by chunk."""
        self._in_chunks("SELECT kaggle.prune_history(%s)", older_than)

    def thin_history(self) -> None:
        """Keep the last board of each history_interval, an interval a transaction."""
        with self._pool.connection() as connection:
            for board_id, moments in rows(connection, "SELECT * FROM kaggle_internal.intervals_to_thin()"):
                staging = Staging(connection)
                with staging.transaction():
                    if value(connection, "SELECT kaggle_internal.merge_boards(%s, %s)", board_id, moments):
                        staging.place(BASE)
                        connection.execute("SELECT kaggle_internal.pack_anew(%s, %s)", (board_id, moments[-1]))
                        connection.execute("COMMIT")

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._writing += 1
        try:
            yield
        finally:
            with self._lock:
                self._writing -= 1

    @contextmanager
    def _short(self) -> Iterator[Connection]:
        with self._pool.connection() as connection, transaction(connection, seconds=SHORT, synchronous_commit=LOCAL):
            yield connection

    def _in_chunks(self, query: LiteralString, *values: Any) -> None:
        with self._pool.connection() as connection:
            while value(connection, query, *values):
                pass

    def _value(self, query: LiteralString, *values: Any) -> Any:
        with self._short() as connection:
            return value(connection, query, *values)


@contextmanager
def _of_one_source() -> Iterator[None]:
    try:
        yield
    except ObjectNotInPrerequisiteState as error:
        raise NeedsPerson(message_of(error, with_hint=True)) from error


def take_grant(connection: Connection, credential: str, requests_per_minute: int) -> datetime | None:
    """Take one request of the budget that all workers share. None if it may go out now, else when to ask again."""
    granted, wake_at = row(
        connection, "SELECT granted, wake_at FROM kaggle_internal.take_grant(%s, %s)", credential, requests_per_minute
    )
    return None if granted else wake_at
