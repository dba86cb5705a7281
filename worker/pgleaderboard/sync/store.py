"""The database's side: the only module that calls the functions in sql/.

Statements go through DATABASE_URL, which may be a pooler in transaction mode: nothing here relies on a session.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import class_row, scalar_row
from psycopg_pool import ConnectionPool

from pgleaderboard.database.connect import conninfo
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.kaggle.client import Description
from pgleaderboard.sync import order
from pgleaderboard.sync.board import Board, Layout
from pgleaderboard.sync.retry import Decision

T = TypeVar("T")

# For COPY and all that follows in its transaction: how dates are read, and how long anything may take.
BEGIN = """
BEGIN;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, MDY';
SET LOCAL lock_timeout = '10s';
SET LOCAL work_mem = '32MB';
SET LOCAL statement_timeout = '10min';
SET LOCAL idle_in_transaction_session_timeout = '30s';
SELECT kaggle_internal.prepare_staging();
"""
CONDITION_TIMEOUT = "2s"
_APPLY = "SELECT outcome, teams, added, removed, updated, moved FROM kaggle_internal.apply_board(%s, %s, %s, %s)"
_EMPTY_IS_NULL = ("rank", "last_submission_at", "score", "submission_count", "members")


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
    """Calls into the database, from any number of threads at once."""

    def __init__(self, url: str, *, connections: int) -> None:
        self._pool = ConnectionPool(
            conninfo(url, ""),
            min_size=1,
            max_size=connections,
            open=False,
            timeout=10,
            # No prepared statements: behind a pooler the next statement meets another session.
            kwargs={"autocommit": True, "prepare_threshold": None},
            check=self._check,
        )

    def _check(self, connection: psycopg.Connection[Any]) -> None:
        """Where one connection is dead the others are, too: the pool would try them one by one, pausing 1, 2, 4 s."""
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            self._pool.drain()
            raise

    def open(self) -> None:
        """Open the connections. Raises psycopg.OperationalError if the database is out of reach."""
        self._pool.open(wait=True, timeout=10)

    def close(self) -> None:
        """Close them; what still runs on one is cut off after a moment."""
        self._pool.close(timeout=1)

    def begin_sync(
        self,
        competition_id: int,
        worker_id: int,
        credential: str,
        requests_per_minute: int,
        condition_says: str | None = None,
        job_id: int | None = None,
    ) -> Begun:
        """Begin an attempt, if one is wanted now and Kaggle may be asked.

        condition_says: the answer of `ask_condition`, where the action was to ask it. job_id: of the job in the queue,
        by which `let_go` knows the attempt.
        """
        return self._one(
            Begun,
            "SELECT action, run_id, slug, reason, sync_interval, failures, failing_for "
            "FROM kaggle_internal.begin_sync(%s, %s, %s, %s, %s, %s)",
            (competition_id, worker_id, credential, requests_per_minute, condition_says, job_id),
        )

    def ask_condition(self, competition_id: int) -> str:
        """Ask the user's condition for automatic syncs, in a transaction of its own: yes, no, or what went wrong.

        The transaction is rolled back: a setting, a temporary table or a trigger at its end that somebody else's code
        left on our connection would act with our rights.
        """
        try:
            with self._pool.connection() as connection, connection.transaction(force_rollback=True):
                connection.execute("SELECT set_config('statement_timeout', %s, true)", (CONDITION_TIMEOUT,))
                answer = connection.execute("SELECT kaggle_internal.ask_condition(%s)", (competition_id,)).fetchone()
        except psycopg.errors.QueryCanceled:
            return f"it did not answer within {CONDITION_TIMEOUT}"
        except psycopg.Error as error:
            if error.sqlstate is None:  # the connection is lost: nothing is known of the condition
                raise
            return " ".join((error.diag.message_primary or type(error).__name__).split())[:300]
        assert answer is not None
        return str(answer[0])

    def confirm(self, run_id: int, board: Board) -> str | None:
        """End the attempt if the file has the bytes that were applied last; None if it has others."""
        found: str | None = self._scalar(
            "SELECT kaggle_internal.confirm_board(%s, %s, %s)", (run_id, board.kind, board.digest)
        )
        return found

    def fail(self, run_id: int, decision: Decision, credential: str) -> str:
        """End the attempt as failed. Returns failed, skipped or superseded."""
        outcome: str = self._scalar(
            "SELECT kaggle_internal.fail_run(%s, %s, %s, %s, %s, %s)",
            (run_id, decision.message, decision.kind, decision.retry_in, credential, decision.block_for),
        )
        return outcome

    def block(self, credential: str, pause: timedelta) -> None:
        """Send no request of this credential for so long."""
        self._scalar("SELECT kaggle_internal.block_budget(%s, %s)", (credential, pause))

    def let_go(self, competition_id: int, job_id: int, retry_in: timedelta, error: str) -> None:
        """Give up the attempt that a job began, if it still runs; it is tried again after a while."""
        self._scalar("SELECT kaggle_internal.let_go(%s, %s, %s, %s)", (competition_id, job_id, retry_in, error))

    def apply(self, run_id: int, board: Board, rows: Callable[[], Iterable[bytes]]) -> Applied:
        """Make the file's rows the board and end the attempt, in one transaction.

        rows: gives the CSV's bytes from its beginning, header included, each time it is called.
        Raises NeedsPerson, naming line and column, if the file cannot be read as a board.
        """
        while True:
            try:
                return self._apply(run_id, board, rows())
            except order.GapExhausted as full:
                # Order-preserving, so it may be committed by itself: nobody sees a difference.
                widened = self._scalar(
                    "SELECT kaggle_internal.widen_gap(%s, kaggle_internal.board_of_run(%s, %s), %s, %s)",
                    (run_id, run_id, board.kind, full.low, full.needed),
                )
                if not widened:  # the fence is lost: nothing staged, this only ends the attempt
                    return self._one(Applied, _APPLY, (run_id, board.kind, board.digest, board.nul_characters))

    def _apply(self, run_id: int, board: Board, rows: Iterable[bytes]) -> Applied:
        with self._pool.connection() as connection:
            try:
                connection.execute(BEGIN)
                stage(connection, board.layout, rows)
                wrong = self._first(connection, "SELECT kaggle_internal.check_staging(%s)", (board.layout.ranked,))
                if wrong:
                    raise NeedsPerson(wrong)
                # Rolling back to the savepoint lets go of the locks that reading took: a worker that freezes
                # while it sends the places must not hold up a migration.
                connection.execute("SAVEPOINT reading")
                board_id = self._first(connection, "SELECT kaggle_internal.board_of_run(%s, %s)", (run_id, board.kind))
                keys = array(
                    "q", self._first(connection, "SELECT kaggle_internal.staged_order(%s)", (board_id,)) or b""
                )
                first = self._first(connection, "SELECT min(position) FROM pg_temp.staged_rows_1", ())
                connection.execute("ROLLBACK TO SAVEPOINT reading")
                if keys:
                    keys.byteswap()
                    place(connection, order.place(keys), first)
                # One round trip from taking the fence to COMMIT: whoever freezes here holds it no longer.
                cursor = psycopg.ClientCursor(connection)
                cursor.execute(
                    _APPLY + "; COMMIT",
                    (run_id, board.kind, board.digest, board.nul_characters),
                )
                return Applied(*(cursor.fetchone() or (None,)))
            finally:
                if not connection.closed and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    connection.rollback()

    @staticmethod
    def _first(connection: psycopg.Connection[Any], query: LiteralString, values: tuple[Any, ...]) -> Any:
        """The first column of the only row."""
        return (connection.execute(query, values, binary=True).fetchone() or (None,))[0]

    def begin_describe(self, competition_id: int, credential: str, requests_per_minute: int) -> tuple[str, str, int]:
        """Begin asking for metadata. Returns (action, slug, link_revision)."""
        with self._pool.connection() as connection:
            row: tuple[str, str, int] | None = connection.execute(
                "SELECT action, slug, link_revision FROM kaggle_internal.begin_describe(%s, %s, %s)",
                (competition_id, credential, requests_per_minute),
            ).fetchone()
        assert row is not None
        return row

    def fill_from_kaggle(self, competition_id: int, link_revision: int, said: Description) -> str:
        """Write what Kaggle says into the columns that follow it. Returns filled or later."""
        outcome: str = self._scalar(
            "SELECT kaggle_internal.fill_from_kaggle(%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                competition_id,
                link_revision,
                said.title,
                said.description,
                said.enabled_date,
                said.deadline,
                said.evaluation_metric,
                said.max_daily_submissions,
            ),
        )
        return outcome

    def remove_deleted(self, competition_id: int) -> None:
        """Remove what hung on a deleted competition, chunk by chunk, but for its boards, which nobody sees any more."""
        while self._scalar("SELECT kaggle_internal.remove_deleted(%s)", (competition_id,)):
            pass

    def remove_detached(self) -> None:
        """Remove the boards of deleted competitions, chunk by chunk."""
        while self._scalar("SELECT kaggle_internal.remove_detached()", ()):
            pass

    def prune_runs(self, older_than: timedelta) -> int:
        """Remove old runs that changed nothing, chunk by chunk. Returns how many."""
        pruned = 0
        while chunk := self._scalar("SELECT kaggle_internal.prune_runs(%s)", (older_than,)):
            pruned += chunk
        return pruned

    def prune_history(self, older_than: timedelta) -> int:
        """Remove versions that ended longer ago than this, chunk by chunk. Returns how many."""
        pruned = 0
        while chunk := self._scalar("SELECT kaggle.prune_history(%s)", (older_than,)):
            pruned += chunk
        return pruned

    def _scalar(self, query: str, values: tuple[Any, ...]) -> Any:
        with self._pool.connection() as connection:
            return connection.cursor(row_factory=scalar_row).execute(query, values).fetchone()

    def _one(self, kind: type[T], query: str, values: tuple[Any, ...]) -> T:
        with self._pool.connection() as connection:
            row = connection.cursor(row_factory=class_row(kind)).execute(query, values).fetchone()
        assert row is not None
        return row


def take_grant(connection: psycopg.Connection[Any], credential: str, requests_per_minute: int) -> datetime | None:
    """Take one request of the budget that all workers share. None if it may go out now, else when to ask again."""
    row = connection.execute(
        "SELECT granted, wake_at FROM kaggle_internal.take_grant(%s, %s)", (credential, requests_per_minute)
    ).fetchone()
    assert row is not None
    granted, wake_at = row
    return None if granted else wake_at


def import_competitions(
    connection: psycopg.Connection[Any], slugs: Sequence[str], event: str | None, *, keep: bool
) -> list[tuple[str, str]]:
    """Follow competitions, given as slugs or URLs. Returns each one with what became of it.

    keep: False takes everything back. Raises NeedsPerson for an unknown event.
    """
    try:
        with connection.transaction(force_rollback=not keep):
            return connection.execute(
                "SELECT kaggle_competition_id, outcome FROM kaggle.import_competitions(%s, %s)", (list(slugs), event)
            ).fetchall()
    except psycopg.errors.NoDataFound as error:
        raise NeedsPerson(": ".join(filter(None, (error.diag.message_primary, error.diag.message_hint)))) from error


def stage(connection: psycopg.Connection[Any], layout: Layout, rows: Iterable[bytes]) -> None:
    """Copy a file's rows into `staged_rows_1`, in a transaction begun with BEGIN.

    rows: the CSV's bytes from its beginning, header included.
    Raises NeedsPerson, naming line and column, if the file cannot be read as a board.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, layout.columns))
    nullable = sql.SQL(", ").join(sql.Identifier(c) for c in layout.columns if c in _EMPTY_IS_NULL)
    command = sql.SQL(
        "COPY pg_temp.staged_rows_1 ({}) FROM STDIN WITH (FORMAT csv, HEADER true, ENCODING 'UTF8', "
        "FORCE_NOT_NULL (team_name), FORCE_NULL ({}))"
    ).format(names, nullable)
    try:
        with connection.cursor().copy(command) as copy:
            for chunk in rows:
                copy.write(chunk)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise NeedsPerson(f"the leaderboard cannot be read: {_in_words(error)}") from error


