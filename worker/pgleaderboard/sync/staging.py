"""A file's rows in the staging tables of one transaction: copied, checked, and placed in a board's order."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from pgleaderboard.database.connect import Connection, message_of, value
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.sync import order
from pgleaderboard.sync.board import EXTRA_COLUMNS, Layout

# How COPY reads dates, and how long anything may take.
_BEGIN = f"""
BEGIN;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, MDY';
SET LOCAL lock_timeout = '10s';
SET LOCAL work_mem = '32MB';
SET LOCAL statement_timeout = '10min';
SET LOCAL idle_in_transaction_session_timeout = '30s';
SELECT kaggle_internal.prepare_staging({EXTRA_COLUMNS});
"""
_EMPTY_IS_NULL = ("rank", "last_submission_at", "score", "submission_count", "members")
_LINES_AT_ONCE = 4096


class Staging:
    """The staging tables of a connection, within `transaction`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Begin a transaction on the connection, which must be in autocommit; roll it back unless it is committed."""
        connection = self._connection
        try:
            connection.execute(_BEGIN.encode())
            yield connection
        finally:
            if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
                connection.rollback()

    def load(self, layout: Layout, chunks: Iterable[bytes]) -> None:
        """Copy a file's rows, and check them as a whole.

        chunks: the CSV from its beginning, header included.
        Raises NeedsPerson, naming line and column, if the file cannot be read as a board.
        """
        columns = sql.SQL(", ").join(map(sql.Identifier, layout.columns))
        nullable = sql.SQL(", ").join(sql.Identifier(c) for c in layout.columns if c in _EMPTY_IS_NULL)
        command = sql.SQL(
            "COPY pg_temp.staged_rows_1 ({}) FROM STDIN WITH (FORMAT csv, HEADER true, ENCODING 'UTF8', "
            "FORCE_NOT_NULL (team_name), FORCE_NULL ({}))"
        ).format(columns, nullable)
        try:
            with self._connection.cursor().copy(command) as copy:
                for chunk in chunks:
                    copy.write(chunk)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise NeedsPerson(f"the leaderboard cannot be read: {_reason(error)}") from error
        contradiction = value(
            self._connection, "SELECT kaggle_internal.check_staging(%s, %s)", layout.ranked, order.GAP
        )
        if contradiction:
            raise NeedsPerson(contradiction)

    def place(self, order_keys: LiteralString, *values: object) -> None:
        """Give a new order key to each entry that moved or is new.

        order_keys: a call of kaggle_internal.staged_order, with its values.
        Raises order.GapExhausted where the neighbours of an entry lie too close together.
        """
        connection = self._connection
        # Rolling back to the savepoint releases the locks that reading took: a worker that freezes while it sends the
        # places must not hold up a migration.
        connection.execute("SAVEPOINT reading")
        query: LiteralString = "SELECT " + order_keys + ", (SELECT min(position) FROM pg_temp.staged_rows_1)"
        packed, first = connection.execute(query, values, binary=True).fetchone() or (None, 0)
        connection.execute("ROLLBACK TO SAVEPOINT reading")
        keys = array("q", packed or b"")
        keys.byteswap()
        places = list(order.place(keys))
        if not keys:  # a new board: its keys are the places in the file
            return
        with connection.cursor().copy("COPY pg_temp.placed_rows_1 FROM STDIN") as copy:
            lines: list[str] = []
            for index, key in places:
                lines.append(f"{first + index}\t{key}\n")
                if len(lines) == _LINES_AT_ONCE:
                    copy.write("".join(lines))
                    lines.clear()
            copy.write("".join(lines))

    def clear(self) -> None:
        """Empty the tables for the next board of the same transaction."""
        self._connection.execute("SELECT kaggle_internal.clear_staging()")


def _reason(error: psycopg.Error) -> str:
    """PostgreSQL's message about a row of the file, with its line and column."""
    match error:
        case psycopg.errors.CheckViolation():  # the constraints of the staging table are named after their rules
            reason = f"the rule '{(error.diag.constraint_name or '').replace('_', ' ')}' does not hold"
        case psycopg.errors.NotNullViolation():
            reason = f"{error.diag.column_name} is empty"
        case _:
            reason = message_of(error)
    place = re.search(r"line (\d+)(?:, column (\w+))?", error.diag.context or "")
    where = f"line {place[1]}" + (f", column {place[2]}" if place[2] else "") + ": " if place else ""
    return (where + reason)[:300]
