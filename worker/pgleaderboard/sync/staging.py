"""A file's rows in the staging tables of one transaction: copied, checked, and placed in a board's order."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import LiteralString

import psycopg
from psycopg import sql

from pgleaderboard.database.connect import Connection, message_of, row, transaction, value
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.sync import order
from pgleaderboard.sync.board import EXTRA_COLUMNS, Layout, line_of

_EMPTY_IS_NULL = ("rank", "last_submission_at", "score", "submission_count", "members")
_LINES_AT_ONCE = 4096
_LOCK_SECONDS = 10.0
_NULL = "\\N"  # in the text of COPY
BASE: LiteralString = "0"  # a board that has no entries


class Staging:
    """The staging tables of a connection, within `transaction`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._header_line = 1
        self._file: Callable[[], Iterable[bytes]] = tuple

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction with staging tables, rolled back unless it is committed within."""
        durable = self._connection.synchronous_commit
        settings: dict[str, str] = {"synchronous_commit": durable} if durable else {}
        with transaction(
            self._connection,
            keep=False,
            lock_seconds=_LOCK_SECONDS,
            **settings | {"work_mem": "32MB", "idle_in_transaction_session_timeout": "30s"},  # type: ignore[arg-type]
        ):
            self._connection.execute("SELECT kaggle_internal.prepare_staging(%s)", (EXTRA_COLUMNS,))
            yield

    def load(
        self, layout: Layout, file: Callable[[], Iterable[bytes]], direction: LiteralString, *values: object
    ) -> None:
        """Copy a file's rows, and check them as a whole.

        file: gives the CSV from its beginning, header included, each time it is called. direction: an expression, with
        its values: whether higher scores are better, as the competition says; needed where the file has no ranks.
        Raises NeedsPerson, naming line and column, if the file cannot be read as a board.
        """
        self._header_line, self._file = layout.header_line, file
        columns = sql.SQL(", ").join(map(sql.Identifier, layout.columns))
        nullable = sql.SQL(", ").join(sql.Identifier(c) for c in layout.columns if c in _EMPTY_IS_NULL)
        command = sql.SQL(
            "COPY pg_temp.staged_rows_1 ({}) FROM STDIN WITH (FORMAT csv, HEADER true, ENCODING 'UTF8', "
            "FORCE_NOT_NULL (team_name), FORCE_NULL ({}))"
        ).format(columns, nullable)
        try:
            with self._connection.cursor().copy(command) as copy:
                for chunk in file():
                    copy.write(chunk)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise NeedsPerson(f"the leaderboard cannot be read: {self._reason(error)}") from error
        if not layout.ranked:  # they are sorted by their dates
            self._check_dates()
        contradiction = value(
            self._connection,
            "SELECT kaggle_internal.check_staging(%s, %s, %s, (CASE WHEN %s THEN NULL ELSE "
            + direction
            + " END)::boolean)",
            layout.ranked,
            order.GAP,
            list(layout.unknown),
            layout.ranked,
            *values,
        )
        if contradiction:
            raise NeedsPerson(contradiction)

    def place(self, board: LiteralString, *values: object) -> bool:
        """Find out what the staged rows change, and where those stand who moved. Returns whether they change anything.

        board: an expression, with its values: the id of the board to compare with, BASE for pg_temp.base_rows_1, or
        null where there is none yet; then nothing is to be found out, since the keys of a new board are its places.
        """
        connection = self._connection
        # Rolling back to the savepoint releases the locks that reading took: a worker that freezes while it sends the
        # places must not hold up a migration.
        connection.execute("SAVEPOINT reading")
        query: LiteralString = (
            "SELECT c.keys, c.fixed, c.news, c.gone, (SELECT min(position) FROM pg_temp.staged_rows_1) "
            "FROM (SELECT " + board + " AS id) b CROSS JOIN LATERAL kaggle_internal.compare_staging(b.id) c "
            "WHERE b.id IS NOT NULL"
        )
        try:
            keys, fixed, news, gone, first = connection.execute(query, values, binary=True).fetchone() or [None] * 5
        except psycopg.DataError:
            connection.execute("ROLLBACK TO SAVEPOINT reading")
            self._check_dates()
            raise
        connection.execute("ROLLBACK TO SAVEPOINT reading")
        if keys is None:  # nothing was compared yet
            self._check_dates()
        news = array("q", (position - first for position in _unpacked(news)))
        differences = order.differences(_unpacked(keys), news, _unpacked(fixed) if fixed else None)
        del keys, fixed
        lines = chain(
            (
                f"{first + index}\t{_NULL}\t{_NULL if key is None else key}\t{ended}\n"
                for index, key, ended in differences
            ),
            (f"{_NULL}\t{team_id}\t{_NULL}\tl\n" for team_id in gone or ()),
        )
        chunk = "".join(islice(lines, _LINES_AT_ONCE))
        if not chunk:
            return False
        with connection.cursor().copy("COPY pg_temp.placed_rows_1 FROM STDIN") as copy:
            while chunk:
                copy.write(chunk)
                chunk = "".join(islice(lines, _LINES_AT_ONCE))
        return True

    def _check_dates(self) -> None:
        number, wrong = row(self._connection, "SELECT number, wrong FROM kaggle_internal.unreadable_date()")
        if wrong:
            line = self._line_of(number + 1, of_copy=False)  # the header is the first record
            raise NeedsPerson(f"the leaderboard cannot be read: {line}, column last_submission_at: {wrong} is no date")

    def _line_of(self, number: int, *, of_copy: bool) -> str:
        return f"line {line_of(self._file(), number, of_copy=of_copy) + self._header_line - 1}"

    def _reason(self, error: psycopg.Error) -> str:
        """PostgreSQL's message about a row of the file, with its line and column."""
        match error:
            case psycopg.errors.CheckViolation():  # the constraints of the staging table are named after their rules
                reason = f"the rule '{(error.diag.constraint_name or '').replace('_', ' ')}' does not hold"
            case psycopg.errors.NotNullViolation():
                reason = f"{error.diag.column_name} is empty"
            case _:
                reason = message_of(error)
        if place := re.search(r"line (\d+)(, column \w+)?", error.diag.context or ""):
            reason = f"{self._line_of(int(place[1]), of_copy=True)}{place[2] or ''}: {reason}"
        return reason[:300]


def _unpacked(keys: bytes | None) -> array[int]:
    """The order keys of a board, which PostgreSQL sends big-endian."""
    unpacked = array("q", keys or b"")
    unpacked.byteswap()
    return unpacked
