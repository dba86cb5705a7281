"""Readers on a hot standby: what it must have replayed before it is read, and a second try after a conflict.

A standby replays what its primary has flushed. Whoever was notified by the primary takes from it the position behind
the commit, and waits on the connection that reads until its server has replayed that much.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, TypeVar

import psycopg

from pgleaderboard.database.connect import (
    Connection,
    OnStandby,
    address_of,
    connect,
    explained,
    row,
    transaction,
    value,
)
from pgleaderboard.reading.asking import in_words

T = TypeVar("T")

PATIENCE = 5.0  # seconds after a notification that readers wait for the replay
PRIMARY_SECONDS = 3  # to connect to a primary, where a standby can be read meanwhile
_LOOK_EVERY = 0.02  # seconds
_SECONDS = 1.0  # that a look may take
_CONFLICTS = ("40001", "40P01")  # the replay needs what the query holds


@dataclass(frozen=True)
class Standby:
    """A hot standby. last_at: of the last transaction that it has replayed, by its primary's clock; None = unknown."""

    address: str
    last_at: datetime | None


def standby(connection: Connection) -> Standby | None:
    """The standby that answers; None where it is a primary."""
    state = row(connection, "SELECT pg_is_in_recovery() AS is_one, pg_last_xact_replay_timestamp() AS last_at")
    return Standby(":".join(map(str, address_of(connection))), state.last_at) if state.is_one else None


def replayed(connection: Connection) -> str | None:
    """How far a standby has replayed; None where it is a primary that has never been one."""
    with transaction(connection, seconds=_SECONDS):
        lsn: str | None = value(connection, "SELECT pg_last_wal_replay_lsn()::text")
    return lsn


def position(primary: Connection) -> str:
    """A position in the WAL behind all that was committed before, which the primary has flushed.

    It is the end of what was inserted, once that is flushed. Nothing flushes it on a quiet primary (an open
    transaction's, for example), and a standby receives only what is flushed: it is not waited for longer than a commit
    with synchronous_commit = off is without its flush, three times wal_writer_delay. All other commits are flushed
    before they are notified.
    """
    with transaction(primary, seconds=_SECONDS):
        wanted, delay = row(
            primary,
            "SELECT pg_current_wal_insert_lsn()::text, "
            "3 * extract(epoch FROM current_setting('wal_writer_delay')::interval)::float8",
        )
        until = time.monotonic() + delay
        while True:
            is_over = time.monotonic() >= until
            flushed, is_all = row(
                primary, "SELECT f.lsn::text, f.lsn >= %s::pg_lsn FROM pg_current_wal_flush_lsn() f (lsn)", wanted
            )
            if is_all or is_over:
                return str(flushed)
            time.sleep(_LOOK_EVERY)


class Awaited:
    """What a standby must have replayed before it is read; several threads may ask."""

    def __init__(self) -> None:
        self._target: tuple[str | None, float] = (None, 0.0)
        self._is_in_vain = False

    def expect(self, lsn: str) -> None:
        """Have readers wait for a position, for PATIENCE from now on."""
        self._target = (lsn, time.monotonic() + PATIENCE)

    def has_come(self, connection: Connection) -> bool:
        """Wait for it. Returns False where the time is over, at once after a wait in vain until one has come."""
        lsn, until = self._target
        if lsn is None:
            return True
        query: LiteralString = "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= %s::pg_lsn"
        with transaction(connection, seconds=_SECONDS):
            while not value(connection, query, lsn):
                if self._is_in_vain or time.monotonic() > until:
                    self._is_in_vain = True
                    return False
                time.sleep(_LOOK_EVERY)
        self._is_in_vain = False
        return True

    def before(
        self, query: Callable[[Connection], T], *, is_told: bool = True
    ) -> Callable[[Connection], tuple[T, Standby | None]]:
        """The query after the wait, with the standby where that was in vain: it may lack what was notified.

        is_told: whether the primary is there to notify.
        """

        def read(connection: Connection) -> tuple[T, Standby | None]:
            behind = None if self.has_come(connection) and is_told else standby(connection)
            return query(connection), behind

        return read


class Server:
    """A server that is read: connected to when it is asked, and again when the connection was lost."""

    def __init__(self, opened: Callable[[], Connection]) -> None:
        self._opened = opened
        self._connection: Connection | None = None

    def ask(self, query: Callable[[Connection], T]) -> T:
        """The answer of a query, which may be run twice.

        It is run again after a conflict with the replay of a standby, and where the connection had been there before:
        that may have been lost long ago. Raises ConnectionLost, and the errors of `asking.in_words`.
        """
        is_fresh = self._connection is None
        try:
            return self._answer(query)
        except psycopg.OperationalError as error:
            if is_fresh and error.sqlstate not in _CONFLICTS:
                raise
        return self._answer(query)

    def _answer(self, query: Callable[[Connection], T]) -> T:
        connection = self._connection = self._connection or self._opened()
        try:
            with in_words(connection):
                return query(connection)
        except psycopg.OperationalError:
            self.close()
            raise

    def hang_up(self) -> None:
        """Give up what is asked in another thread: it is asked again, on another connection."""
        if connection := self._connection:
            connection.hang_up()

    def close(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.close()
        self._connection = None


def either(url: str) -> Connection:
    """A connection to the primary of a URL, to a standby where there is no primary."""
    try:
        return connect(url)
    except OnStandby:
        return connect(url, reads=True)


def why_away(url: str) -> str | None:
    """Why the primary of a URL is out of reach, None where it answers."""
    try:
        connect(url, connect_timeout=PRIMARY_SECONDS).close()
    except psycopg.Error as error:
        return re.sub("^(the database is out of reach|cannot connect): ", "", str(explained(error)))
    return None


def facts(read: Standby | None) -> dict[str, Any] | None:
    """A standby in a document for programs."""
    return None if read is None else {"address": read.address, "last_transaction_at": read.last_at}