def place(connection: psycopg.Connection[Any], places: Iterable[tuple[int, int]], first: int) -> None:
    """Write the keys of those that moved into `placed_rows_1`.

    places: of `order.place`. first: position of the first row.
    """
    with connection.cursor().copy("COPY pg_temp.placed_rows_1 FROM STDIN") as copy:
        lines: list[str] = []
        for index, key in places:
            lines.append(f"{first + index}\t{key}\n")
            if len(lines) == 4096:
                copy.write("".join(lines))
                lines.clear()
        copy.write("".join(lines))


def _in_words(error: psycopg.Error) -> str:
    """PostgreSQL's message about a row of the file, with the line and column it stands in."""
    match error:
        case psycopg.errors.CheckViolation():  # the constraints of the staging table are named after their rules
            said = f"the rule '{(error.diag.constraint_name or '').replace('_', ' ')}' does not hold"
        case psycopg.errors.NotNullViolation():
            said = f"{error.diag.column_name} is empty"
        case _:
            said = " ".join((error.diag.message_primary or type(error).__name__).split())
    place = re.search(r"line (\d+)(?:, column (\w+))?", error.diag.context or "")
    where = f"line {place[1]}" + (f", column {place[2]}" if place[2] else "") + ": " if place else ""
    return (where + said)[:300]
